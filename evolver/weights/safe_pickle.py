"""A pickle read as data: a machine of 35 instructions that can call nothing.

Knows pickle's byte code, protocols 2 to 5, as far as saved networks need it. Knows nothing of
tensors, files or networks, and never imports the standard library's pickle.

A name in the file is looked up in a table that the caller hands over, and nowhere else; where
the file asks for a call, the table's entry decides what the arguments mean. What the table does
not hold is refused by name, and what no saved network needs (extensions, instances made by
calling classes, integers of any length, keys but texts and small numbers) is refused by
instruction. Every instruction takes time and memory bounded by the bytes it stands on, and
there is a limit to how many there may be, so a file of a gigabyte costs no more than its own
size and some 300 MB.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast, runtime_checkable

from evolver.errors import WeightsError

Meaning: TypeAlias = Callable[[tuple[object, ...]], object]
"""What calling an allowed name gives, from the arguments that the file has for it."""

_LONGEST_TEXT = 4 << 20  # bytes; a module's embedded source has some 30 000
_LONGEST_INT = 16  # bytes; torch's magic number has 10
_DEEPEST_MARKS = 10_000


class PickleError(WeightsError):
    """A pickle holds what is not allowed, or is damaged; the message says what and where."""


@runtime_checkable
class Buildable(Protocol):
    """A value that a file may finish after it is made, as numpy's arrays are."""

    def build(self, state: object) -> None:
        """Take the state; raise `PickleError` unless it is one."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GlobalName:
    """A name that the file mentions and the table holds; not the thing of that name."""

    text: str
    meaning: Meaning


@dataclass(slots=True)
class ReadLimits:
    """What is left to spend on one file, its nested pickles included."""

    steps: int = 1_000_000
    text: int = 64 << 20
    """Bytes of text; they are the only ones that are copied."""
    number_keys: bool = False
    """Whether dicts may have whole numbers as keys, as those of torch's optimizers have."""


def _unwanted(key: object) -> object:
    raise PickleError(f"no persistent object may be named here; found {type(key).__name__}")


def read_pickle(
    content: memoryview,
    allowed: Mapping[str, Meaning],
    *,
    start: int = 0,
    limits: ReadLimits | None = None,
    persistent: Callable[[object], object] = _unwanted,
) -> tuple[object, int]:
    """Read one pickle from bytes.

    Parameters
    ----------
    content : the bytes; byte strings in the result are slices of it, not copies
    allowed : "module.name" -> what calling it means; any other name is refused
    start : where the pickle starts
    limits : what may be spent; a fresh one when None
    persistent : what a persistent id stands for; refused unless given

    Returns
    -------
    value : None, bool, int, float, str, memoryview, list, tuple, dict, set, `GlobalName`, or
        what a meaning returned
    end : where the pickle ends

    Raises
    ------
    PickleError
        The bytes are no such pickle, or ask for what is refused.
    """
    machine = _Machine(content, start, allowed, limits or ReadLimits(), persistent)
    return machine.run(), machine.at


class _Machine:
    """The stack machine; each instruction is a method, named as pickle names it."""

    def __init__(
        self,
        content: memoryview,
        start: int,
        allowed: Mapping[str, Meaning],
        limits: ReadLimits,
        persistent: Callable[[object], object],
    ) -> None:
        self.content, self.at = content, start
        self.allowed, self.limits, self.persistent = allowed, limits, persistent
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        """Run to the end of the pickle; return its one value."""
        while True:
            at = self.at
            (code,) = self.take(1)
            self.limits.steps -= 1
            if self.limits.steps < 0:
                raise PickleError(f"byte {at}: a saved network has fewer instructions")
            if code == _STOP:
                break
            step = _STEPS.get(code)
            if step is None:
                raise PickleError(
                    f"byte {at}: instruction {code:#04x} is refused; no saved network needs it"
                )
            try:
                step(self)
            except PickleError as error:
                raise PickleError(f"byte {at}: {error}") from None
        if len(self.stack) != 1 or self.marks:
            raise PickleError(f"byte {self.at}: must end with one value; {len(self.stack)}")
        return self.stack.pop()

    # Bytes

    def take(self, count: int) -> memoryview:
        """Return the next bytes, not copied."""
        if count > len(self.content) - self.at:
            left = len(self.content) - self.at
            raise PickleError(f"cut short: {count} bytes are announced, {left} are left")
        part = self.content[self.at : self.at + count]
        self.at += count
        return part

    def number(self, layout: str) -> int:
        """Return the next number, laid out as `struct` says."""
        return cast("int", struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def text(self, length: int) -> None:
        """Push a text of so many bytes."""
        self.limits.text -= length
        if length > _LONGEST_TEXT or self.limits.text < 0:
            raise PickleError(f"a text of {length} bytes is too long")
        self.stack.append(_decoded(self.take(length)))

    def line(self) -> str:
        """Return the text up to the next line feed, which is passed."""
        window = bytes(self.content[self.at : self.at + 256])
        length = window.find(b"\n")
        if length < 0:
            raise PickleError("a name must end within 256 bytes")
        text = _decoded(self.take(length))
        self.take(1)
        return text

    # Stack

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> object:
        """Take the topmost value, which lies above every mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("a value is taken that is not there")
        return self.stack.pop()

    def top(self) -> object:
        """Return the topmost value and leave it."""
        value = self.pop()
        self.stack.append(value)
        return value

    def above_mark(self) -> list[object]:
        """Take everything above the last mark, and the mark."""
        if not self.marks:
            raise PickleError("a mark is taken that is not there")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def several(self, count: int) -> tuple[object, ...]:
        """Take so many values, the first one first."""
        return tuple([self.pop() for _ in range(count)][::-1])

    # Instructions

    def proto(self) -> None:
        version = self.number("<B")
        if not 2 <= version <= 5:
            raise PickleError(f"the protocol must be 2 to 5; it is {version}")

    def frame(self) -> None:
        length = self.number("<Q")
        if length > len(self.content) - self.at:
            raise PickleError(f"cut short: a frame of {length} bytes is announced")

    def mark(self) -> None:
        if len(self.marks) >= _DEEPEST_MARKS:
            raise PickleError(f"more than {_DEEPEST_MARKS} marks are open")
        self.marks.append(len(self.stack))

    def integer(self) -> None:
        length = self.number("<B")
        if length > _LONGEST_INT:
            raise PickleError(f"an integer of {length} bytes is too long")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def remember(self, key: int) -> None:
        self.memo[key] = self.top()

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise PickleError(f"value {key} is recalled, but none was remembered")
        self.push(self.memo[key])

    def append(self, values: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise PickleError(f"items are added to {_kind(target)}, which is no list")
        cast("list[object]", target).extend(values)

    def add(self) -> None:
        values = self.above_mark()
        target = self.top()
        if not isinstance(target, set):
            raise PickleError(f"members are added to {_kind(target)}, which is no set")
        cast("set[str]", target).update(check_texts(values))

    def set_items(self, values: list[object]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise PickleError(
                f"{len(values)} keys and values are put in {_kind(cast('object', target))}"
            )
        keys = values[::2]
        check_texts([key for key in keys if not self.is_small_number(key)])
        cast("dict[object, object]", target).update(zip(keys, values[1::2], strict=True))

    def is_small_number(self, key: object) -> bool:
        """Return whether a key is a number that is allowed; below 2**31 none collide."""
        return self.limits.number_keys and type(key) is int and 0 <= key < 1 << 31

    def name(self, module: object, attribute: object) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise PickleError("a name must be two texts")
        text = f"{module}.{attribute}"
        if text not in self.allowed:
            raise PickleError(
                f"the name {text[:200]!r} is refused: only those that saved networks need are "
                "known, and none of the file's own is ever run"
            )
        self.push(GlobalName(text, self.allowed[text]))

    def reduce(self) -> None:
        called, arguments = self.several(2)
        if not isinstance(called, GlobalName) or not isinstance(arguments, tuple):
            raise PickleError(f"only a name can be called; found {_kind(called)}")
        try:
            value = called.meaning(cast("tuple[object, ...]", arguments))
        except PickleError as error:
            raise PickleError(f"{called.text}: {error}") from None
        self.push(value)

    def build(self) -> None:
        target, state = self.several(2)
        if not isinstance(target, Buildable):
            raise PickleError(f"a state is given to {_kind(target)}, which takes none")
        target.build(state)
        self.push(target)

    def persistent_id(self) -> None:
        self.push(self.persistent(self.pop()))


def check_texts(values: list[object]) -> list[str]:
    """Return `values` if all are texts, whose hashes are salted and cannot be made to collide.

    Raises
    ------
    PickleError
        One is something else.
    """
    for value in values:
        if type(value) is not str:
            raise PickleError(f"keys and members must be texts; found {_kind(value)}")
    return cast("list[str]", values)


def _decoded(raw: memoryview) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise PickleError("a text is not UTF-8") from None


def _kind(value: object) -> str:
    return (
        f"the name {value.text}"
        if isinstance(value, GlobalName)
        else f"a {type(value).__name__}"
    )


_STOP: Final = ord(".")
_STEPS: Final[dict[int, Callable[[_Machine], None]]] = {
    0x80: _Machine.proto,
    0x95: _Machine.frame,
    ord("("): _Machine.mark,
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: _Machine.integer,
    ord("G"): lambda m: m.push(m.number(">d")),  # a float, whatever `number` promises
    0x8C: lambda m: m.text(m.number("<B")),
    ord("U"): lambda m: m.text(m.number("<B")),  # as Python 2 wrote texts
    ord("X"): lambda m: m.text(m.number("<I")),
    0x8D: lambda m: m.text(m.number("<Q")),
    ord("C"): lambda m: m.push(m.take(m.number("<B"))),
    ord("B"): lambda m: m.push(m.take(m.number("<I"))),
    0x8E: lambda m: m.push(m.take(m.number("<Q"))),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.push(m.several(1)),
    0x86: lambda m: m.push(m.several(2)),
    0x87: lambda m: m.push(m.several(3)),
    ord("t"): lambda m: m.push(tuple(m.above_mark())),
    ord("]"): lambda m: m.push([]),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.above_mark()),
    ord("}"): lambda m: m.push({}),
    ord("s"): lambda m: m.set_items(list(m.several(2))),
    ord("u"): lambda m: m.set_items(m.above_mark()),
    0x8F: lambda m: m.push(set[str]()),
    0x90: _Machine.add,
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: lambda m: m.name(*m.several(2)),
    ord("R"): _Machine.reduce,
    0x81: _Machine.reduce,  # making an object of a class: the same table says what that means
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent_id,
}
