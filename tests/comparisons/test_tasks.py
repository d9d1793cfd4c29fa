"""Tasks of comparisons: each done once, kept as it comes, found again by all it depends on."""

import numpy as np
import pytest

from evolver.comparisons import tasks as room
from evolver.comparisons.tasks import (
    KeptTasks,
    TaskOutcome,
    array_digest,
    comparison_task,
)
from evolver.errors import RecordingError


def made(*numbers, factor=2):
    return [comparison_task("doubling", {"x": x}, {"factor": factor}) for x in numbers]


class Doubling:
    """Doubles what a task is called, and remembers which; stops at a number."""

    def __init__(self, stop=None, reason=KeyboardInterrupt):
        self.done, self.stop, self.reason = [], stop, reason

    def __call__(self, tasks):
        for task in tasks:
            x = int(task.levels["x"])
            if x == self.stop:
                raise self.reason
            self.done.append(x)
            yield TaskOutcome({"y": np.array([2 * x])}, (f"twice {x}",))


def results(kept, tasks):
    return [int(outcome.arrays["y"][0]) for outcome in kept.outcomes(tasks)]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_what_is_done_before_a_stop_is_kept_and_not_done_again(tmp_path, reason):
    tasks = made(1, 2, 3, 4)
    waves = [tasks[:3], tasks[3:]]
    act, told = Doubling(stop=3, reason=reason), []
    kept = KeptTasks(tmp_path / "t", "doubling", waves)
    with pytest.raises(reason):
        kept.run(act, told.append)
    assert (kept.done, kept.total, kept.there) == (2, 4, 0)
    assert results(kept, tasks) == [2, 4]
    assert [end.digest for end in told] == [t.digest for t in tasks[:2]]
    again, act = KeptTasks(tmp_path / "t", "doubling", waves), Doubling()
    assert again.there == 2
    again.run(act)
    assert act.done == [3, 4]
    assert results(again, tasks) == [2, 4, 6, 8]
    assert again.outcome(tasks[2]).names == ("twice 3",)


def test_only_what_is_new_or_damaged_is_done(tmp_path):
    folder, act = tmp_path / "t", Doubling()
    KeptTasks(folder, "doubling", [made(1, 2)]).run(act)
    KeptTasks(folder, "doubling", [made(1, 2, 3)]).run(act)
    assert act.done == [1, 2, 3]
    KeptTasks(folder, "doubling", [made(1, factor=3)]).run(act)
    assert act.done == [1, 2, 3, 1]
    (damaged,) = made(2)
    (folder / f"results/{damaged.digest[:2]}/{damaged.digest}.npz").write_bytes(b"PK")
    kept = KeptTasks(folder, "doubling", [made(1, 2, 3)])
    assert (kept.there, kept.outcome(damaged)) == (2, None)
    kept.run(act)
    assert act.done == [1, 2, 3, 1, 2]
    KeptTasks(folder, "doubling", [made(3)], fresh=True).run(act)
    assert act.done[-1] == 3
    assert KeptTasks(folder, "doubling", [made(1, 2, 3)]).there == 3


def test_large_arrays_come_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_LARGEST", 20)
    arrays = {
        "long": np.arange(70).reshape(10, 7),
        "wide": np.arange(80.0).reshape(2, 40),
        "small": np.arange(3, dtype=np.uint8),
        "none": np.empty((0, 4)),
    }
    (task,) = made(1)
    kept = KeptTasks(tmp_path, "doubling", [[task]])
    kept.run(lambda _: iter([TaskOutcome(arrays)]))
    back = kept.outcome(task).arrays
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_digests_are_of_shape_type_and_numbers():
    x = np.arange(6.0)
    others = [x.reshape(2, 3), x.astype(np.float32), x + 1e-12, x[::-1]]
    assert len({array_digest(a) for a in (x, *others)}) == 5
    assert array_digest(x) == array_digest(np.arange(12.0)[::2] / 2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "t").write_text("a file")
    with pytest.raises(RecordingError, match=r"must be kept in .*/t; it cannot be written"):
        KeptTasks(tmp_path / "t", "doubling", [made(1)])
