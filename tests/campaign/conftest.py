"""What holds for every test of campaigns."""

import pytest

from tests import children


@pytest.fixture(autouse=True, scope="session")
def server():
    """Have pools of the tests' own process forked of the server of `tests.children`."""
    children.begin_server()
