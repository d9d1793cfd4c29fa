"""Every public name says what it is, and its docstring is numpydoc as the house writes it.

Read from the source, nothing is imported. A failure lists ``file:line name: what must hold``.

The house's form: sections underlined, as long as their names; ``name : what it is`` under
Parameters and Attributes, with names that exist; under Raises the error's name on a line, and
below it, indented, when it is raised.
"""

import ast
import functools
import re
import textwrap
from dataclasses import dataclass

import pytest

from tests.sources import READERS, ROOT, SOURCES, nodes, parsed

pytestmark = READERS

NOT_YET = frozenset()
"""Names, as ``evolver.room.module.name``, that may go without; each with its reason here."""

SECTIONS = (
    "Parameters|Other Parameters|Attributes|Returns|Yields|Raises|Warns|Notes|References"
    "|Examples|See Also"
)
HEAD = re.compile(rf"(?m)^({SECTIONS})\n(-+)$")
NAMED_ITEM = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : \S")
ERROR_ITEM = re.compile(r"[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*")


@dataclass
class Thing:
    path: str
    name: str
    node: ast.AST
    public: bool

    @property
    def text(self):
        return ast.get_docstring(self.node)

    def line_of(self, text):
        """Return the place of a line of the docstring, as an editor opens it."""
        line = getattr(self.node, "lineno", 1)
        if self.text:
            head = self.node.body[0].lineno
            lines = self.node.body[0].value.value.splitlines()
            line = next(
                (head + i for i, have in enumerate(lines) if have.strip() == text), head
            )
        return f"{self.path}:{line} {self.name}"


def things_of(tree, path="x.py", module="x"):
    """Return a module, and each class, function and method that is not in a function."""
    parts = module.split(".")
    public = not any(part.startswith("_") for part in parts)
    found = [Thing(path, module, tree, public)]

    def walk(node, name, public):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = [ast.unparse(each) for each in child.decorator_list]
                if any(d.endswith((".setter", ".deleter", "overload")) for d in decorators):
                    continue
                shown = public and not child.name.startswith("_")
                found.append(Thing(path, f"{name}.{child.name}", child, shown))
                if isinstance(child, ast.ClassDef):
                    walk(child, f"{name}.{child.name}", shown)
            elif isinstance(child, ast.If):
                walk(child, name, public)

    walk(tree, module, public)
    return found


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def all_things():
    return [
        thing
        for path in SOURCES
        for thing in things_of(
            parsed(path),
            path.relative_to(ROOT).as_posix(),
            module_name(path),
        )
    ]


def parameters_of(function):
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [f"**{given.kwarg.arg}"] if given.kwarg else []
    return set(names)


def members_of(node, classes, seen=()):
    """Return what may be documented of a class: fields, attributes, what it is made from."""
    names = set()
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names.add(child.target.id)
        elif isinstance(child, ast.Assign):
            names |= {target.id for target in child.targets if isinstance(target, ast.Name)}
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(child.name)
            if child.name in {"__init__", "__new__"}:
                names |= parameters_of(child)
            names |= {
                at.attr
                for at in ast.walk(child)
                if isinstance(at, ast.Attribute)
                and isinstance(at.ctx, ast.Store)
                and isinstance(at.value, ast.Name)
                and at.value.id == "self"
            }
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        for other in classes.get(name, ()):
            if other not in seen:
                names |= members_of(other, classes, (*seen, node))
    return names


def classes_of(things):
    classes = {}
    for thing in things:
        if isinstance(thing.node, ast.ClassDef):
            classes.setdefault(thing.node.name, []).append(thing.node)
    return classes


def items_of(body):
    items = []
    for line in body.strip("\n").splitlines():
        if items and (not line or line.startswith(" ")):
            items[-1] += "\n" + line
        else:
            items.append(line)
    return items


def complaints_about(thing, classes):
    """Yield what must hold of a docstring and does not."""
    text = thing.text or ""
    for match in re.finditer(rf"(?m)^({SECTIONS}):?[ \t]*$(?:\n(.*))?", text):
        head = match[0].partition("\n")[0]
        if set(match[2] or "") != {"-"} or head != match[1]:
            yield f"{thing.line_of(head)}: a line of dashes must follow '{match[1]}'"
        elif len(match[2]) != len(match[1]):
            yield f"{thing.line_of(match[1])}: as many dashes as '{match[1]}' has letters"
    pieces = HEAD.split(text)
    for section, body in zip(pieces[1::3], pieces[3::3], strict=True):
        items = items_of(body)
        if items == []:
            yield f"{thing.line_of(section)}: '{section}' must say something"
        for item in items:
            yield from complaints_about_item(thing, section, item, classes)


def complaints_about_item(thing, section, item, classes):
    first, _, rest = item.partition("\n")
    place = thing.line_of(first)
    if section in {"Raises", "Warns"}:
        if not ERROR_ITEM.fullmatch(first) or not rest.startswith("    "):
            yield (
                f"{place}: under {section}, an error's name must stand alone on its line, "
                f"and when it is raised below it, indented; got '{first}'"
            )
    elif section in {"Parameters", "Other Parameters", "Attributes"}:
        match = NAMED_ITEM.match(first)
        if not match:
            yield f"{place}: under {section}, write 'name : what it is'; got '{first}'"
            return
        if isinstance(thing.node, ast.ClassDef):
            known = members_of(thing.node, classes)
        elif isinstance(thing.node, ast.Module):
            return
        else:
            known = parameters_of(thing.node)
        missing = [name for name in match[1].split(", ") if name not in known]
        if missing:
            yield (
                f"{place}: {', '.join(missing)} must be in the signature, "
                f"which has {', '.join(sorted(known))}"
            )


def test_every_public_name_has_a_docstring():
    missing = [
        f"{thing.line_of('')}: must have a docstring"
        for thing in all_things()
        if thing.public and not thing.text and thing.name not in NOT_YET
    ]
    assert not missing, "\n" + "\n".join(missing)


def constants_without(tree, path):
    """Yield the constants that a room hands out, in `__all__`, and no text explains."""
    body = tree.body
    names = {
        name
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if ast.unparse(target) in names and not (text and str(after.value.value).strip()):
                yield (
                    f"{path}:{node.lineno} {ast.unparse(target)}: "
                    "a text that says what it is must follow"
                )


def test_constants_that_a_room_hands_out_are_explained():
    missing = [
        line
        for path in SOURCES
        for line in constants_without(parsed(path), path.relative_to(ROOT))
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_texts_behind_constants_say_something():
    empty = [
        f"{path.relative_to(ROOT)}:{node.lineno}: must say something"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and not node.value.value.strip()
    ]
    assert not empty, "\n" + "\n".join(empty)


def test_sections_are_in_the_houses_form():
    things = all_things()
    classes = classes_of(things)
    wrong = [line for thing in things for line in complaints_about(thing, classes)]
    assert not wrong, f"{len(wrong)} lines\n" + "\n".join(wrong)


GOOD = '''
    """Do it.

    Parameters
    ----------
    a, b : numbers
        of two lines
    *rest : more

    Raises
    ------
    DataError
        They differ.
    """
'''


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("", "", None),
        ("----------\n", "", "x.py:6 x.f: a line of dashes must follow 'Parameters'"),
        ("----------\n", "---\n", "x.py:6 x.f: as many dashes as 'Parameters' has letters"),
        ("Raises\n    ------", "Raises:", "x.py:12 x.f: a line of dashes must follow 'Raises'"),
        ("a, b :", "a, c :", "x.py:8 x.f: c must be in the signature, which has *rest, a, b"),
        ("a, b : numbers", "a, b", "x.py:8 x.f: under Parameters, write 'name : what it is'"),
        (
            "DataError\n       ",
            "DataError :",
            "x.py:14 x.f: under Raises, an error's name must",
        ),
        ("\n        They differ.", "", "x.py:14 x.f: under Raises, an error's name must stand"),
        (
            "*rest : more",
            "*rest : more\n\n    So it is.",
            "x.py:12 x.f: under Parameters, write",
        ),
    ],
)
def test_the_check_of_sections(old, new, complaint):
    assert old in GOOD
    source = f"'''Of a module.'''\n\ndef f(a, b, *rest):{GOOD.replace(old, new, 1)}"
    function = things_of(ast.parse(source))[1]
    complaints = list(complaints_about(function, {}))
    if complaint is None:
        assert complaints == []
    else:
        assert complaints
        assert complaints[0].startswith(complaint)


def test_the_check_of_a_classes_fields_knows_its_bases():
    source = textwrap.dedent('''
        """Of a module."""
        class Base:
            """A base."""
            size: int
        class Derived(Base):
            """What is derived.

            Attributes
            ----------
            size : of the base
            made : in a method
            lost : nowhere
            """
            def make(self):
                """Make it."""
                self.made = 1
    ''')
    things = things_of(ast.parse(source))
    derived = next(thing for thing in things if thing.name == "x.Derived")
    (complaint,) = complaints_about(derived, classes_of(things))
    assert complaint.startswith("x.py:13 x.Derived: lost must be in the signature")


def test_public_names_are_found():
    source = (
        "def f(): ...\ndef _g(): ...\nclass A:\n    def m(self): ...\n"
        "    def _n(self): ...\nclass _B:\n    def m(self): ...\n"
    )
    public = [thing.name for thing in things_of(ast.parse(source)) if thing.public]
    assert public == ["x", "x.f", "x.A", "x.A.m"]


def test_the_check_of_constants():
    source = '__all__ = ["A", "B"]\nA = 1\n"""What it is."""\nB = 2\nC = 3\n'
    (complaint,) = constants_without(ast.parse(source), "x.py")
    assert complaint == "x.py:4 B: a text that says what it is must follow"
