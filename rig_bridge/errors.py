"""Everything the wire raises on purpose.

RigBridgeError
├── ProtocolError    bytes or a message are not what docs/PROTOCOL.md says  (also a ValueError)
│   └── VersionError     a hello of another protocol version
├── RequestError     a request to show images cannot be put on the wire     (also a ValueError)
├── RefusedError     the engine does not want this rig; raised on the rig
├── EndpointError    an address cannot be bound or connected
│   └── InUseError       another process listens there now
└── KeyFileError     a key file is missing, wrong, or open to others

Every message says what must hold, what came, and what to do.
"""


class RigBridgeError(Exception):
    """Base of the tree."""


class ProtocolError(RigBridgeError, ValueError):
    """Bytes or a message are not what the protocol says."""


class VersionError(ProtocolError):
    """A hello of another protocol version; `version` is the one it names."""

    def __init__(self, message: str, *, version: int) -> None:
        super().__init__(message)
        self.version = version


class RequestError(RigBridgeError, ValueError):
    """A request to show images cannot be put on the wire."""


class RefusedError(RigBridgeError):
    """The engine does not want this rig."""


class EndpointError(RigBridgeError):
    """An address cannot be bound or connected."""


class InUseError(EndpointError):
    """Another process listens at an address now; the address itself is good."""


class KeyFileError(RigBridgeError):
    """A key file is missing, wrong, or open to others."""
