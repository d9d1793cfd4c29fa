"""Numbers as people read them."""

from __future__ import annotations

import pytest

from evolver.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (123.4, "123"),
        (12.34, "12.3"),
        (0.1234, "0.12"),
        (0.0, "0"),
        (-0.001, "0"),
        (-5.0, "\N{MINUS SIGN}5.0"),
        (float("nan"), "\N{EN DASH}"),
        (float("inf"), "\N{EN DASH}"),
    ],
)
def test_numbers_have_about_three_digits(value, text):
    assert words.number(value) == text


def test_an_unknown_error_is_left_out():
    assert words.with_sem(3.0, 0.5) == "3.0 ± 0.50"
    assert words.with_sem(3.0, float("nan")) == "3.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"),
        (12.34, "12.3 s"),
        (59.99, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (float("nan"), "\N{EN DASH}"),
    ],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


def test_lists_counts_spans_and_probabilities():
    assert words.joined([]) == ""
    assert words.joined(["a"]) == "a"
    assert words.joined(["a", "b", "c"]) == "a, b and c"
    assert words.count(1, "block") == "1 block"
    assert words.count(2400, "image") == "2,400 images"
    assert words.span(3, 3) == "3"
    assert words.span(0, 4) == "0\N{EN DASH}4"
    assert words.p_value(1e-9) == "p < 0.001"
    assert words.p_value(0.0312) == "p = 0.031"
    assert words.window((-100, 50.5)) == "\N{MINUS SIGN}100 to 50.5 ms"
    assert words.window(None) == "\N{EN DASH}"
    assert words.shorten("abcdef", 4) == "abc\N{HORIZONTAL ELLIPSIS}"
    assert words.shorten("abcd", 4) == "abcd"


def test_a_unit_with_brackets_of_its_own_gets_no_others():
    assert words.in_unit("score", "z, minimised") == "score (z, minimised)"
    assert words.in_unit("score", "(spikes/s)²") == "score, (spikes/s)²"
    assert [words.is_rate(u) for u in ("spikes/s, minimised", "(spikes/s)²", "z")] == [
        True,
        False,
        False,
    ]
