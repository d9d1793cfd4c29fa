"""What the packages import is declared and of a known licence; nothing is unpickled."""

import ast
import re
import sys
import tomllib
from importlib import metadata

from packaging.requirements import Requirement

from tests.sources import PACKAGES, READERS, ROOT, SOURCES, nodes

pytestmark = READERS
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Words of licences that let anyone use and pass on the package, LGPL as a library included.
PERMISSIVE = re.compile(
    r"BSD|MIT|Apache|PSF|Python Software Foundation|MPL|Mozilla|ISC|LGPL|Lesser General|HPND|"
    r"Unlicense|CC0|Zlib|CMU",
    re.IGNORECASE,
)


def imports(path):
    """Yield (module, line) of every import in a file, those inside functions too."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, node.lineno


def declared():
    """Return the names of distributions that the project and its extras ask for."""
    wanted = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        wanted += extra
    return {Requirement(one).name.lower().replace("_", "-") for one in wanted}


def test_every_import_is_of_a_declared_dependency():
    owners = metadata.packages_distributions()
    known, astray = declared(), []
    for path in SOURCES:
        for module, line in imports(path):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            names = {name.lower().replace("_", "-") for name in owners.get(top, [top])}
            if not names & known:
                astray.append(f"{path.relative_to(ROOT)}:{line}: {module}")
    assert not astray, "declare these in pyproject.toml: " + "; ".join(astray)


def installed_tree():
    """Return every distribution that installing the project brings, and what asks for it."""
    seen, todo = {}, [("evolver", Requirement(one)) for one in PROJECT["dependencies"]]
    while todo:
        parent, wanted = todo.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = wanted.name.lower().replace("_", "-")
        found = metadata.distribution(name)
        seen.setdefault(name, (found, []))[1].append((parent, wanted))
        if len(seen[name][1]) == 1:
            todo += [(name, Requirement(one)) for one in found.requires or ()]
    return seen


def test_what_is_installed_is_what_is_asked_for():
    for name, (found, asked) in installed_tree().items():
        for parent, wanted in asked:
            assert wanted.specifier.contains(found.version, prereleases=True), (
                f"{parent} asks for {wanted}, and {name} {found.version} is installed"
            )


def test_every_licence_lets_anyone_use_it():
    for name, (found, _) in installed_tree().items():
        if name.startswith(("nvidia-", "triton", "cuda-")):
            continue  # of torch's CUDA wheels, which constraints.txt keeps out
        meta = found.metadata
        said = [meta.get("License-Expression", ""), (meta.get("License") or "")[:300]]
        said += [c for c in meta.get_all("Classifier", []) if c.startswith("License")]
        assert any(PERMISSIVE.search(one or "") for one in said), f"{name}: {said}"


FORBIDDEN_MODULES = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "pickle.load", "pickle.loads"}


def what_it_runs(path):
    """Yield where a file imports or calls what runs data of others."""
    for module, line in imports(path):
        if module.partition(".")[0] in FORBIDDEN_MODULES:
            yield f"{path}:{line}: import {module}"
    for node in nodes(path):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: k.value for k in node.keywords}
        jobs = keywords.get("n_jobs")  # of scikit-learn: more than one are joblib's processes
        wrong = name in FORBIDDEN_CALLS or (jobs is not None and ast.unparse(jobs) != "1")
        if name == "torch.load":
            safe = keywords.get("weights_only")
            wrong = not (isinstance(safe, ast.Constant) and safe.value is True)
        if name in {"np.load", "numpy.load"}:
            risky = keywords.get("allow_pickle")
            wrong = risky is not None and risky.value is not False
        if wrong:
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"


def test_nothing_that_came_from_elsewhere_is_run():
    assert len(SOURCES) > 300
    found = [where for path in SOURCES for where in what_it_runs(path)]
    assert not found, "\n".join(found)


def test_what_runs_data_of_others_is_found(tmp_path):
    for number, wrong in enumerate((
        "import dill",
        "from joblib import load",
        "eval(text)",
        "pickle.loads(data)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "Ridge(n_jobs=2)",
        "def f():\n    import marshal",
    )):
        file = tmp_path / f"{number}.py"
        file.write_text(wrong)
        assert len(list(what_it_runs(file))) == 1, wrong
    file = tmp_path / "good.py"
    file.write_text("torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)")
    assert list(what_it_runs(file)) == []
