"""A session file with values changed: those, and not one letter more."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config import presets
from evolver.config.edited import with_values
from evolver.config.tables import commented_session_file
from evolver.errors import ConfigError
from tests.soak import examples

PLACE = {"position_deg": "[1.3, -0.7]", "size_deg": "4.5", "mapped": "2026-11-29"}
FILE = """# my session   # twice
[session]
name = "a [presentation] # name"

[presentation]   # how
on_ms = 100
size_deg=3.0  # of 'IT-12', by hand
# position_deg = [9, 9]
position_deg = [
    0.0,
    1.0,
]   # up

[[threads]]
name = "x"
"""


def test_values_comments_and_all_else_stay():
    changed = with_values(FILE, "presentation", PLACE)
    assert changed == FILE.replace("=3.0  #", "=4.5  #").replace(
        "[\n    0.0,\n    1.0,\n]   # up", "[1.3, -0.7]   # up\nmapped = 2026-11-29"
    )
    assert with_values(changed, "presentation", PLACE) == changed


def test_the_file_that_new_ones_begin_with():
    text = commented_session_file(presets.new_session())
    changed = with_values(text, "presentation", PLACE)
    before, after = text.splitlines(), changed.splitlines()
    assert len(set(before) - set(after)) <= 3
    assert [line for line in before if line.startswith("#")] == [
        line for line in after if line.startswith("#") or line not in after
    ]
    assert tomllib.loads(changed)["presentation"]["position_deg"] == [1.3, -0.7]
    assert after[after.index("# mapped =") + 1] == "mapped = 2026-11-29"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_and_a_table_at_the_end(end, last):
    text = end.join(["[a]", "b = 1", "[presentation]", "on_ms = 1"]) + (end if last else "")
    changed = with_values(text, "presentation", {"size_deg": "2"})
    assert changed == end.join([
        "[a]",
        "b = 1",
        "[presentation]",
        "on_ms = 1",
        "size_deg = 2",
        "",
    ])


@pytest.mark.parametrize(
    "text",
    [
        "presentation = { on_ms = 1, size_deg = 2 }\n",
        "presentation.on_ms = 1\npresentation.size_deg = 2\n",
        "[session]\nname = 'a'\n",
        # What looks like the table is a part of a text.
        "[session]\nname = '''\n[presentation]\nsize_deg = 1\n'''\n",
        "[presentation]\nsize_deg = '''\n[x]\n'''\n",
    ],
)
def test_what_is_written_otherwise_is_left_alone_and_the_lines_are_said(text):
    with pytest.raises(ConfigError, match="was left as it is") as said:
        with_values(text, "presentation", PLACE)
    assert "position_deg = [1.3, -0.7]\nsize_deg = 4.5\nmapped = 2026-11-29" in str(said.value)


def test_no_toml_is_refused():
    with pytest.raises(ConfigError, match=r"next\.toml is not valid TOML"):
        with_values("[presentation", "presentation", PLACE, source="next.toml")


text_values = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@examples(0.4)
@given(
    values=st.dictionaries(
        st.sampled_from(["on_ms", "size_deg", "position_deg", "mapped", "b"]),
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.lists(st.integers(0, 9)).map(lambda v: "[\n" + ",\n".join(map(str, v)) + "]"),
            text_values.map(
                lambda t: '"' + "".join(f"\\u{ord(c):04x}" for c in t if ord(c) < 0xD800) + '"'
            ),
            st.sampled_from(["'[#'", '"]"', '"a\\"#["', "[['[']]"]),
        ),
    ),
    comment=st.sampled_from(["", "  # a [comment] with ' in it", "# x"]),
)
def test_of_any_table_the_rest_reads_as_before(values, comment):
    lines = [f"{key} = {value}{comment}" for key, value in values.items()]
    text = "\n".join(["[a]", "size_deg = 9", "[presentation]", *lines, "[z]", "mapped = 3", ""])
    changed = with_values(text, "presentation", PLACE)
    before, after = tomllib.loads(text), tomllib.loads(changed)
    wanted = tomllib.loads("\n".join(f"{k} = {v}" for k, v in PLACE.items()))
    assert after == {**before, "presentation": {**before["presentation"], **wanted}}
    kept = [line for key, line in zip(values, lines, strict=True) if key not in PLACE]
    assert all(line in changed for line in kept)


def test_a_value_over_lines_with_comments_in_it_is_left_to_a_person():
    text = "[presentation]\nposition_deg = [\n  0.0, # right\n  1.0, # up\n]\n"
    with pytest.raises(ConfigError, match="Write into it"):
        with_values(text, "presentation", {"position_deg": "[1, 2]"})
    bare = text.replace(" # right", "").replace(" # up", "")
    assert "position_deg = [1, 2]" in with_values(
        bare, "presentation", {"position_deg": "[1, 2]"}
    )
