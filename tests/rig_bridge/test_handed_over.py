"""What a presenter may return: what fits is sent, the rest is aborted, the rig goes on."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rig_bridge.client import RigClient
from rig_bridge.codec import encode_message
from rig_bridge.events import BlockDone
from rig_bridge.handed_over import checked_result
from rig_bridge.trials import Presentation, pack_results
from tests.limits import PATIENCE_S
from tests.rig_bridge.samples import hello, result
from tests.rig_bridge.test_sockets import block, gather, is_, server, trials

ASKED = Presentation(
    block=0,
    attempt=1,
    presentation=1,
    sha256="a",
    on_ms=50.0,
    off_ms=50.0,
    size_deg=3.0,
    position_deg=(0.0, 0.0),
    window_ms=(-100.0, 300.0),
)


def checked(value, capabilities=("spikes", "counts", "rates")):
    out = checked_result(value, ASKED, capabilities=capabilities, units=2, time_ns=7)
    encode_message(*pack_results([out], block=0, attempt=1))  # whatever came, it can be sent
    return out


def spikes(units, times):
    return result(1, arrays={"units": units, "times_ms": times})


@pytest.mark.parametrize(
    "value",
    [
        spikes(np.array([0, 1]), np.array([1.0, 2.0])),  # int64 and float64
        spikes([0, 1], [1, 2]),
        spikes(np.array([0, 9, 1, 9], ">i2")[::2], np.array([1, 9, 2, 9], ">f8")[::2]),
        spikes(np.array([]), np.array([])),
        result(1, commanded_ns=np.int64(5), onset_ns=np.int32(6), offset_ns=np.uint64(7)),
    ],
)
def test_what_fits_is_cast(value):
    out = checked(value)
    assert out.status == "ok"
    assert [out.arrays[name].dtype.str for name in ("units", "times_ms")] == ["<u4", "<f4"]
    if isinstance(value.arrays["units"], list):
        assert out.arrays["units"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (result(1, onset_ns=3_000_000_000, offset_ns=1_000_000_000), "a clock set"),
        (result(1, onset_ns=-1), "onset_ns"),
        (result(1, onset_ns=1.5), "onset_ns"),
        (result(1, offset_ns=2**63), "offset_ns"),
        (result(1, status="fine"), "status"),
        (result(1, reason="x" * 201), "reason"),
        (result(1, onset_source="guess"), "onset_source"),
        (result(2), "presentation and attempt"),
        (result(1, 2), "presentation and attempt"),
        (result(1, form="rates", arrays={}), "must have the arrays"),
        (spikes(np.array([0, 2]), np.array([1.0, 2.0])), "units must be 0 to 1"),
        (spikes(np.array([-1]), np.array([1.0])), "units must be 0 to"),
        (spikes(np.array([0.0]), np.array([1.0])), "units must be <u4"),
        (spikes(np.array([0]), np.array([np.nan])), "times_ms must be finite"),
        (spikes(np.array([0]), np.array([1e300])), "times_ms must be finite"),
        (spikes(np.array([0, 1]), np.array([1.0])), "shapes"),
        (spikes(np.array([[0]]), np.array([[1.0]])), "shapes"),
        (spikes(np.array([None]), np.array([1.0])), "units must be <u4"),
        (spikes([[0], [1, 2]], [1.0]), "cannot be sent"),
        (result(1, form="counts", arrays={"counts": [[1], [70_000]], "edges_ms": [0, 1]}),
         "0 to 65535"),
        (result(1, form="counts", arrays={"counts": [[1], [0]], "edges_ms": [1.0, 0.0]}),
         "edges_ms must increase"),
        (result(1, form="rates", arrays={"rates": [1.0, np.inf]}), "rates must be finite"),
        (result(1, form="rates", arrays={"rates": [1.0]}), "shapes"),
        (None, "a TrialResult must be returned; got NoneType"),
        ("ok", "got str"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_aborted_showing_with_the_reason(value, reason):
    out = checked(value)
    assert (out.status, out.presentation, out.attempt) == ("aborted", 1, 1)
    assert reason in out.reason
    assert out.onset_ns == out.offset_ns == 7


def test_a_form_that_the_hello_did_not_name_is_aborted_in_one_that_it_did():
    out = checked(result(1), capabilities=("rates",))
    assert (out.status, out.form) == ("aborted", "rates")


class Clumsy:
    """A presenter of which every other showing goes wrong, each time in another way."""

    def prepare(self, images) -> None:  # noqa: ARG002
        raise KeyError("a table of images")

    def present(self, image, request):  # noqa: ARG002
        p, a = request.presentation, request.attempt
        match p:
            case 1:  # the clock was set back by 2 s while the image was on
                return result(p, a, onset_ns=3_000_000_000, offset_ns=1_100_000_000)
            case 3:
                raise ZeroDivisionError("a rate")
            case 5:
                return result(p + 1, a)
            case 7:
                return result(p, a, form="rates", arrays={"rates": np.array([np.nan, 1.0])})
            case _:
                return result(p, a)

    def blank(self) -> None:
        pass


def test_a_rig_goes_on_after_every_value():
    stop, said = threading.Event(), []
    with server() as engine:
        client = RigClient(engine.endpoint, hello=hello(), presenter=Clumsy(), identity="c")
        worker = threading.Thread(target=lambda: said.append(client.run(stop=stop.is_set)))
        worker.start()
        engine.show(block(presentations=range(9)))
        answers = {t.presentation: t for t in trials(gather(engine, is_(BlockDone)))}
        stop.set()
        worker.join(PATIENCE_S)
    assert said == ["stopped"]
    assert [p for p, t in sorted(answers.items()) if t.ok] == [0, 2, 4, 6, 8]
    assert "a clock set" in answers[1].reason
    assert "ZeroDivisionError: a rate" in answers[3].reason
