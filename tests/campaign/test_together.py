"""Tasks that advance together: each is what it is by itself."""

from __future__ import annotations

import asyncio
import os

import msgspec
import numpy as np
import pytest
import torch

import scorers
from evolver import generators
from evolver.campaign import task as task_module
from evolver.campaign.evolution import TaskEvolution
from evolver.campaign.fast_drives import FastNetworks
from evolver.campaign.members import Member, companies, searches_apart
from evolver.campaign.plan import read_campaign
from evolver.campaign.run import SessionWork, TaskEnd, run_plan
from evolver.campaign.shared import Shared
from evolver.campaign.store import Store
from evolver.campaign.task import WeightDigests, run_task
from evolver.campaign.together import kept_memory, run_together, waves_of
from evolver.campaign.wave import Together, Waves
from evolver.errors import OrderError
from evolver.setup import spectra
from evolver.setup.build import build_parts
from evolver.setup.simulated_rig import build_population
from tests.campaign.files import CAMPAIGN, SESSION, write
from tests.children import evolver

VARIED = """
[campaign]
name = "mixed"
session = "session.toml"
[[vary]]
name = "what"
keys = {keys}
values = {values}
labels = {labels}
"""
MIXED = (
    VARIED
    + """
[[vary]]
key = "simulation.units"
values = [["mini:conv3:1"], ["mini:conv2:0", "mini:fc5:2"]]
"""
)
TWO_THREADS = SESSION.replace(
    "[references]",
    '[[threads]]\nname = "object"\ngenerator = "mini-object"\npopsize = 5\n'
    'optimizer = "sphere"\n[references]',
)
KEYS = [
    "simulation.abort_rate",
    "presentation.repeats",
    "presentation.schedule",
    "simulation.spikes",
    "simulation.view_deg",
    "fitness.normalise",
    "simulation.units",
]
MANY, FEW = ["mini:conv2:0", "mini:fc5:2"], ["mini:conv3:1"]
VALUES = [
    [0.3, 2, "alternate", "poisson", 8.0, "none", MANY],
    [0.0, 1, "together", "none", 4.0, "none", FEW],
    [0.1, 1, "references", "poisson", 6.0, "references", MANY],
]
QUIET = 'spikes = "none"\nabort_rate = 0.0\n'


def plan_of(folder, campaign, session=SESSION, tag=""):
    return read_campaign(write(folder, campaign, session), weights=WeightDigests(tag))


def tasks_of(plan):
    return [(task.digest, plan.config(task)) for task in plan.tasks]


def same(one, other):
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(values, other.arrays[name], err_msg=name)
    assert msgspec.structs.replace(one.meta, seconds=0) == msgspec.structs.replace(
        other.meta, seconds=0
    )


def test_a_session_together_with_others_is_the_session_by_itself_bit_for_bit(tmp_path):
    """Aborted showings, repeats, schedules, noise, a view, learnt scores, two threads."""
    text = VARIED.format(keys=KEYS, values=VALUES, labels=["aborted", "quiet", "learnt"])
    plan = plan_of(tmp_path, text, TWO_THREADS)
    store = Store(tmp_path / "out", make=True)
    ends = Waves(Together("session", images=9)).run(tasks_of(plan), store)
    assert ends == {task.digest: "" for task in plan.tasks}
    for task in plan.tasks:
        same(store.result(task.digest), run_task(plan.config(task), task.digest))


SETS = """
[[sets]]
name = "codes"
generator = "mini-object"
count = 3
repeats = 2
[[sets]]
name = "grid"
images = "builtin"
count = 2
"""
GRID = "[sets.grid]\ncolumns = 2\nspan_deg = [3.0, 1.0]\nsizes_deg = [1.0, 2.5]\n"


def test_sets_and_their_places_are_those_of_a_session_by_itself(tmp_path):
    session = SESSION.replace("units =", "view_deg = 6.0\nunits =") + SETS + GRID
    text = VARIED.format(keys=["session.seed"], values=[1], labels=["one"])
    plan = plan_of(tmp_path, text, session)
    assert "set codes" in WeightDigests()(plan.config(plan.tasks[0]))
    store = Store(tmp_path / "out", make=True)
    ends = Waves(Together("session", images=9)).run(tasks_of(plan), store)
    assert ends == {task.digest: "" for task in plan.tasks}
    for task in plan.tasks:
        same(store.result(task.digest), run_task(plan.config(task), task.digest))
    # In fast passes sets are drawn and seen as by a session; without a view nothing has places.
    blind = tmp_path / "blind"
    blind.mkdir()
    plan = plan_of(blind, text, SESSION + SETS)
    waves, store = Waves(Together("fast")), Store(blind / "out", make=True)
    assert set(waves.run(tasks_of(plan), store).values()) == {""}
    assert all("a set's images" in " ".join(why) for why in waves.apart.values())
    assert {store.result(t.digest).meta.threads[1:] for t in plan.tasks} == {("codes", "grid")}
    plan = plan_of(blind, text, SESSION + SETS + GRID)
    (why, *_) = Waves(Together("session")).run(tasks_of(plan), store).values()
    assert why.startswith("ConfigError: simulation.view_deg: must say")


def test_fast_passes_in_float64_are_a_plain_loop_in_float64(tmp_path):
    session = SESSION.replace("generations = 2", "generations = 5") + QUIET
    text = MIXED.format(keys=["session.seed"], values=[1], labels=["one"])
    plan = plan_of(tmp_path, text, session)
    store = Store(tmp_path / "out", make=True)
    networks = FastNetworks(dtype=torch.float64)
    ends = Waves(Together("fast", images=9), networks=networks).run(tasks_of(plan), store)
    assert set(ends.values()) == {""}
    for task in plan.tasks:
        mean, best = plain_loop(plan.config(task))
        result = store.result(task.digest)
        np.testing.assert_allclose(result.arrays["mean-0"], mean, rtol=1e-5)
        np.testing.assert_allclose(result.arrays["best-0"], best, rtol=1e-5)


def plain_loop(config):
    """Render, score and step one evolution, with networks in float64."""
    generator = generators.load(config.threads[0].generator)
    generator.convert(torch.float64)
    scorer = scorers.load(list(config.simulation.units))
    scorer.networks["mini"].convert(torch.float64)
    neurons = build_population(config).neurons
    (optimizer,) = build_parts(config).optimizers
    mean, best = [], []
    for _ in range(config.session.generations):
        codes = optimizer.ask()
        images = generator.synthesize(torch.as_tensor(codes)).mul(255).round().div(255)
        rates = neurons.expected_rates(
            scorer.responses(images).numpy(),
            config.fitness.response_ms,
            on_ms=config.presentation.on_ms,
        )
        optimizer.tell(codes, rates[:, 0])
        mean.append(rates[:, 0].mean())
        best.append(rates[:, 0].max())
    return mean, best


@pytest.mark.soak
def test_fast_passes_in_float32_begin_as_the_session_and_have_digests_of_their_own(tmp_path):
    """From the first generation's codes, the same but for rounding: grey levels that flip."""
    session = SESSION + QUIET
    text = MIXED.format(keys=["session.seed"], values=[1], labels=["one"])
    tag = Together("fast").tag
    plan, usual = plan_of(tmp_path, text, session, tag), plan_of(tmp_path, text, session)
    assert not {t.digest for t in plan.tasks} & {t.digest for t in usual.tasks}
    assert Together("session").tag == ""
    store = Store(tmp_path / "out", make=True)
    ends = run_together(plan, store, Together("fast", tasks=2), workers=2)
    assert {end.digest: end.failed for end in ends} == {t.digest: "" for t in plan.tasks}
    for fast, slow in zip(plan.tasks, usual.tasks, strict=True):
        one, other = store.result(fast.digest), run_task(usual.config(slow), slow.digest)
        assert one.meta.presentations == other.meta.presentations
        for name in ("mean-0", "sem-0", "best-0"):
            np.testing.assert_allclose(one.arrays[name][0], other.arrays[name][0], rtol=2e-3)
        np.testing.assert_array_equal(one.arrays["references-0"], other.arrays["references-0"])


def test_a_task_that_fails_costs_the_others_nothing(tmp_path):
    """In its parts, in its first block, and in a pass of everybody's images."""
    text = CAMPAIGN.format(last=2)
    text += '[[vary]]\nname = "what"\nkeys = ["references.source", "fitness.units", '
    text += '"simulation.abort_rate", "fitness.missing"]\n'
    text += 'values = [["builtin", [0], 0.0, "reshow"], ["nowhere", [0], 0.0, "reshow"], '
    text += '["builtin", [7], 0.0, "reshow"], ["builtin", [0], 0.95, "fail"]]\n'
    text += 'labels = ["good", "no references", "no unit", "aborted"]\n'
    plan = plan_of(tmp_path, text)
    store = Store(tmp_path / "out", make=True)
    ends = Waves(Together("fast")).run(tasks_of(plan), store)
    for task in plan.tasks:
        said = {
            "good": "",
            "no references": "nowhere",
            "no unit": "units",
            "aborted": "aborted",
        }
        level = task.levels["what"]
        assert said[level] in ends[task.digest]
        assert bool(ends[task.digest]) == (level != "good")
        assert (task.digest in store.done()) == (level == "good")
        assert (task.digest in store.failed()) == (level != "good")


@pytest.mark.parametrize("raised", [SystemExit(), asyncio.CancelledError()])
def test_what_would_end_the_program_ends_a_task_and_no_others(tmp_path, monkeypatch, raised):
    plan = plan_of(tmp_path, CAMPAIGN.format(last=2))
    store = Store(tmp_path / "out", make=True)
    bad, good = plan.tasks
    advance = TaskEvolution.advance

    def ending(self, *args):
        if self.digest == bad.digest:
            raise raised
        advance(self, *args)

    monkeypatch.setattr(TaskEvolution, "advance", ending)
    ends = Waves(Together("session")).run(tasks_of(plan), store)
    assert ends == {bad.digest: type(raised).__name__, good.digest: ""}
    assert store.failed().keys() == {bad.digest}

    def alone(*_, **__):
        raise raised

    monkeypatch.setattr(task_module, "run_task", alone)
    (end,) = SessionWork(plan.config(bad), bad.digest).run((bad.digest,), store)
    assert end == TaskEnd(bad.digest, type(raised).__name__)


SEARCHES = ["cholesky", "sep", "snes", "sphere", "rank-sphere", "random", "genetic"]


@pytest.mark.parametrize("axes", ["", 'axes = { source = "first-layer", k = 9 }\n'])
def test_a_population_of_a_batch_is_the_search_by_itself_whatever_is_lost(
    axes, tmp_path, monkeypatch
):
    """A base is shown and not learnt from; of codes whose showings were lost nothing is."""
    monkeypatch.setattr(spectra, "user_cache_path", lambda name: tmp_path / name)
    text = CAMPAIGN.format(last=3)
    text += f'[[vary]]\nkey = "threads.texture.optimizer"\nvalues = {SEARCHES}\n'
    plan = plan_of(tmp_path, text, SESSION.replace("popsize = 4\n", f"popsize = 4\n{axes}"))
    configs, shared = [plan.config(task) for task in plan.tasks], Shared()
    parts = [shared.parts(config) for config in configs]
    batched = [optimizer for (optimizer,) in companies(configs, parts, device="cpu")]
    names = [task.levels["optimizer"] for task in plan.tasks]
    for name, one, config in zip(names, batched, configs, strict=True):
        assert isinstance(one, Member) == (name != "genetic")
        whys = searches_apart(config, [one])
        assert ("keeps all codes" in "".join(whys)) == (name == "genetic")
    alone = [shared.parts(config).optimizers[0] for config in configs]
    lost = np.random.default_rng(3)
    for generation in range(6):
        asked = [(one.ask(), other.ask()) for one, other in zip(batched, alone, strict=True)]
        for one, other, (codes, own) in zip(batched, alone, asked, strict=True):
            np.testing.assert_allclose(codes, own, rtol=1e-9, atol=1e-9)
            n = 2 if generation == 4 else int(lost.integers(2, len(own) + 1))
            rows = lost.permutation(len(own))[:n]
            one.tell(codes[rows], own[rows, 0])
            other.tell(own[rows], own[rows, 0])


def test_populations_of_a_batch_take_turns_and_go_on_without_who_leaves(tmp_path):
    plan = plan_of(tmp_path, CAMPAIGN.format(last=2))
    configs, shared = [plan.config(task) for task in plan.tasks], Shared()
    parts = [shared.parts(config) for config in configs]
    (one,), (other,) = companies(configs, parts, device="cpu")
    codes = one.ask()
    with pytest.raises(OrderError, match="turns"):
        one.ask()
    one.tell(codes, codes[:, 0])
    with pytest.raises(OrderError, match="turns"):
        one.tell(codes, codes[:, 0])
    assert not one.may_ask
    assert other.may_ask
    with pytest.raises(OrderError, match="a step ahead"):
        one.ask()
    other.leave()
    assert one.may_ask
    assert one.ask().shape == codes.shape


USUAL = """
[[vary]]
name = "what"
keys = ["fitness.normalise", "simulation.abort_rate"]
values = [["none", 0.02], ["references", 0.6]]
labels = ["usual", "learnt"]
"""


@pytest.mark.soak
def test_noise_and_aborted_showings_are_a_sessions_in_fast_passes_too(tmp_path):
    """What is broken off is shown again; tasks wait for those a block behind."""
    session = SESSION.replace("generations = 2", "generations = 4")
    plan = plan_of(tmp_path, CAMPAIGN.format(last=2) + USUAL, session, Together("fast").tag)
    store = Store(tmp_path / "out", make=True)
    waves = Waves(Together("fast"))
    assert set(waves.run(tasks_of(plan), store).values()) == {""}
    assert waves.apart == {}
    for task in plan.tasks:
        one, other = store.result(task.digest), run_task(plan.config(task), task.digest)
        assert one.meta.presentations == other.meta.presentations
        np.testing.assert_array_equal(one.arrays["references-0"], other.arrays["references-0"])
        np.testing.assert_allclose(
            one.arrays["mean-0"][0], other.arrays["mean-0"][0], rtol=0.02
        )


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 96, 256])
def test_waves_have_every_task_once_and_get_shorter_towards_the_end(n, workers):
    waves = waves_of(range(n), workers=workers, most=32)
    sizes = [len(wave) for wave in waves]
    assert [task for wave in waves for task in wave] == list(range(n))
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes, default=0) <= 32
    if workers > 1 and n > 2 * workers:  # no process has all others wait for its last wave
        assert sizes[-workers:] == [1] * workers
    if workers == 1:
        assert len(sizes) == -(-n // 32)


def test_processes_are_told_to_keep_memory_and_nobody_after_them(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    with kept_memory():
        assert os.environ["MALLOC_MMAP_MAX_"] == "0"
        assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"  # the user's own
    assert "MALLOC_MMAP_MAX_" not in os.environ
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"


def test_the_command_runs_what_is_not_done_and_refuses_what_cannot_be(tmp_path):
    out = tmp_path / "out"
    store = Store(out, make=True)
    run_plan(plan_of(tmp_path, CAMPAIGN.format(last=1)), store, workers=1)
    plan = plan_of(tmp_path, CAMPAIGN.format(last=3))
    file = tmp_path / "campaign.toml"
    first = store.path(plan.tasks[0].digest).stat().st_mtime_ns
    said = evolver("campaign", "run", file, "--out", out, "--together", "session")
    assert "every task is done" in said
    assert store.done() == {task.digest for task in plan.tasks}
    assert store.path(plan.tasks[0].digest).stat().st_mtime_ns == first
    session = SESSION.replace("units =", "view_deg = 8.0\nunits =")
    far = write(tmp_path, CAMPAIGN.format(last=2), session)
    said = evolver("campaign", "run", far, "--out", tmp_path / "far", "--together", "fast")
    assert "2 tasks could not be batched with the others: with simulation.view_deg" in said
    refused = evolver(
        "campaign", "run", file, "--together", "fast", "--keep-recordings", expect=2
    )
    assert "no recordings" in refused
