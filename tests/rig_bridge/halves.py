"""Either half of the conversation in the state a test begins with, and what it said."""

from __future__ import annotations

from rig_bridge import messages as m
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.rig_link import RigLink, SendToEngine
from rig_bridge.trials import pack_results
from tests.rig_bridge.samples import SESSION, hello, result

OTHER = "ff" * 16


def new_engine(**options) -> EngineLink:
    return EngineLink(**{
        "session": SESSION,
        "name": "test",
        "window_ms": (-100.0, 300.0),
        **options,
    })


def joined_engine(**options) -> EngineLink:
    link = new_engine(**options)
    link.received(b"A", hello(), (), 0.0)
    return link


def welcome(session=SESSION) -> m.Welcome:
    return m.Welcome(session, "test", (-100.0, 300.0))


def welcomed_rig(**options) -> RigLink:
    link = RigLink(hello(), **options)
    link.connected(0.0)
    link.received(welcome(), (), 0.0)
    return link


def show_message(request, session=SESSION) -> tuple[m.Show, tuple]:
    """What an engine sends for a request."""
    (action,) = joined_engine(session=session).show(request, 0.0)
    return action.message, action.arrays


def ask(link: RigLink, request, now=0.0, session=SESSION) -> list:
    """A request comes to the rig."""
    return link.received(*show_message(request, session), now)


def answer(link: EngineLink, results, *, block=0, attempt=1, now=0.0, peer=b"A") -> list:
    """Results come to the engine."""
    message, arrays = pack_results(results, block=block, attempt=attempt)
    return link.received(peer, message, arrays, now)


def said(actions, kind) -> list:
    """Messages of one kind among the actions."""
    return [
        a.message
        for a in actions
        if isinstance(a, SendToRig | SendToEngine) and isinstance(a.message, kind)
    ]


def next_shown(link: RigLink):
    """(block, presentation, attempt) of what is to be presented now, or None."""
    link.verify()
    item = link.next()
    return None if item is None else (item[1].block, item[1].presentation, item[1].attempt)


def present_all(link: RigLink) -> list:
    """Present until nothing is left, every result at once; return what was shown."""
    shown = []
    while (label := next_shown(link)) is not None:
        link.presented(result(*label[1:]))
        shown.append(label)
    return shown


def labels(actions) -> list:
    """(presentation, attempt) of every result among what a rig sends."""
    return [(t.presentation, t.attempt) for r in said(actions, m.Response) for t in r.trials]
