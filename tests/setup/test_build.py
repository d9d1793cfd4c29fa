"""One assembly: each optimizer is made once, and says itself how many images it wants."""

import re

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from evolver import config, optimizers
from evolver.cli import app
from evolver.config.axes_table import AxesTable
from evolver.errors import ConfigError, WeightsError
from evolver.journal.writer import JournalWriter, read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.optimizers import CholeskyCMA, by_name
from evolver.setup.build import build_parts
from tests.live.sessions import small, write

MADE = []


def counted(d, *, rng, popsize=None, initial=None, sigma=3.0):
    """Make an optimizer, and count it."""
    MADE.append(d)
    return CholeskyCMA(d, rng=rng, popsize=popsize, initial=initial, sigma=sigma)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    find = by_name.find_optimizer
    monkeypatch.setattr(
        "evolver.optimizers.by_name.find_optimizer",
        lambda n: counted if n == "counted" else find(n),
    )
    monkeypatch.setattr(
        "evolver.optimizers.find", lambda n: counted if n == "counted" else find(n)
    )
    MADE.clear()
    plain = small(tmp_path / "out", session={"generations": 2}, references={"count": 2})
    threads = tuple(msgspec.structs.replace(t, optimizer="counted") for t in plain.threads)
    return msgspec.structs.replace(plain, threads=threads)


def one_thread(name):
    """Return a session with one thread of an optimizer that has a population of its own."""
    thread = config.ThreadTable("t", "mini-texture", optimizer=name)
    return config.Config(
        session=config.SessionTable("s"),
        presentation=config.PresentationTable(on_ms=100.0, off_ms=50.0, repeats=2),
        threads=(thread,),
        references=config.ReferencesTable(count=3),
        rig=config.RigTable(endpoint="tcp://127.0.0.1:*"),
    )


def test_each_optimizer_is_made_once_by_a_check_a_session_and_a_resume(settings, tmp_path):
    file = write(settings, tmp_path / "s.toml")
    checked = CliRunner().invoke(app.app, ["config", "check", str(file)])
    assert checked.exit_code == 0, checked.output
    assert len(MADE) == 2
    MADE.clear()
    ended = run_simulated(settings, config.commented_session_file(settings))
    assert len(MADE) == 2
    MADE.clear()
    records = [record for _, record in read_journal(ended.folder / "journal")]
    with JournalWriter(tmp_path / "cut" / "journal") as journal:
        for record in records[: len(records) // 2]:
            journal.append(record)
    resume_simulated(tmp_path / "cut")
    assert len(MADE) == 2


def test_the_population_is_what_the_optimizer_says():
    parts = build_parts(one_thread("genetic"))
    (optimizer,) = parts.optimizers
    first = optimizer.ask()  # it begins with as many as it was given
    optimizer.tell(first, np.arange(float(len(first))))
    assert parts.popsizes == (len(optimizer.ask()),)
    assert parts.popsizes[0] > optimizers.default_popsize(optimizer.d)
    assert parts.presentations == 2 * (parts.popsizes[0] + 3)


def test_presentations_are_those_of_a_block_that_has_everything(tmp_path):
    parts = build_parts(small(tmp_path, presentation={"schedule": "together", "repeats": 3}))
    expected = parts.presentations
    block = parts.session(["a", "b"]).propose()
    assert len(block.presentations) == expected == 3 * (6 + 5 + 4)


def test_a_unit_that_the_rig_does_not_have_is_named_with_its_key(tmp_path):
    parts = build_parts(small(tmp_path, fitness={"units": (2,)}))
    with pytest.raises(ConfigError, match=r"fitness\.units\[0\]: must be 0 to 1"):
        parts.session(["a", "b"])


def test_the_first_codes_are_those_of_named_streams(tmp_path):
    """What a seed gives may never change: recordings say which it was."""
    parts = build_parts(small(tmp_path))
    codes = np.concatenate([optimizer.ask()[:2, :3].ravel() for optimizer in parts.optimizers])
    np.testing.assert_allclose(codes, FIRST_CODES, atol=1e-8)


FIRST_CODES = [
    -0.27974614, 0.12526525, 2.58533476, -0.93037002, 2.19449918, 1.09083179,
    0.57177734, 0.11010742, 1.11425781, -0.23291016, 0.58691406, 1.5625,
]  # fmt: skip


def thread_of(**changes):
    """Return the optimizer that a session file with one thread builds."""
    settings = config.Config(
        session=config.SessionTable("s", seed=1, generations=17),
        presentation=config.PresentationTable(on_ms=100.0, off_ms=50.0),
        threads=(config.ThreadTable("t", "mini-object", **changes),),
    )
    settings = config.parse_session_file(config.commented_session_file(settings))
    (optimizer,) = build_parts(settings).optimizers
    return optimizer


class TestThreads:
    def test_a_schedule_is_over_the_sessions_generations(self):
        assert thread_of(optimizer="sphere").state.planned == 17
        own = {"generations": 5}
        assert thread_of(optimizer="sphere", optimizer_options=own).state.planned == 5

    @pytest.mark.parametrize(
        ("key", "option"),
        [
            ("generator_options", "device"),
            ("generator_options", "weights"),
            ("optimizer_options", "popsize"),
            ("optimizer_options", "rng"),
        ],
    )
    def test_options_that_the_thread_has_keys_for_are_refused(self, key, option):
        with pytest.raises(ConfigError, match=rf"'t'.*{key} must not have {option}"):
            thread_of(**{key: {option: "cpu"}})

    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ({"optimizer_options": {"d": 100}}, "optimizer_options"),
            ({"optimizer_options": {"name": 100}}, "optimizer_options"),
            ({"generator_options": {"name": 100}}, "generator_options"),
            ({"generator_options": {"entry": [1, 2]}}, "generator_options"),
            (
                {"optimizer": "sphere", "optimizer_options": {"schedule": [1]}},
                "optimizer_options",
            ),
            ({"optimizer_options": {"sigma": "big"}}, "optimizer_options.sigma"),
            ({"optimizer_options": {"sigma": 1e300}}, "optimizer_options.sigma"),
            ({"initial": "sphere:1e300"}, "initial"),
            ({"initial": "normal:1e300"}, "initial"),
        ],
    )
    def test_what_no_factory_can_use_is_a_mistake_at_its_key(self, table, key):
        with pytest.raises(ConfigError, match=rf"^threads\[0\]\.{re.escape(key)} \('t'\): "):
            thread_of(**table)

    def test_mistakes_of_one_optimizers_options_are_said_together(self):
        with pytest.raises(ConfigError) as caught:
            thread_of(
                optimizer="snes", optimizer_options={"eta_sigma": -1, "etc": 1, "sigma": "big"}
            )
        _, *lines = str(caught.value).splitlines()
        assert sorted(line.split(": ")[0].strip() for line in lines) == [
            "threads[0].optimizer_options ('t')",
            "threads[0].optimizer_options.eta_sigma ('t')",
            "threads[0].optimizer_options.sigma ('t')",
        ]

    def test_of_an_optimizer_that_nobody_named_an_unknown_option_says_who_chose_it(
        self, tmp_path
    ):
        def build(**named):
            table = config.ThreadTable(
                "t", "mini-texture", optimizer_options={"update_every": 2}, **named
            )
            return build_parts(msgspec.structs.replace(small(tmp_path), threads=(table,)))

        with pytest.raises(ConfigError, match=r"got update_every\. .*its name$"):
            build(optimizer="snes")
        with pytest.raises(ConfigError, match=r"got update_every\. ") as caught:
            build()
        assert str(caught.value).endswith(
            ", or correct its name. The file names no optimizer, and snes is chosen for "
            "mini-texture: to use update_every, name one that has it"
        )

    def test_what_is_wrong_with_one_option_along_axes_is_one_mistake(self):
        with pytest.raises(ConfigError) as caught:
            thread_of(
                optimizer="guided",
                axes=AxesTable("metric", k=4),
                optimizer_options={"model": "tests.optimizers.test_guided:Ordinary"},
            )
        (line,) = str(caught.value).splitlines()
        assert line.startswith("threads[0].optimizer_options.model ('t'): model 'tests.")
        assert "random codes, (60, 4), it fails" in line

    def test_mistakes_of_threads_and_references_are_said_together(self, tmp_path):
        settings = small(tmp_path, references={"source": str(tmp_path / "none")})
        threads = (
            config.ThreadTable("a", "mini-objec"),
            config.ThreadTable("b", "mini-object", optimizer_options={"sigma": -1.0}),
        )
        with pytest.raises(ConfigError) as caught:
            build_parts(msgspec.structs.replace(settings, threads=threads))
        first, *lines = str(caught.value).splitlines()
        assert first == "the session file has 3 mistakes:"
        assert [line.split(": ")[0].strip() for line in lines] == [
            "threads[0].generator ('a')",
            "threads[1].optimizer_options.sigma ('b')",
            "references.source",
        ]

    def test_units_that_the_rig_lacks_are_said_together(self, tmp_path):
        parts = build_parts(small(tmp_path, fitness={"units": (2, 0, "c")}))
        with pytest.raises(ConfigError) as caught:
            parts.session(["a", "b"])
        keys = [line.split(": ")[0].strip() for line in str(caught.value).splitlines()[1:]]
        assert keys == ["fitness.units[0]", "fitness.units[2]"]

    def test_weights_that_are_not_there_name_the_thread(self, tmp_path):
        with pytest.raises(WeightsError, match=r"threads\[0\]\.weights \('t'\)"):
            thread_of(weights=str(tmp_path / "none.safetensors"))

    def test_a_search_without_adaptation_can_be_said_in_toml(self):
        assert thread_of(optimizer_options={"update_every": 0}).state.update_every == 0

    def test_it_starts_where_the_file_says(self, tmp_path):
        shell = thread_of(initial="shell:7.5").ask()
        np.testing.assert_allclose(np.linalg.norm(shell, axis=1), 7.5)
        np.testing.assert_array_equal(thread_of(initial="zeros").state.mean, np.zeros(128))
        code = np.linspace(-1, 1, 128)
        np.savez(tmp_path / "one.npz", code[None])
        start = thread_of(initial=f"file:{tmp_path / 'one.npz'}").state.mean
        np.testing.assert_array_equal(start, code)

    @pytest.mark.parametrize(
        ("initial", "said"),
        [
            ("nowhere", "must be 'generator', 'zeros'"),
            ("shell:", "a number must follow 'shell'"),
            ("file:/does/not/exist.npz", "exist.npz"),
        ],
    )
    def test_a_start_that_does_not_exist_is_named_with_its_thread(self, initial, said):
        with pytest.raises(
            ConfigError, match=rf"threads\[0\]\.initial \('t'\).*{re.escape(said)}"
        ):
            thread_of(initial=initial)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"basis": "foo"}, "basis must be one of none, rotation, scaled; got 'foo'"),
        ({"basis": "scaled"}, "must come with a metric.*none is given"),
        ({"basis": "scaled", "metric": "foo"}, "must name an npz file; there is none at foo"),
    ],
)
def test_what_is_wrong_with_a_climbs_basis_is_said_in_its_own_words(options, said):
    plain = one_thread("adam")
    thread = msgspec.structs.replace(plain.threads[0], optimizer_options=options)
    with pytest.raises(ConfigError, match=said):
        build_parts(msgspec.structs.replace(plain, threads=(thread,)))
