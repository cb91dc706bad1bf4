"""Two commands at once on one output, and kill -9 at any time: what stands there is a whole bundle."""

import pytest

from tests.two_at_once import stress


@pytest.mark.parametrize("starts", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_only_whole_bundles_are_left(tmp_path, starts):
    tally = stress(tmp_path, starts, seed=starts, seconds=15 if starts == 6 else float("inf"))
    assert not tally.wrong
    assert tally.seen.total() > 1
