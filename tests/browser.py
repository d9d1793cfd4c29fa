"""A real browser for the tests of pages."""

import contextlib
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.limits import PATIENCE_MS
from tests.skips import NO_CHROMIUM

_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def chromium():
    """Yield a browser; skip the test on a machine without Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=_QUIET, timeout=PATIENCE_MS)
        yield opened
        opened.close()


@contextlib.contextmanager
def tab(browser, **context):
    """Yield a page in a context of its own, whose script must raise and log no error.

    What a test provokes itself it takes out of the page's `errors`.
    """
    made = browser.new_context(**context)
    made.set_default_timeout(PATIENCE_MS)
    page = made.new_page()
    page.errors = []
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    yield page
    assert page.errors == []
    made.close()
