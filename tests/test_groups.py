"""Tests of one group run on one worker: what they share is made once."""

import pytest


@pytest.mark.xdist_group("alone")
def test_the_scheduler_knows_of_groups(request):
    """A pytest that xdist does not fit forgets them, and says nothing."""
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith("@alone")


@pytest.fixture(scope="module", params=["one", "other"])
def made(request):
    return request.param


def test_what_is_made_for_a_module_is_made_on_one_worker(made, request):
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith(f"@test_groups{int(made == 'other')}")
