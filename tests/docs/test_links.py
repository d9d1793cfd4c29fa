"""Links, anchors and pictures of README.md and the pages lead somewhere, as GitHub reads them.

What is on the network is not asked for. A failure lists ``file:line: what must hold``.
"""

import itertools
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks/RESULTS.md"]
MARKDOWN = MarkdownIt("commonmark").enable("table")


def inline(text):
    """Yield each piece of running text with the line that its block begins on."""
    line = 0
    for token in MARKDOWN.parse(text):
        line = token.map[0] + 1 if token.map else line
        for child in token.children or ():
            yield line, child


def targets(text):
    """Return (line, target) of every link and picture."""
    found = []
    for line, token in inline(text):
        target = token.attrGet("href") or token.attrGet("src")
        if target:
            found.append((line, unquote(str(target))))
    return found


def anchors(text):
    """Return the anchors that GitHub gives to headings."""
    names, seen = set(), {}
    tokens = MARKDOWN.parse(text)
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or ())
            name = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            seen[name] = seen.get(name, -1) + 1
            names.add(f"{name}-{seen[name]}" if seen[name] else name)
    return names


def broken(page):
    """Return what must hold of a page's links, and does not."""
    text = page.read_text(encoding="utf-8")
    wrong = []
    for line, target in targets(text):
        url = urlsplit(target)
        place = f"{page.name}:{line}"
        if url.scheme in {"http", "https", "mailto"}:
            continue
        if url.scheme or url.netloc or url.path.startswith("/"):
            wrong.append(f"{place}: {target} must be an address or a path from this page")
            continue
        file = page.parent / url.path if url.path else page
        if not file.exists():
            wrong.append(f"{place}: {target} must exist")
        elif url.fragment and file.suffix == ".md":
            known = anchors(file.read_text(encoding="utf-8"))
            if url.fragment not in known:
                wrong.append(
                    f"{place}: {target} must be a heading of {file.name}, "
                    f"one of {', '.join(sorted(known))}"
                )
    # A link by reference to something that is not defined stays as it was written.
    for line, token in inline(text):
        if token.type == "text" and re.search(r"\]\[\w|\]\(\S+\)", token.content):
            wrong.append(f"{page.name}:{line}: '{token.content}' must be a link, or have no ]")
    return wrong


def lists_read_in_two_ways(text, name):
    """Return where GitHub sees a list, or a part of an item, and the site does not.

    The site's Markdown wants a list to follow an empty line, and what belongs to an item to be
    indented by four spaces.
    """
    lines = text.splitlines()
    wrong = []
    inside = 0
    for token in MARKDOWN.parse(text):
        opens_list = token.type in {"bullet_list_open", "ordered_list_open"}
        if (opens_list or token.type == "paragraph_open") and inside:
            line = token.map[0]
            indent = len(lines[line]) - len(lines[line].lstrip())
            first = re.match(r" *(?:[-*+]|\d+[.)]) ", lines[line]) and not opens_list
            if not first and indent % 4:
                wrong.append(f"{name}:{line + 1}: must be indented by four spaces an item")
        elif opens_list and token.map[0] and lines[token.map[0] - 1].strip():
            wrong.append(f"{name}:{token.map[0] + 1}: a list must follow an empty line")
        inside += opens_list - (token.type in {"bullet_list_close", "ordered_list_close"})
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_are_the_same_on_the_site(page):
    wrong = lists_read_in_two_ways(page.read_text(encoding="utf-8"), page.name)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("A:\n\n- b\n  c\n- d\n\n1. e\n\n    - f\n\n    g\n", []),
        ("A:\n- b\n", ["x:2: a list must follow an empty line"]),
        ("1. A\n\n   - b\n", ["x:3: must be indented by four spaces an item"]),
        ("1. A\n\n   b\n", ["x:3: must be indented by four spaces an item"]),
    ],
)
def test_the_check_of_lists(text, wrong):
    assert lists_read_in_two_ways(text, "x") == wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    wrong = broken(page)
    assert not wrong, "\n" + "\n".join(wrong)


def test_pages_are_in_the_sites_navigation():
    navigation = (ROOT / "docs/site/mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r"[\w./-]+\.md", navigation))
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert listed == pages, "docs/site/mkdocs.yml must list under nav what there is, once"


def test_pages_are_read():
    linked = {target for page in PAGES for _, target in targets(page.read_text("utf-8"))}
    assert {"docs/guide-live.md", "images/display.png", "../benchmarks/RESULTS.md"} <= linked


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](other.md) ![p](p.png) [b](#top) [c](other.md#a-b--c-d) <https://x.org>", None),
        ("[a](other.md#twice-1) [b](.) `[no](link.md)`", None),
        ("```\n[no](link.md)\n```", None),
        ("[a](lost.md)", "page.md:3: lost.md must exist"),
        ("| a |\n|---|\n| [a](lost.md) |", "page.md:5: lost.md must exist"),
        ("![a](lost.png)", "page.md:3: lost.png must exist"),
        ("[a](#bottom)", "page.md:3: #bottom must be a heading of page.md, one of top"),
        ("[a](other.md#twice-2)", "page.md:3: other.md#twice-2 must be a heading of other.md"),
        ("[a](/etc/hosts)", "page.md:3: /etc/hosts must be an address or a path"),
        ("[a][b]", "page.md:3: '[a][b]' must be a link"),
    ],
)
def test_the_check(text, complaint, tmp_path):
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "other.md").write_text("# A `b`: (c) d\n\n## A b / c d\n\n# Twice\n\n# Twice\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Top\n\n{text}\n")
    wrong = broken(page)
    assert wrong == [] if complaint is None else wrong[0].startswith(complaint)
