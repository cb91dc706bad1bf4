"""Windows cover the whole: each encoder frame once, with context on both sides of every cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.loops.windows import Window, plan_windows

sizes = st.fixed_dictionaries(
    {
        "length": st.integers(1, 5000),
        "capacity": st.integers(16, 700),
        "factor": st.sampled_from([1, 2, 4, 8]),
        "overlap": st.integers(0, 90),
    }
)


@given(sizes)
@settings(max_examples=500, deadline=None)
def test_every_frame_once_and_enough_context(size):
    length, capacity, factor, overlap = (size[name] for name in ("length", "capacity", "factor", "overlap"))
    plan = plan_windows(**size)
    kept = [w.mel_start // factor + frame for w in plan for frame in range(w.keep_start, w.keep_stop)]
    assert kept == list(range(-(-length // factor)))
    full = capacity // factor
    shared = min(overlap, full // 2)
    for window in plan:
        assert window.mel_start % factor == 0
        assert 0 < window.mel_frames <= capacity
        assert window.mel_start + window.mel_frames <= length
        assert window.keep_stop <= -(-window.mel_frames // factor)
    for left, right in pairwise(plan):
        assert left.mel_frames == capacity, "all windows but the last are full"
        assert right.mel_start <= left.mel_start + capacity
        assert right.keep_start >= shared // 2
        assert full - left.keep_stop >= shared // 2
    assert plan[-1].mel_start + plan[-1].mel_frames == length


def test_what_fits_is_one_window():
    assert plan_windows(length=501, capacity=501, factor=8, overlap=50) == (Window(0, 501, 0, 63),)


def test_one_frame_more_is_two_windows_cut_at_the_middle_of_their_overlap():
    assert plan_windows(length=502, capacity=501, factor=8, overlap=20) == (
        Window(0, 501, 0, 31),
        Window(8, 494, 30, 62),
    )


@pytest.mark.parametrize("overlap", [62, 63, 1000])
def test_an_overlap_as_long_as_the_window_becomes_half_of_it(overlap):
    assert plan_windows(2000, 501, 8, overlap) == plan_windows(2000, 501, 8, 31)


def test_an_hour_in_half_minutes():
    plan = plan_windows(length=360_000, capacity=3001, factor=8, overlap=50)
    assert len(plan) == 139
    assert sum(w.keep_stop - w.keep_start for w in plan) == 45_000
