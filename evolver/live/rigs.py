"""The rigs a session can run against: one over the network, or a simulation in this process.

A context manager each, which yields the rig once it has joined.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from evolver.clock import Clock
from evolver.config.tables import Config
from evolver.errors import StoppedEarlyError
from evolver.journal import records
from evolver.live.console import Console, KeptCommands
from evolver.regular_files import expanded
from evolver.session.ports import RigPort
from evolver.setup.places import needs_places
from evolver.setup.simulated_rig import LocalRig, build_population
from rig_bridge.auth import EngineKeys
from rig_bridge.events import RigEvent, RigJoined
from rig_bridge.messages import Hello, Notice
from rig_bridge.rigs.simulated import NOTHING_SHOWN, EarlierShowings
from rig_bridge.server import EngineServer
from rig_bridge.sockets import check_loopback

logger = logging.getLogger(__name__)

_MOST_NOTICES = 1000
"""That are kept from before the first image: the last ones."""


@dataclass(frozen=True, slots=True, eq=False)
class JoinedRig:
    """A rig that is there, and what it said of itself."""

    port: RigPort
    hello: Hello
    end: Callable[[str], None]  # tells it why the session is over
    weights: tuple[records.WeightFile, ...] = ()  # that its responses are made with
    awaited_ns: int = 0  # since when it could join, engine clock
    notices: deque[tuple[int, Notice]] = field(
        default_factory=lambda: deque[tuple[int, Notice]](maxlen=_MOST_NOTICES)
    )
    """What it had to say before there was a loop, each with its time, engine clock, ns."""

    def keep_notices(self, events: Sequence[RigEvent], time_ns: int) -> None:
        """Keep the notices among events that no loop hears, for the record.

        A rig says each once, as a rule just after it has joined.
        """
        for event in events:
            if isinstance(event, Notice):
                logger.info("the rig says: %s", event.text)
                self.notices.append((time_ns, event))


def engine_keys(config: Config) -> EngineKeys | None:
    """Return the keys that the session file names; None where it names none and needs none.

    Raises
    ------
    KeyFileError
        They are missing, wrong, or open to others.
    EndpointError
        There are none, and other machines can reach the address.
    """
    if config.rig.keys is None:
        check_loopback(config.rig.endpoint)
        return None
    return EngineKeys.load(expanded(config.rig.keys))


@contextmanager
def rig_over_network(
    config: Config,
    session_id: str,
    console: Console,
    commands: KeptCommands,
    *,
    clock: Clock,
    endpoint: str = "",
    may_restart: bool = False,
    gone_ns: int = 0,
) -> Generator[JoinedRig, None, None]:
    """Listen for a rig, wait until one has joined, and close the socket at the end.

    Parameters
    ----------
    config, session_id : the session's
    console : told the address and that a rig is waited for
    commands : may stop the waiting
    clock : Clock
    endpoint : where to listen instead of where the session file says
    may_restart : another process may take this one's place after a failure, so that the rig
        is not told that the session is over
    gone_ns : since when there is no rig, where it was gone before the engine; 0: since now

    Raises
    ------
    StoppedEarlyError
        The operator stopped before a rig joined.
    EndpointError
        The address cannot be listened on.
    KeyFileError
        The keys that the session file names are missing, wrong, or open to others.
    """
    with EngineServer(
        endpoint or config.rig.endpoint,
        session=session_id,
        name=config.session.name,
        window_ms=config.rig.window_ms,
        places=needs_places(config),
        answer_timeout_s=config.rig.answer_timeout_s,
        clock=clock.monotonic,
        keys=engine_keys(config),
    ) as server:
        awaited_ns = clock.time_ns()
        console.on_endpoint(server.endpoint)
        waiting = f"waiting for the rig: {server.endpoint}"
        console.on_wait(waiting, gone_ns or awaited_ns)

        def tell(text: str) -> None:
            logger.warning("%s", text)
            console.on_wait(f"{waiting}; {text}", gone_ns or awaited_ns)

        hello, events = _await_rig(server, commands, tell)
        joined = JoinedRig(server, hello, server.end, awaited_ns=awaited_ns)
        joined.keep_notices(events, clock.time_ns())
        try:
            yield joined
        except BaseException:
            if not may_restart:
                server.end("the session failed")
            raise


def _await_rig(
    server: EngineServer, commands: KeptCommands, tell: Callable[[str], None]
) -> tuple[Hello, Sequence[RigEvent]]:
    """Return what the rig says of itself, and all that came together with it.

    `tell` is told what keeps a rig from joining, such as what the session needs and it cannot.
    """
    while True:
        if commands.end_wanted() is not None:
            raise StoppedEarlyError("before a rig joined")
        events = server.poll(0.1)
        for event in events:
            if isinstance(event, RigJoined):
                return event.hello, events
            if isinstance(event, Notice):
                tell(event.text)


@contextmanager
def rig_in_process(
    config: Config, *, clock: Clock, earlier: EarlierShowings = NOTHING_SHOWN
) -> Generator[JoinedRig, None, None]:
    """Make the simulated rig of a session file, which answers at once.

    Parameters
    ----------
    config, clock : the session's
    earlier : what was shown already, in a session that goes on

    Raises
    ------
    ConfigError
        A unit of [simulation] does not exist.
    """
    population = build_population(config)
    rig = LocalRig(population, config, clock=clock, earlier=earlier)
    weights = tuple(
        records.WeightFile("scorer", name, sha256)
        for name, sha256 in population.scorer.digests.items()
    )
    yield JoinedRig(rig, rig.hello, lambda _: None, weights)
