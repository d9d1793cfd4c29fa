"""One message of every kind, with its arrays: what the golden frames are made of."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from msgspec import structs

from rig_bridge import messages as m
from rig_bridge.trials import ShowRequest, TrialResult, pack_results

SESSION = "00112233445566778899aabbccddeeff"


def image(seed: int, height: int = 2, width: int = 3):
    """Pixels that count up from `seed`: (height, width, 3) uint8."""
    values = (np.arange(height * width * 3) + seed) % 256
    return values.astype(np.uint8).reshape(height, width, 3)


def sha256(pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def hello(**changes) -> m.Hello:
    fields = {
        "name": "rig A",
        "software": "simulated 0.1.0",
        "capabilities": ("spikes", "counts", "rates"),
        "units": (m.Unit(17, 1, "IT", "17a"), m.Unit(33, 0, "V4", "33 multi")),
        "display": m.ScreenInfo(1920, 1080, 60.0, 40.0),
        "window_ms": (-200.0, 500.0),
    }
    return m.Hello(**{**fields, **changes})


def request(block=0, attempt=1, presentations=(0, 1, 2), images=2, known=None) -> ShowRequest:
    """Presentations in turn over a few small images."""
    pixels = tuple(image(7 * block + k) for k in range(images))
    return ShowRequest(
        block=block,
        attempt=attempt,
        images=pixels,
        sha256=tuple(sha256(p) for p in pixels),
        presentations=tuple(
            m.PresentationRequest(
                presentation=p,
                image=p % images,
                on_ms=100.0,
                off_ms=100.0,
                known_attempt=(known or {}).get(p, 0),
            )
            for p in presentations
        ),
        size_deg=3.0,
        position_deg=(-1.5, 0.5),
    )


def result(presentation=0, attempt=1, *, form="spikes", ok=True, **changes) -> TrialResult:
    """What a rig with the two units of `hello` may say."""
    spikes = presentation % 4 + 1
    arrays = {
        "spikes": {
            "units": (np.arange(spikes) % 2).astype("<u4"),
            "times_ms": (np.arange(spikes) * 12.5 + presentation).astype("<f4"),
        },
        "counts": {
            "counts": np.full((2, 3), presentation % 65_521, "<u2"),
            "edges_ms": np.array([-100.0, 0.0, 100.0, 300.0], "<f8"),
        },
        "rates": {"rates": np.array([presentation, 0.5], "<f8")},
    }[form]
    fields = {
        "presentation": presentation,
        "attempt": attempt,
        "status": "ok" if ok else "aborted",
        "reason": "" if ok else "fixation broken",
        "commanded_ns": 1_000_000,
        "onset_ns": 9_000_000,
        "offset_ns": 109_000_000,
        "onset_source": "photodiode",
        "form": form,
        "arrays": arrays,
    }
    return TrialResult(**{**fields, **changes})


def showing(asked, onset_ns, *, on_ns=100_000_000, status="ok") -> m.Showing:
    """What a display did with what it was asked for."""
    return m.Showing(
        presentation=asked.presentation,
        attempt=asked.attempt,
        status=status,
        reason="" if status == "ok" else "fixation broken",
        commanded_ns=onset_ns,
        onset_ns=onset_ns,
        offset_ns=onset_ns + on_ns,
        onset_source="flip",
    )


def placed_request(block=0, attempt=1) -> ShowRequest:
    """As `request`, its first two presentations at places of their own; the third has none."""
    asked = request(block, attempt)
    first, second, *others = asked.presentations
    presentations = (
        structs.replace(first, size_deg=1.0, position_deg=(4.0, -2.5)),
        structs.replace(second, position_deg=(-3.0, 0.0)),
        *others,
    )
    return replace(asked, presentations=presentations)


def show_places():
    message, pixels = show()
    first, second = message.presentations
    first = structs.replace(first, size_deg=1.0, position_deg=(4.0, -2.5))
    return structs.replace(message, presentations=(first, second)), pixels


def show():
    pixels = (image(0), image(100))
    shown = tuple(m.ImageInfo(sha256(p), "|u1", p.shape) for p in pixels)
    presentations = (
        m.PresentationRequest(
            presentation=40, image=0, on_ms=100.0, off_ms=150.0, known_attempt=0
        ),
        m.PresentationRequest(
            presentation=41, image=1, on_ms=100.0, off_ms=150.0, known_attempt=1
        ),
    )
    return m.Show(
        session=SESSION,
        block=3,
        attempt=2,
        images=shown,
        presentations=presentations,
        size_deg=3.0,
        position_deg=(-1.5, 0.5),
    ), pixels


FROM_ENGINE = {
    "welcome": (m.Welcome(SESSION, "first light", (-100.0, 300.0)), ()),
    "refused": (m.Refused("another rig is here already"), ()),
    "show": show(),
    "show_places": show_places(),
    "ack": (m.Ack(3, (m.Acknowledged(40, 2), m.Acknowledged(41, 2))), ()),
    "ping": (m.Ping(SESSION), ()),
    "hold": (m.Hold(SESSION, on=True), ()),
    "invalid": (
        m.Invalid(
            block=3,
            presentations=(40,),
            field="units",
            value="unit 9999",
            allowed="those of the hello, 64 of them (0 to 63)",
        ),
        (),
    ),
    "end": (m.End("finished"), ()),
}

FROM_RIG = {
    "hello": (hello(), ()),
    "hello_places": (hello(display=m.ScreenInfo(1920, 1080, 60.0, 40.0, places=True)), ()),
    "accepted": (m.Accepted(3, 2), ()),
    "response_spikes": pack_results(
        [result(40, 2), result(41, 2, ok=False)], block=3, attempt=2
    ),
    "response_counts": pack_results([result(40, 2, form="counts")], block=3, attempt=2),
    "response_rates": pack_results(
        [result(40, 2, form="rates"), result(41, 2, form="rates")], block=3, attempt=2
    ),
    "done": (m.Done(3, 2), ()),
    "notice": (m.Notice("warning", "eye tracker lost the pupil"), ()),
    "bye": (m.Bye("stopped"), ()),
}
