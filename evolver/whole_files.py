"""Files and folders that are in their place whole, or not at all.

Knows bytes and a path. Knows nothing of what is in a file. Whatever is unfinished has a name
that begins with a dot, and is gone afterwards, unless a kill left it. Rights are those that the
system gives to any new file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def whole_file(path: Path, *, overwrite: bool = True) -> Generator[Path]:
    """Hand out a name to write a file under; it is in its place, and on the disk, after that.

    Whatever interrupts it leaves the file that was there before, or none; a kill alone leaves
    the unfinished one.

    Parameters
    ----------
    path : the file; its folder is made where it is missing
    overwrite : whether it may be there already, also by the time that the new one is whole

    Yields
    ------
    the path to write, beside it and with its ending; there is nothing yet

    Raises
    ------
    FileExistsError
        It is there and may not be.
    OSError
        It cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path, path.stem, path.suffix[:20])
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        if overwrite:
            unfinished.replace(path)
        else:
            _put_new(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place; on the disk when this returns.

    Whatever interrupts it leaves the file that was there before, or none, and nothing beside.
    Who may read and write the one before may do so with this one.

    Parameters
    ----------
    path : the file; its folder is made where it is missing
    content : all of it

    Raises
    ------
    OSError
        It cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path, path.name)  # without its ending, which readers look for
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there is none before, or the disk has no modes
            unfinished.chmod(stat.S_IMODE(path.stat().st_mode))
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(
    path: Path, *, earlier: re.Pattern[str] | None = None, last: str = ""
) -> Generator[Path]:
    """Hand out an empty folder to write files into; they are in their place after that.

    Parameters
    ----------
    path : the folder; made where it is missing
    earlier : whole names of the files that an earlier one may have left there: they are
        removed first, and all else stays. None: nothing may be there, also by the time that
        the new one is whole
    last : name of the file that says that all others are there

    Yields
    ------
    the folder to write into, beside it

    Raises
    ------
    OSError
        It cannot be made there; ENOTEMPTY or EEXIST where something is there and may not be.
    """
    place = path.resolve()
    with unfinished_folder(place) as made:
        yield made
        if earlier is not None:
            _remove_earlier(place, earlier, last)
        elif not place.is_mount():
            made.rename(place)  # refused by the system, in one step, where something is there
            return
        elif set(place.iterdir()) != {made}:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(place))
        move_files(made, place, last=last)


@contextmanager
def unfinished_folder(place: Path) -> Generator[Path]:
    """Hand out an empty folder on a place's file system; it is removed, with what is in it.

    Parameters
    ----------
    place : a folder, there or not; the new one is beside it, or in it where it is a mount's

    Raises
    ------
    OSError
        It cannot be made there.
    """
    parent = place if place.is_mount() else place.parent
    parent.mkdir(parents=True, exist_ok=True)
    made = _beside(parent / "any", place.name)
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def move_files(source: Path, target: Path, *, last: str = "") -> None:
    """Move every file of a folder to the same place in another, over what has its name there.

    Parameters
    ----------
    source, target : folders of one file system; the target is made where it is missing
    last : name of the file that is moved last: one that names the others

    Raises
    ------
    OSError
        One cannot be moved; those before it are.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == last)
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _beside(path: Path, name: str, ending: str = "") -> Path:
    return path.with_name(f".{name[:100]}.{token_hex(6)}{ending}")


def _remove_earlier(place: Path, names: re.Pattern[str], last: str) -> None:
    if not place.is_dir():
        return
    old = [path for path in place.iterdir() if names.fullmatch(path.name) and path.is_file()]
    for path in sorted(old, key=lambda path: path.name != last):  # what speaks for all, first
        path.unlink()


def _put_new(unfinished: Path, path: Path) -> None:
    """Give a file its name, which nothing has; in one step where the system has links."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError as exc:  # exFAT and some mounted ones have none
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from exc
        unfinished.replace(path)
    else:
        unfinished.unlink()
