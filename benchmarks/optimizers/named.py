"""What a user wrote: found by an import path, and run so that its failures are its own.

Knows nothing of what it is.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from evolver.errors import ConfigError, EvolverError
from evolver.lab_code import error_text


def attribute(path: str) -> Any:  # noqa: ANN401  whatever the user names
    """Import ``module:attribute``.

    Raises
    ------
    ConfigError
        It cannot be imported, whatever its module raises; the message says why.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"a thing of your own is named module:name; got {path!r}")

    def refuse(error: BaseException) -> NoReturn:
        raise ConfigError(
            f"{path!r} must be importable here; it is not: {error_text(error)}"
        ) from error

    with own_failures(refuse):
        return getattr(import_module(module), name)


def made(name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the user makes
    """Call what makes a thing of the user's.

    Raises
    ------
    ConfigError
        It raises something; the message says what. One that it raises on purpose stays.
    """

    def refuse(error: BaseException) -> NoReturn:
        if isinstance(error, EvolverError):
            raise error
        raise ConfigError(f"{name!r} must be made; it is not: {error_text(error)}") from error

    with own_failures(refuse):
        return make()


@contextmanager
def own_failures(fail: Callable[[BaseException], object]) -> Generator[None]:
    """Hand over whatever the block raises, also what would end the program; Ctrl-C apart.

    Ctrl-C is told from a KeyboardInterrupt that the block raises by itself by whether a signal
    came. Where the process has a handler of its own for it, every one counts as Ctrl-C.

    Parameters
    ----------
    fail : called with what was raised
    """
    came = False

    def note(_number: int, _frame: object) -> NoReturn:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    # Python calls handlers in the main thread alone.
    here = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if here else signal.SIG_IGN
    ours = before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    elif before is not signal.SIG_IGN:
        came = True
    try:
        yield
    except BaseException as error:
        if came and isinstance(error, KeyboardInterrupt):
            raise
        fail(error)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_twins(names: Sequence[str], what: str, remedy: str) -> None:
    """Raise `ConfigError` where a name comes twice: runs could not be told apart.

    Parameters
    ----------
    names : of what the user asked for
    what : must hold of them, as "every optimizer needs a label of its own"
    remedy : what to do, a sentence
    """
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ConfigError(f"{what}; {', '.join(twins)} comes twice. {remedy}")
