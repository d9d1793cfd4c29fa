"""A terminal of so many columns and rows: a real pseudo-terminal, and what its screen shows."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import threading
import unicodedata

from tests.limits import wait_until

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[=>]")


class Screen:
    """What a terminal makes of the bytes it gets: the movements that rich uses, and no more."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [[]]
        self.x, self.y = 0, 0

    def feed(self, text):
        """Take text with control sequences, complete ones."""
        place = 0
        while place < len(text):
            if found := _SEQUENCE.match(text, place):
                self._obey(found.group(1) or "", found.group(2) or "")
                place = found.end()
                continue
            self._put(text[place])
            place += 1

    def _obey(self, argument, letter):
        number = int(argument) if argument.isdigit() else 1
        if letter == "A":
            self.y = max(self.y - number, len(self.lines) - self.rows, 0)
        elif letter == "K":
            self.lines[self.y] = [] if argument == "2" else self.lines[self.y][: self.x]
        else:
            assert letter in {"m", "h", "l", ""}, f"unknown sequence {argument!r} {letter!r}"

    def _put(self, character):
        if character == "\r":
            self.x = 0
        elif character == "\n":
            self.y += 1
            if self.y == len(self.lines):
                self.lines.append([])
        else:
            assert unicodedata.category(character) != "Cc", repr(character)
            if self.x == self.columns:  # the terminal wraps what is too long
                self._put("\r")
                self._put("\n")
            line = self.lines[self.y]
            line.extend(" " * (self.x + 1 - len(line)))
            line[self.x] = character
            self.x += 1

    @property
    def text(self):
        """What a person sees: the last rows."""
        seen = self.lines[-self.rows :]
        return "\n".join("".join(line).rstrip() for line in seen)


class Terminal:
    """A pseudo-terminal; a context manager.

    Attributes
    ----------
    fd, name : for the process that runs in it
    """

    def __init__(self, columns, rows=24):
        self.columns, self.rows = columns, rows
        self._ours, self.fd = pty.openpty()
        self.name = os.ttyname(self.fd)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._data, self._over = bytearray(), False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over = True
        self._reader.join()
        os.close(self.fd)
        os.close(self._ours)

    def _read(self):
        while not self._over:
            if select.select([self._ours], [], [], 0.05)[0]:
                self._data += os.read(self._ours, 1 << 16)

    def type(self, text):
        """Type on its keyboard."""
        os.write(self._ours, text.encode())

    @property
    def text(self):
        """What its screen shows now."""
        screen = Screen(self.columns, self.rows)
        whole = bytes(self._data).decode("utf-8", "ignore")
        screen.feed(
            whole[: m.start()] if (m := re.search(r"\x1b[^A-Za-z]*$", whole)) else whole
        )
        return screen.text

    def until(self, pattern, *, alive=lambda: True):
        """Wait until the screen shows it, while `alive()`; return the screen."""
        seen = []

        def there():
            running = alive()
            seen[:] = [self.text]
            found = re.search(pattern, seen[0]) is not None
            assert found or running, f"it ended before {pattern!r} on\n{seen[0]}"
            return found

        wait_until(there, or_say=lambda: f"{pattern!r} on\n{seen[0]}")
        return seen[0]
