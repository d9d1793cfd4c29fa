"""The site is built, complete, and fetches nothing from elsewhere."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Built once, by one worker, in a minute of one core: too long for every run.
pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("site"), pytest.mark.timeout(600)]


class Page(HTMLParser):
    """What a page fetches when it is opened, where it leads to, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.linked, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.linked.append(given["href"])
        elif tag == "link" and given.get("rel") not in {"canonical", "prev", "next"}:
            self.fetched.append(given.get("href", ""))
        elif tag in {"script", "img", "iframe", "source", "video"} and given.get("src"):
            self.fetched.append(given["src"])


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "docs/site/pages.py", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"make docs must build; it says\n{done.stdout}{done.stderr}"
    return folder


@pytest.fixture(scope="session")
def pages(site):
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def public_names():
    """Yield each public module, class, function and constant by its path."""
    for package in ("evolver", "rig_bridge", "scorers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if any(part.startswith("_") for part in parts):
                continue
            module = ".".join(parts)
            yield module
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    names = [node.name]
                elif isinstance(node, ast.Assign | ast.AnnAssign):
                    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                    names = [target.id] if isinstance(target, ast.Name) else []
                else:
                    continue
                yield from (f"{module}.{name}" for name in names if not name.startswith("_"))


def test_every_public_name_is_in_the_reference(pages):
    anchors = set().union(*(page.anchors for page in pages.values()))
    names = list(public_names())
    assert {"evolver.recording.reader.read", "rig_bridge.messages.VERSION"} <= set(names)
    missing = [name for name in names if name not in anchors]
    assert not missing, "must be in the reference:\n" + "\n".join(missing)


def test_nothing_is_fetched_from_elsewhere(site, pages):
    outside = re.compile(r"(?:[a-z]+:)?//")
    fetched = {
        f"{path.relative_to(site)}: {source}"
        for path, page in pages.items()
        for source in page.fetched
        if outside.match(source)
    }
    styles = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert styles
    fetched |= {
        found
        for text in styles
        for found in re.findall(r"(?:@import|url\()[\s\"']*((?:https?:)?//[^\s\"')]+)", text)
    }
    assert not fetched, "\n".join(sorted(fetched))


def test_links_between_pages_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the site's root, wherever that is
            continue
        for link in page.linked:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            known = pages[there].anchors | {""} if there in pages else ()
            if not (anchor in known if there.suffix == ".html" else there.exists()):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, "must lead somewhere:\n" + "\n".join(broken[:50])


def test_pictures_and_search_are_there(site, pages):
    start = pages[site / "index.html"]
    assert "docs/images/demo-summary.png" in start.fetched
    for path, page in pages.items():
        for source in page.fetched:
            if path.name != "404.html" and not re.match(r"[a-z]+:", source):
                assert (path.parent / source.partition("?")[0]).exists(), (path, source)
    assert "CholeskyCMA" in (site / "search.json").read_text("utf-8")
