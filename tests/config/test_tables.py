"""Session files: what is accepted, what is refused, and in which words."""

import string
import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config import tables as config
from evolver.errors import ConfigError
from tests.soak import examples

LEAST = """
[session]
name = "monday"
[presentation]
on_ms = 100
off_ms = 150
[[threads]]
name = "texture"
generator = "mini-texture"
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse_session_file(text)
    head, *lines = str(caught.value).splitlines()
    assert head == (
        "the session file has 1 mistake:"
        if len(lines) == 1
        else f"the session file has {len(lines)} mistakes:"
    )
    return [line.strip() for line in lines]


def test_the_least_file_has_sane_defaults():
    c = config.parse_session_file(LEAST)
    assert c.session.seed == 1
    assert c.presentation.on_ms == 100.0
    assert c.threads[0].optimizer == "snes"  # by its generator
    assert c.fitness.response_ms == (50.0, 200.0)
    assert c.fitness_of(0) is c.fitness
    assert c.rig.endpoint == "tcp://127.0.0.1:5571"


def test_a_threads_own_fitness_replaces_the_sessions():
    c = config.parse_session_file(LEAST + '[threads.fitness]\nunits = ["ch20"]\n')
    assert c.fitness_of(0).units == ("ch20",)
    assert c.fitness.units == (0,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('name = "monday"', "session.name: is missing; must be a text"),
        ("on_ms = 100", "presentation.on_ms: is missing; must be a number above 0"),
        ('generator = "mini-texture"', "threads[0].generator: is missing; must be a text"),
    ],
)
def test_a_missing_key_is_named(change, said):
    assert mistakes(LEAST.replace(change, ""))[0].startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[session]\nsead = 3", "session.sead: is not a key here (did you mean seed?)"),
        ("[sesion]", "sesion: is not a key here (did you mean session?)"),
        ("[fitness]\nmissing = 'skip'", "one of 'drop', 'fail', 'reshow'; found 'skip'"),
        ("[fitness]\nunits = []", "fitness.units: must be a list of at least 1"),
        ("[fitness]\nunits = [-1]", "an index must be at least 0; found -1"),
        ("[fitness]\nunits = [3, 3]", "must name each unit once; found [3, 3]"),
        ("[fitness]\nunits = [true]", "fitness.units: must be a list of"),
        ("[fitness]\nweights = [1.0, 2.0]", "must have one number a unit, 1; found 2"),
        ("[fitness]\nweights = [0.0]", "must not all be 0"),
        ("[fitness]\nresponse_ms = [200, 50]", "must start before it ends"),
        ("[fitness]\nresponse_ms = [50, 900]", "must lie inside rig.window_ms"),
        ("[fitness]\nbaseline_ms = [-500, 0]", "must lie inside rig.window_ms"),
        ("[fitness]\nkind = 'rates'", "one of 'contrast', 'late-early', 'rate', 'target'"),
        ("[fitness]\nkind = 'target'", "fitness.target: is missing; kind = 'target' needs"),
        ("[fitness]\nkind = 'target'\ntarget = 'best'", "at least 2 units; found 1"),
        ("[fitness]\nkind = 'target'\ntarget = ''", "fitness.target: must be a text"),
        ("[fitness]\nkind = 'contrast'", "fitness.others: is missing"),
        (
            "[fitness]\nkind = 'contrast'\nunits = [1]\nothers = [2, 1]",
            "fitness.others: must be other units than units; found [1]",
        ),
        ("[fitness]\nkind = 'contrast'\nothers = [2, 2]", "fitness.others: must name each"),
        ("[fitness]\nkind = 'late-early'\nlate_ms = [9, 9]", "fitness.late_ms: must start"),
        ("[fitness]\nkind = 'late-early'\nearly_ms = [-500, 0]", "must lie inside rig."),
        (
            "[references]\ncount = 0\n[fitness]\nnormalise = 'references'",
            "fitness.normalise: must not need references where references.count is 0",
        ),
        (
            "[references]\ncount = 0\n[fitness]\nkind = 'target'\ntarget = 'reference:0'",
            "fitness.target: must not need references where references.count is 0",
        ),
        ("[rig]\nendpoint = 'udp://x:1'", "must be a text: tcp://ADDRESS:PORT"),
        ("[rig]\nwindow_ms = [5, 5]", "rig.window_ms: must start before it ends"),
        ("[references]\ncount = 2.5", "must be a whole number at least 0 and at most 500"),
        ("[simulation]\nspeed = nan", "simulation.speed: must be a number above 0; found nan"),
        ("[simulation]\nspeed = 0", "simulation.speed: must be a number above 0; found 0"),
        ("[simulation]\nunits = 'mini:fc6:0'", "simulation.units: must be a list"),
        ("rig = 3", "rig: must be a table; found 3"),
        ("threads = 3", "threads: must be"),
        (
            '[[threads]]\nname = "a"\ngenerator = "b"\naxes = "metric"',
            "axes: must be a table, as { source = \"metric\", k = 40 }; found 'metric' (",
        ),
        (
            '[[threads]]\nname = "a"\ngenerator = "b"\noptimizer_options = "sigma = 5"',
            "optimizer_options: must be a table, as { sigma = 5.0 }; found 'sigma = 5' (",
        ),
        ("[simulation]\nspeed = '8'", "found '8' (a text in quotes)"),
        ("[simulation]\nspeed = 'fast'", "found 'fast' (a text)"),
        ("[presentation]\non_ms = inf", "presentation.on_ms: must be a number above 0"),
        ("[presentation]\non_ms = true", "presentation.on_ms: must be a number above 0"),
        ("[presentation]\nposition_deg = [1]", "must be a list of 2"),
        ('[session]\nfolder = "a\\u0000b"', "session.folder: must be without NUL characters"),
        ('[rig]\nkeys = "a\\u0000b"', "rig.keys: must be without NUL characters"),
        (
            '[[threads]]\nname = "a"\ngenerator = "b"\ngenerator_options = {f = "\\u0000"}',
            "generator_options: must be without NUL characters",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(line, said):
    base = tomllib.loads(LEAST)
    for key, value in tomllib.loads(line).items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = base[key] | value if both_tables else value
    problems: list[str] = []
    config.collect(base, config.Config, "", problems)
    if not problems:
        problems = config._contradictions(msgspec.convert(base, config.Config))
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("late_ms = [1, 2]", "fitness.late_ms: must be left out with kind = 'rate', which"),
        ("target = 'best'", "does not use it; kind = 'target' does"),
        ("others = []", "does not use it; kind = 'contrast' does"),
        ("kind = 'target'\nweights = [1]", "kind = 'rate' or 'late-early' does"),
        ("kind = 'late-early'\nresponse_ms = [50.0, 200.0]", "fitness.response_ms: must be"),
        ("kind = 'late-early'\nbaseline_ms = [0, 9]", "'rate' or 'target' or 'contrast' does"),
        ("reference_blocks = 3", "it goes with normalise = 'references' or target = 'ref"),
    ],
)
@pytest.mark.parametrize("place", ["fitness", "threads.fitness"])
def test_a_key_that_the_kind_does_not_use_is_refused(lines, said, place):
    found = "\n".join(mistakes(f"{LEAST}[{place}]\n{lines}\n"))
    key = "fitness" if place == "fitness" else "threads[0].fitness"
    assert said.replace("fitness.", f"{key}.") in found


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "kind = 'late-early'",
        "kind = 'contrast'\nothers = [1]\nnormalise = 'references'\nreference_blocks = 5",
        "kind = 'target'\ntarget = 'reference:0'\nunits = [0, 1]\nminimise = true",
        "kind = 'target'\ntarget = 'x.npy'\ndistance = 'squared-error'",
    ],
)
def test_every_kind_survives_being_written_and_read(lines):
    c = config.parse_session_file(f"{LEAST}[fitness]\n{lines}\n")
    assert config.parse_session_file(config.commented_session_file(c)) == c


def test_every_mistake_is_named_at_once():
    text = LEAST.replace("100", "-1").replace('"monday"', '"a b"').replace("150", "'x'")
    assert [line.partition(":")[0] for line in mistakes(text)] == [
        "session.name",
        "presentation.on_ms",
        "presentation.off_ms",
    ]


def test_two_threads_must_not_share_a_name():
    twice = LEAST + '[[threads]]\nname = "texture"\ngenerator = "mini-object"\n'
    assert "must differ from every other thread's" in mistakes(twice)[0]


def test_speed_may_be_infinite():
    assert config.parse_session_file(
        LEAST + "[simulation]\nspeed = inf\n"
    ).simulation.speed == float("inf")


def test_not_toml_says_where():
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        config.parse_session_file("name = = 3")


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "session.toml").write_text(LEAST)
    with pytest.raises(ConfigError, match=r"did you mean session\.toml\?"):
        config.load_session_file(tmp_path / "sesion.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load_session_file(tmp_path / "x.toml")


def test_a_campaigns_file_is_told_from_a_session_file():
    with pytest.raises(ConfigError, match="must be a session file; it is a campaign's, which"):
        config.parse_session_file('[campaign]\nname = "a"\nsession = "session.toml"\n')


def test_a_mark_at_the_beginning_is_no_mistake(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + LEAST.encode())
    settings, text = config.load_session_file(tmp_path / "x.toml")
    assert text == LEAST
    assert settings == config.parse_session_file(LEAST)


def test_the_commented_file_reads_back_and_explains_every_key():
    c = config.Config(
        config.SessionTable("monday", seed=7),
        config.PresentationTable(83.5, 150),
        (
            config.ThreadTable("a", "mini-texture", optimizer_options={"sigma": 3.0}),
            config.ThreadTable("b", "mini-object", fitness=config.FitnessTable(("ch1",))),
        ),
        simulation=config.SimulationTable(speed=float("inf")),
    )
    text = config.commented_session_file(c)
    assert config.parse_session_file(text) == c
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if " =" in line and not line.startswith("#"):
            assert lines[i - 1].startswith("#"), f"no comment above {line!r}"
    for struct in (config.SessionTable, config.ThreadTable, config.SimulationTable):
        for name in struct.__struct_fields__:
            table = any(f"[{parent}.{name}]" in text for parent in ("threads", "simulation"))
            assert f"{name} =" in text or table


@examples(0.3)
@given(
    name=st.text(string.ascii_letters + string.digits, min_size=1, max_size=64),
    seed=st.integers(0, 2**63 - 1),
    on_ms=st.floats(1e-3, 10_000),
    source=st.text(min_size=1, max_size=20).filter(lambda s: not {"\0", "\x7f"} & set(s)),
    weights=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2).filter(any),
)
def test_every_valid_file_survives_being_written_and_read(name, seed, on_ms, source, weights):
    c = config.Config(
        config.SessionTable(name, seed=seed),
        config.PresentationTable(on_ms, 0.0),
        (config.ThreadTable(name, "mini-texture"),),
        fitness=config.FitnessTable((0, "ü"), tuple(weights)),
        references=config.ReferencesTable(source=source),
    )
    assert config.parse_session_file(config.commented_session_file(c)) == c
