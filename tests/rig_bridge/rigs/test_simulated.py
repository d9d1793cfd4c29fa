"""The simulated rig: its time, its aborts, its three forms of response."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest

from evolver.seeds import stream
from rig_bridge import codec
from rig_bridge.rigs.simulated import EarlierShowings, SimulatedRig
from rig_bridge.trials import Presentation, pack_results
from scorers.neuron import Adaptation
from tests.rig_bridge.rig_process import make_rig
from tests.rig_bridge.samples import image, sha256

WINDOW = (-100.0, 300.0)
PIXELS = image(0, 8, 8)


def ask(presentation=0, attempt=1, *, on_ms=100.0, pixels=PIXELS) -> Presentation:
    return Presentation(
        block=0,
        attempt=attempt,
        presentation=presentation,
        sha256=sha256(pixels),
        on_ms=on_ms,
        off_ms=50.0,
        size_deg=3.0,
        position_deg=(0.0, 0.0),
        window_ms=WINDOW,
    )


class Wall:
    """A wall clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def timed(speed: float, **options) -> tuple[SimulatedRig, Wall]:
    wall = Wall()
    return make_rig(speed=speed, clock=wall, sleep=wall.sleep, **options), wall


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_a_presentation_takes_its_time_divided_by_the_speed(speed):
    rig, wall = timed(speed, lag_ms=8.0)
    for k in range(10):
        rig.present(PIXELS, ask(k))
    assert sum(wall.slept) == pytest.approx(10 * 0.158 / speed)


def test_at_infinite_speed_nothing_waits_and_stamps_are_of_stimulus_time():
    rig, wall = timed(math.inf, lag_ms=8.0)
    wall_free = [rig.present(PIXELS, ask(k)) for k in range(3)]
    assert wall.slept == []
    assert [r.commanded_ns for r in wall_free] == [0, 158_000_000, 316_000_000]
    assert [r.onset_ns - r.commanded_ns for r in wall_free] == [8_000_000] * 3
    assert [r.offset_ns - r.onset_ns for r in wall_free] == [100_000_000] * 3


def test_at_finite_speed_the_rigs_clock_runs_that_much_faster_than_the_wall():
    rig, wall = timed(10.0)
    rig.present(PIXELS, ask(0))
    wall.now = 1002.0  # an idle moment
    assert rig.present(PIXELS, ask(1)).commanded_ns == pytest.approx(20e9)


def test_time_lost_to_a_slow_machine_is_made_up_and_the_clock_never_goes_back():
    rig, wall = timed(1.0)
    stamps = []
    for k in range(20):
        stamps.append(rig.present(PIXELS, ask(k)).onset_ns)
        wall.now += 0.01 * (k % 3)
    assert (np.diff(stamps) >= 158_000_000 - 1).all()


def test_aborts_come_as_often_as_told_and_stop_in_the_middle():
    rig = make_rig(speed=math.inf, abort_rate=0.3)
    results = [rig.present(PIXELS, ask(k)) for k in range(400)]
    aborted = [r for r in results if r.status == "aborted"]
    assert abs(len(aborted) / 400 - 0.3) < 4.5 * math.sqrt(0.21 / 400)
    for r in aborted:
        shown_ms = (r.offset_ns - r.onset_ns) / 1e6
        assert 0 <= shown_ms < 100
        assert (r.arrays["times_ms"] < shown_ms + 1e-3).all()
        assert r.reason == "fixation broken"
    assert any(len(r.arrays["units"]) for r in aborted)
    assert all(r.reason == "" for r in results if r.status == "ok")


def outcome(rig, *asked):
    result = rig.present(PIXELS, ask(*asked))
    return result.status, result.reason, result.arrays["times_ms"].tolist()


def test_what_happens_depends_on_presentation_and_showing_and_not_on_order():
    def outcomes(order, attempts=(1, 2)):
        rig = make_rig(speed=math.inf, abort_rate=0.5)
        return {(p, k): outcome(rig, p, a) for k, a in enumerate(attempts) for p in order}

    forwards = outcomes(range(10))
    assert forwards == outcomes(range(9, -1, -1))
    assert len({str(v) for v in forwards.values()}) > 10
    # An engine that was interrupted asks again, under numbers of its own.
    assert forwards == outcomes(range(10), attempts=(3, 9))


def test_the_same_question_has_the_same_answer_and_another_session_begins_anew():
    rig = make_rig(speed=math.inf, abort_rate=0.5)
    first, again, second = (outcome(rig, 4, attempt) for attempt in (2, 2, 5))
    assert first == again != second
    assert outcome(rig, 4, 1) == first  # lower than before: another session
    assert outcome(rig, 4, 2) == second


def test_a_session_that_goes_on_goes_on_with_its_showings():
    whole = make_rig(speed=math.inf)
    rest = make_rig(speed=math.inf, earlier=EarlierShowings({4: 2, 5: 1}))
    for attempt in (1, 2):
        outcome(whole, 4, attempt)
    outcome(whole, 5, 2)
    for asked in ((4, 3), (5, 3), (6, 3)):
        assert outcome(whole, *asked) == outcome(rest, *asked)


def test_an_image_is_answered_less_the_more_it_was_shown_also_when_a_session_goes_on():
    def count(rig, presentation):
        units, _ = rig.present(PIXELS, ask(presentation)).arrays.values()
        return len(units)

    def rig(**options):
        memory = Adaptation(1.0, 50.0)
        return make_rig(speed=math.inf, memory=memory, **options)

    whole = rig()
    counts = [count(whole, k) for k in range(60)]
    fresh = [count(make_rig(speed=math.inf), k) for k in range(60)]
    assert sum(counts) < 0.8 * sum(fresh)
    shown = tuple((sha256(PIXELS), k) for k in range(40))
    rest = rig(earlier=EarlierShowings({}, shown))
    assert [count(rest, k) for k in range(40, 60)] == counts[40:]
    assert [count(rig(), k) for k in range(40, 60)] != counts[40:]


def test_an_image_that_is_answered_later_is_asked_about_once():
    asked: list[int] = []

    def delay_ms(pixels):
        asked.append(len(pixels))
        return 30.0

    usual, late = make_rig(speed=math.inf), make_rig(speed=math.inf, delay_ms=delay_ms)
    sums = np.zeros(2)
    for k in range(40):
        for i, rig in enumerate((usual, late)):
            sums[i] += rig.present(PIXELS, ask(k)).arrays["times_ms"].sum()
    assert sums[1] > sums[0]
    assert asked == [8]


def test_all_images_of_a_request_are_looked_at_together_and_each_once():
    batches: list[int] = []

    def respond(images):
        batches.append(len(images))
        return np.array([[i.mean(), i.std()] for i in images])

    streams = functools.partial(stream, 0)
    rig = SimulatedRig(
        respond, make_rig()._neurons, labels=("a", "b"), stream=streams, speed=math.inf
    )
    images = {sha256(i): i for i in (image(k, 4, 4) for k in range(5))}
    rig.prepare(images)
    rig.prepare(images)
    for pixels in images.values():
        rig.present(pixels, ask(pixels=pixels))
    assert batches == [5]
    rig.present(PIXELS, ask())  # one that was never prepared
    assert batches == [5, 1]


def test_counts_and_rates_are_those_of_the_spikes():
    spikes, counts, rates = (
        make_rig(speed=math.inf, form=form, bin_ms=20.0, rate_window_ms=(50.0, 150.0))
        for form in ("spikes", "counts", "rates")
    )
    for k in range(20):
        truth = spikes.present(PIXELS, ask(k)).arrays
        binned = counts.present(PIXELS, ask(k)).arrays
        rate = rates.present(PIXELS, ask(k)).arrays["rates"]
        assert binned["counts"].shape == (2, 20)
        for unit in range(2):
            times = truth["times_ms"][truth["units"] == unit]
            np.testing.assert_array_equal(
                binned["counts"][unit], np.histogram(times, binned["edges_ms"])[0]
            )
            assert rate[unit] == np.sum((times >= 50) & (times < 150)) / 0.1


@pytest.mark.parametrize("form", ["spikes", "counts", "rates"])
def test_every_form_goes_over_the_wire(form):
    rig = make_rig(speed=math.inf, form=form, abort_rate=0.5)
    assert rig.hello("x", software="y").capabilities == (form,)
    results = [rig.present(PIXELS, ask(k)) for k in range(5)]
    codec.decode_from_rig(codec.encode_message(*pack_results(results, block=0, attempt=1)))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"speed": 0.0}, "speed"),
        ({"speed": math.nan}, "speed"),
        ({"abort_rate": 1.1}, "abort_rate"),
        ({"bin_ms": 0.0}, "bin_ms"),
        ({"lag_ms": -1.0}, "lag_ms"),
        ({"rate_window_ms": (2.0, 1.0)}, "rate_window_ms"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        make_rig(**wrong)


def test_drives_of_another_shape_are_refused():
    rig = SimulatedRig(
        lambda images: np.zeros((len(images), 3)),
        make_rig()._neurons,
        labels=("a", "b"),
        stream=functools.partial(stream, 0),
    )
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        rig.prepare({sha256(PIXELS): PIXELS})


class Sighted:
    """Drives that say where an image is: its size and position, and its mean."""

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, shown):
        self.asked += [place for _, place in shown]
        return np.array([
            [size + image.mean() / 1000, right + 10 * up]
            for image, (size, (right, up)) in shown
        ])


def placed(presentation, size, position, pixels=PIXELS) -> Presentation:
    asked = ask(presentation, pixels=pixels)
    return dataclasses.replace(asked, size_deg=size, position_deg=position)


def sighted_rig(sight, **options) -> SimulatedRig:
    return SimulatedRig(
        lambda images: sight([(image, (3.0, (0.0, 0.0))) for image in images]),
        make_rig()._neurons,
        respond_at=sight,
        usual_place=(3.0, (0.0, 0.0)),
        labels=("size", "place"),
        stream=functools.partial(stream, 0),
        speed=math.inf,
        form="rates",
        expected_rates=lambda drives, _window_ms, *, on_ms: drives,  # noqa: ARG005
        **options,
    )


def test_an_image_is_seen_where_it_is_and_each_place_is_looked_at_once():
    sight = Sighted()
    rig = sighted_rig(sight)
    assert rig.hello("r", software="1").display.places
    other = image(3, 8, 8)
    shown = [
        (pixels, placed(k, size, position, pixels))
        for k, (pixels, size, position) in enumerate([
            (PIXELS, 3.0, (0.0, 0.0)),
            (PIXELS, 1.0, (0.0, 0.0)),
            (PIXELS, 3.0, (-2.0, 0.5)),
            (other, 3.0, (-2.0, 0.5)),
            (PIXELS, 3.0, (-2.0, 0.5)),
        ])
    ]
    rates = [rig.present(*asked).arrays["rates"].tolist() for asked in shown]
    expected = [
        [p.size_deg + pixels.mean() / 1000, p.position_deg[0] + 10 * p.position_deg[1]]
        for pixels, p in shown
    ]
    assert rates == expected
    assert len(sight.asked) == 4
    # Those of a request may be looked at before it begins, all together.
    rig.prepare_places(shown)
    again = sighted_rig(other_sight := Sighted())
    again.prepare_places(shown)
    assert len(sight.asked) == len(other_sight.asked) == 4
    assert [again.present(*asked).arrays["rates"].tolist() for asked in shown] == expected
    again.forget([sha256(PIXELS)], ())
    assert [again.lacks(sha256(PIXELS)), len(again._drives)] == [True, 1]


def test_neurons_that_see_images_alone_say_that_they_heed_no_places():
    rig = make_rig(speed=math.inf)
    assert not rig.hello("r", software="1").display.places
    rig.prepare_places([(PIXELS, placed(0, 1.0, (5.0, 5.0)))])
    assert not rig.lacks(sha256(PIXELS))
