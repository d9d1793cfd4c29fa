"""Everything this package raises on purpose.

EvolverError
├── ConfigError      a session file is wrong; raised before anything is shown
├── DataError        an array has the wrong shape, dtype or values        (also a ValueError)
├── OrderError       a method was called out of turn                      (also a RuntimeError)
├── WeightsError     a weight file is missing, or is not the one that was named
│   └── NotFetchedError  it is not on this machine, and would have to be fetched
├── RecordingError   a journal or a recording cannot be written or read
│   └── DamagedJournalError   its first record cannot be read: nothing may go on in it
├── ControlError     a live session cannot be reached, or must not be
├── RigError         the rig said or did something a session cannot go on with
│   └── StoppedEarlyError    the operator stopped before the first image of this process
└── MissingResponseError   a presentation got no response and the policy is to fail

Every message says what must hold, what came, and what to do.
"""


class EvolverError(Exception):
    """Base of the tree."""


class ConfigError(EvolverError):
    """A session file is wrong."""


class DataError(EvolverError, ValueError):
    """An array has the wrong shape, dtype or values."""


class OrderError(EvolverError, RuntimeError):
    """A method was called out of turn."""


class WeightsError(EvolverError):
    """A weight file is missing, or is not the one that was named."""


class NotFetchedError(WeightsError):
    """A weight file is not on this machine; it could be fetched, and was not to be."""


class RecordingError(EvolverError):
    """A journal or a recording cannot be written or read."""


class DamagedJournalError(RecordingError):
    """A journal's first record was there and cannot be read: nothing may go on in it."""


class ControlError(EvolverError):
    """A live session cannot be reached, or must not be."""


class RigError(EvolverError):
    """The rig said or did something a session cannot go on with."""


class StoppedEarlyError(RigError):
    """The operator stopped a session before this process had shown anything.

    Its text is of a session that begins; one that goes on has what was recorded before.

    Parameters
    ----------
    when : as "before a rig joined"
    """

    def __init__(self, when: str) -> None:
        super().__init__(f"stopped {when}: nothing was shown or recorded")


class MissingResponseError(EvolverError):
    """A presentation got no response, and the session's policy is to fail."""
