"""Colours: one for each line of a figure, and style sheets' properties."""

import re

from evolver import colours


def test_threads_take_turns():
    palette = [colours.thread_colour(k) for k in range(len(colours.THREADS))]
    assert len(set(palette)) == len(palette)
    assert colours.thread_colour(len(palette)) == palette[0]


def test_no_two_lines_of_a_figure_share_a_colour():
    palette = [colours.series_colour(k) for k in range(60)]
    assert len(set(palette)) == 60
    assert all(re.fullmatch(r"#[0-9A-Fa-f]{6}", colour) for colour in palette)
    assert palette[:6] == list(colours.THREADS)


def test_css_variables():
    assert colours.css_variables({"ink": "#111111", "paper": "#ffffff"}) == (
        "--ink: #111111; --paper: #ffffff;"
    )
    assert set(colours.PAGE_DARK) <= set(colours.PAGE_LIGHT)
