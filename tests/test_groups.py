"""Tests of one group run on one worker: what they share is made once."""

import pytest


@pytest.mark.xdist_group("alone")
def test_the_scheduler_knows_of_groups(request):
    """A pytest that xdist does not fit forgets them, and says nothing."""
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith("@alone")
