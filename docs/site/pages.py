"""Build the site: the repository's pages where they are, and a reference of its packages.

    python docs/site/pages.py [FOLDER]      into FOLDER, `site` if none is given

The site's folders are the repository's, so that a link between two pages, as GitHub shows it,
leads to the same page here. A link to a module leads to its page in the reference, and one to
any other file to the repository. The reference has a page a module, made from the package tree,
so there is no list to keep. The packages are read, never imported. A warning ends the build.
"""

from __future__ import annotations

import functools
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
PACKAGES = ("evolver", "rig_bridge", "scorers")
PAGES = ("README.md", "benchmarks/RESULTS.md", "docs/*.md")
PICTURES = ("docs/images/*", "docs/site/*.css")

_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)((?:#[^)]*)?\))")
_FENCE = re.compile(r"^( *```.*?^ *```)", re.DOTALL | re.MULTILINE)


def build(site: Path) -> int:
    """Build the site into a folder, which is made anew; return the generator's exit status."""
    packages = [_load(package) for package in PACKAGES]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _lay_out(work / "pages", packages)
        text = (ROOT / "docs/site/mkdocs.yml").read_text(encoding="utf-8")
        rooms = ["reference/index.md", *(_entry(package) for package in packages)]
        text = text.replace("@root@", str(ROOT)) + f"  - Reference: {json.dumps(rooms)}\n"
        (work / "mkdocs.yml").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        command += ["-f", str(work / "mkdocs.yml")]
        done = subprocess.run(command, check=False, cwd=work, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(done.stderr)
        # What griffe warns of, the generator prints and does not count.
        status = done.returncode or int("griffe: " in done.stderr)
        if status == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.copytree(work / "site", site)
    return status


def _lay_out(folder: Path, packages: list[griffe.Module]) -> None:
    """Write every page and picture of the site into a folder."""
    modules = [module for package in packages for module in _modules(package)]
    reference = {_page(module): _module_page(module) for module in modules}
    reference["reference/index.md"] = _index_page(packages)
    sources = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for path in sources:
        name = path.relative_to(ROOT).as_posix()
        _write(folder / name, _relinked(path.read_text(encoding="utf-8"), name, reference))
    for name, text in reference.items():
        _write(folder / name, text)
    for path in (path for pattern in PICTURES for path in ROOT.glob(pattern)):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _relinked(markdown: str, page: str, reference: dict[str, str]) -> str:
    """Send links to files that are no pages to the reference, or to the repository."""
    folder = posixpath.dirname(page)

    def target(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        path = posixpath.normpath(posixpath.join(folder, link))
        place = ROOT / path
        if "://" in link or not place.exists() or _is_laid_out(place):
            return match[0]
        module = f"reference/{path.removesuffix('.py').removesuffix('/__init__')}"
        for name in (f"{module}.md", f"{module}/index.md"):
            if name in reference:
                return f"{before}{posixpath.relpath(name, folder or '.')}{after}"
        kind = "tree" if place.is_dir() else "blob"
        return f"{before}{_repository()}/{kind}/main/{path}{after}"

    parts = _FENCE.split(markdown)
    return "".join(text if i % 2 else _LINK.sub(target, text) for i, text in enumerate(parts))


def _is_laid_out(path: Path) -> bool:
    name = path.relative_to(ROOT)
    return any(name.match(pattern) for pattern in (*PAGES, *PICTURES))


@functools.cache
def _repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Documentation"].partition("#")[0]


def _load(package: str) -> griffe.Module:
    loaded = griffe.load(package, search_paths=[ROOT], allow_inspection=False)
    if not isinstance(loaded, griffe.Module):
        raise TypeError(f"{package} must be a package; griffe found {loaded!r}")
    return loaded


def _submodules(module: griffe.Module) -> list[griffe.Module]:
    return [
        child
        for name, child in sorted(module.modules.items())
        if not name.startswith("_") and not child.is_alias
    ]


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    yield module
    for child in _submodules(module):
        yield from _modules(child)


def _page(module: griffe.Module) -> str:
    path = module.path.replace(".", "/")
    return f"reference/{path}/index.md" if module.is_init_module else f"reference/{path}.md"


def _entry(module: griffe.Module) -> dict[str, object]:
    if not module.is_init_module:
        return {module.name: _page(module)}
    return {module.name: [_page(module), *(_entry(child) for child in _submodules(module))]}


def _summary(thing: griffe.Object | griffe.Alias) -> str:
    text = thing.docstring.value if thing.docstring else ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")


def _table(head: str, things: Sequence[tuple[str, griffe.Object | griffe.Alias]]) -> str:
    rows = "\n".join(
        f"| [`{name}`][{thing.path}] | {_summary(thing)} |" for name, thing in things
    )
    return f"\n| {head} | |\n|---|---|\n{rows}\n" if things else ""


def _module_page(module: griffe.Module) -> str:
    """Return a module's page; a room's ends with what its docstring does not list."""
    handed_out = [
        (name, member.final_target)
        for name, member in sorted(module.members.items(), key=lambda item: item[0].lower())
        if name in (module.exports or ()) and isinstance(member, griffe.Alias)
        if not _is_listed(name, module)
    ]
    modules = [
        (child.name, child)
        for child in _submodules(module)
        if not _is_listed(child.name, module)
    ]
    text = f"---\ntitle: {module.path}\n---\n\n::: {module.path}\n"
    return text + _table("Names", handed_out) + _table("Modules", modules)


def _is_listed(name: str, module: griffe.Module) -> bool:
    """Whether the docstring of a room has a line for a name, and two spaces behind it."""
    text = module.docstring.value if module.docstring else ""
    return re.search(rf"(?m)^ *(?:[\w.]+, )*{name}(?:, [\w.]+)* {{2,}}", text) is not None


def _index_page(packages: list[griffe.Module]) -> str:
    text = "# Reference\n\nEvery public name, by the room it lives in.\n"
    for package in packages:
        text += f"\n## {package.name}\n\n{_summary(package)}\n"
        text += _table("Room", [(child.path, child) for child in _submodules(package)])
    return text


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site")))
