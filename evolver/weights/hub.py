"""Where weight files lie, and how those that do not come to this machine.

Knows the files that the generators want, their licences, the folder where a person may put
them, and the Hugging Face Hub. Knows nothing of what is in a file, and loads no torch.

A file is looked for in this order: the place that was named; the folder; the Hub's cache; the
Hub. The Hub's client keeps what it fetched, goes on where a connection broke, and asks nobody
where the environment says HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from platformdirs import user_data_path

from evolver.errors import ConfigError, NotFetchedError, WeightsError
from evolver.plain_text import one_line
from evolver.regular_files import expanded
from evolver.weights.catalogue import KNOWN, KnownFile
from evolver.weights.file_bytes import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    ByteProgress = Callable[[int, int | None], None]
    """Told bytes so far, and of how many (None: the Hub did not say)."""

_SHIPPED = "comes along"
_ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[\w./-]+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


_MAY_FETCH: ContextVar[bool] = ContextVar("may_fetch", default=True)


@contextmanager
def nothing_fetched() -> Generator[None, None, None]:
    """Have nobody asked for a file in here: what is not on this machine is an error.

    `NotFetchedError` says which file would be fetched, from where, and how large it is.
    """
    before = _MAY_FETCH.set(False)
    try:
        yield
    finally:
        _MAY_FETCH.reset(before)


@dataclass(frozen=True, slots=True)
class WeightsLocation:
    """A weight file on this machine."""

    path: Path
    sha256: str | None
    """What its digest must be, where the Hub said so; 64 hexadecimal digits."""
    source: str
    """Where it was found or came from, for people."""


def weights_folder() -> Path:
    """Return the folder where a person may put weight files, whether or not it is there."""
    return user_data_path("evolver") / "weights"


def known_files(generator: str) -> tuple[KnownFile, ...]:
    """Return the files that a generator wants; none for one that is not of this package."""
    return tuple(entry for entry in KNOWN if entry.network == generator)


def find_weights(
    generator: str,
    weights: str | Path | None = None,
    *,
    revision: str | None = None,
    fetch: bool = True,
    progress: ByteProgress | None = None,
) -> WeightsLocation:
    """Return where the (first) weight file of a generator lies, fetching it if need be.

    Parameters
    ----------
    generator : its name
    weights : a path, or ``repo:file`` on the Hub; the generator's own file when None
    revision : commit, tag or branch on the Hub; its main branch when None
    fetch : whether the Hub may be asked for what is not here
    progress : told bytes so far, and of how many (None: the Hub did not say)

    Raises
    ------
    ConfigError
        `weights` or `revision` is no text.
    WeightsError
        The file is not here and cannot be fetched; says which, from where, and where to put it
        by hand.
    """
    _check_text("revision", revision)
    entries = known_files(generator)
    if weights is None:
        if not entries:
            raise WeightsError(
                f"{generator} has no weights of its own; name a file by weights="
            )
        return find_file(entries[0], revision=revision, fetch=fetch, progress=progress)
    if not isinstance(weights, Path):
        _check_text("weights", weights)
    path = expanded(weights)
    if path.exists():
        return WeightsLocation(path, None, "named")
    on_hub = _ON_HUB.fullmatch(str(weights))
    if on_hub is None:
        raise WeightsError(
            f"weights of {generator} must be a file on this machine, or 'repo:file' on the "
            f"Hub; {str(weights)!r} is neither"
        )
    wanted = KnownFile(generator, on_hub["file"], repo=on_hub["repo"])
    return _from_hub(wanted, revision=revision, fetch=fetch, progress=progress)


def find_file(
    wanted: KnownFile,
    *,
    revision: str | None = None,
    fetch: bool = True,
    progress: ByteProgress | None = None,
) -> WeightsLocation:
    """Return where a known file lies, fetching it if need be; see `find_weights`."""
    if wanted.shipped:
        return WeightsLocation(Path(__file__).parent / wanted.shipped, wanted.sha256, _SHIPPED)
    by_hand = by_hand_file(wanted)
    if by_hand is not None:
        return WeightsLocation(by_hand, wanted.sha256, "put there by hand")
    if wanted.repo is None:
        raise missing_file(wanted, "it has to be fetched by hand")
    return _from_hub(wanted, revision=revision, fetch=fetch, progress=progress)


def by_hand_file(wanted: KnownFile) -> Path | None:
    """Return where a person has put a known file, under any of its names; or None."""
    places = (weights_folder() / name for name in (wanted.local_name, *wanted.also_as))
    return next((place for place in places if place.is_file()), None)


def local_weights(wanted: KnownFile, *, revision: str | None = None) -> WeightsLocation | None:
    """Return where a known file lies on this machine, or None; asks nobody."""
    try:
        return find_file(wanted, revision=revision, fetch=False)
    except WeightsError:
        return None


def _from_hub(
    wanted: KnownFile,
    *,
    revision: str | None,
    fetch: bool,
    progress: ByteProgress | None,
) -> WeightsLocation:
    try:
        # By a name without types: the client asks for a class of tqdm's where any bar does.
        client: Any = import_module("huggingface_hub")
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_file(
            wanted, f"the package huggingface_hub is needed to look for it ({error})"
        ) from error
    # A broken connection is an error of the client's own transport, which is not always the
    # same library; the Hub's error is a child of that library's.
    broken: Any = (OSError, ValueError, *HfHubHTTPError.__mro__[1:-3])

    def fetched(*, ask: bool) -> Path:
        return Path(
            client.hf_hub_download(
                str(wanted.repo),
                wanted.filename,
                revision=revision,
                local_files_only=not ask,
                tqdm_class=_bar(progress),
            )
        )

    try:
        try:  # a copy that is here is used: no session waits for a server it has no need of
            path = fetched(ask=False)
        except LocalEntryNotFoundError:
            if not fetch or offline():
                raise
            check_may_fetch(wanted)
            path = fetched(ask=True)
    except broken as error:
        if offline():
            raise missing_file(wanted, "HF_HUB_OFFLINE says to ask nobody for it") from error
        reason = one_line(str(error))[:300].rstrip(".") or type(error).__name__
        raise missing_file(wanted, f"the Hub's client says: {reason}") from error
    # The cache names a file by what the Hub called it: for large files, their digest.
    blob = path.resolve().name
    digest_of_hub = blob if _SHA256.fullmatch(blob) else None
    return WeightsLocation(path, wanted.sha256 or digest_of_hub, f"Hub {wanted.repo}")


def check_digest(location: WeightsLocation) -> str:
    """Return a file's sha256; raise `WeightsError` if it must be another.

    A copy in the Hub's cache that was damaged is removed, so that it can be fetched again.
    """
    has = digest(location.path)
    if location.sha256 is not None and has != location.sha256:
        remedy = {_SHIPPED: "Install the package again"}.get(
            location.source, "Put the right file there"
        )
        if location.source.startswith("Hub "):
            remedy = "It was removed: fetch it again"
            location.path.resolve().unlink(missing_ok=True)
            location.path.unlink(missing_ok=True)
        raise WeightsError(
            f"{location.path} must have sha256 {location.sha256}; it has {has}. " + remedy
        )
    return has


def digest(path: Path) -> str:
    """Return a file's sha256, 64 hexadecimal digits; `WeightsError` if it cannot be read."""
    return digest_of(path)


def offline() -> bool:
    """Return whether the environment says that the Hub must not be asked."""
    try:
        from huggingface_hub import constants
    except ImportError:  # then there is no Hub to ask, and others may be
        return False
    return bool(constants.HF_HUB_OFFLINE)


def missing_file(wanted: KnownFile, reason: str) -> WeightsError:
    """Return the error that says which file, from where, and where to put it by hand."""
    about = [wanted.licence]
    if wanted.url:
        about.insert(0, f"from {wanted.url}")
    if wanted.size is not None:
        about.append(f"about {wanted.size / 1e6:.0f} MB")
    if wanted.pickled:
        then = (
            "Then 'evolver weights convert' writes it as safetensors; name what it wrote by "
            "weights="
        )
    else:
        command = f"'evolver weights fetch {wanted.network}'"
        first = f"{command} fetches it; or put" if wanted.repo else "Put"
        by_hand = weights_folder() / wanted.local_name
        then = f"{first} it by hand as {by_hand}, or name its place by weights="
    return WeightsError(
        f"{wanted.network} needs the file {wanted.filename} ({', '.join(about)}), which is "
        f"not on this machine: {reason}. {then}"
    )


def check_may_fetch(wanted: KnownFile) -> None:
    """Raise `NotFetchedError` inside of `nothing_fetched`: the file is not on this machine."""
    if _MAY_FETCH.get():
        return
    size = "of unknown size" if wanted.size is None else f"about {wanted.size / 1e6:.0f} MB"
    raise NotFetchedError(
        f"{wanted.network} needs the file {wanted.filename}, which is not on this machine. It "
        f"would be fetched from {wanted.url} ({size}, {wanted.licence})"
    ) from None


def _check_text(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(f"{name} must be text; got {value!r}")


def _bar(progress: ByteProgress | None) -> type[_Bar]:
    """Return a class for the Hub's client to show its progress with."""
    return type("Bar", (_Bar,), {"progress": staticmethod(progress) if progress else None})


class _Bar:
    """What the Hub's client does with a progress bar; draws nothing, but tells `progress`."""

    progress: ByteProgress | None = None

    def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
        self.n, self.total = initial, total

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """Note `n` bytes more."""
        self.n += int(n)
        if self.progress is not None:
            self.progress(self.n, self.total)

    def close(self, *_: object, **__: object) -> None:
        """Do nothing: the last `update` said all."""

    # What the client also says to a bar, in one of its ways of fetching or another.
    refresh = set_description = set_postfix_str = close
    update_transfer = set_transfer_postfix_str = close
