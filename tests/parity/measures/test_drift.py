"""Drift against a control: ratios, noise that the control does not pass through, and where two paths part."""

import numpy as np
import pytest

from parity.ladder.gates import drift_gate
from parity.ladder.ladder import Status, row_from_metrics
from parity.measures.drift import PARTED, Drift, frames_before_divergence

ONES = np.ones((4, 3), np.float32)


def row_of(found):
    return row_from_metrics("latents", found.totals().metrics, drift_gate(""))


def drift(control, ours, **settings):
    found = Drift()
    found.add(ONES, ONES + np.float32(control), ONES + np.float32(ours), 10, **settings)
    return found


@pytest.mark.parametrize(
    ("control", "ours", "times", "status"),
    [
        (0.01, 0.01, 1, Status.PASSED),
        (0.01, 0.04, 4, Status.PASSED),
        (0.01, 0.06, 6, Status.FAILED),
        (0.01, -0.03, 3, Status.PASSED),
        (0.01, 0.0, 0, Status.PASSED),
    ],
)
def test_the_ratio_to_the_control_decides(control, ours, times, status):
    row = row_of(drift(control, ours))
    assert row.metrics == pytest.approx(
        {"frames": 4, "of": 10, "rel_l2": abs(ours), "control_rel_l2": control, "times_control": times}, rel=1e-4
    )
    assert row.status is status


def test_without_any_drift_of_the_control_only_a_rounding_is_allowed():
    eps = float(np.finfo(np.float32).eps)
    assert drift(0, 0).times_control == 0
    assert drift(0, eps).times_control == pytest.approx(1)
    assert row_of(drift(0, 1e-3)).status is Status.FAILED


def test_noise_beside_the_controls_adds_up_in_squares():
    assert drift(0.03, 0.1, noise=0.04).times_control == pytest.approx(2, rel=1e-4)
    assert drift(0, 0.1, noise=0.1).times_control == pytest.approx(1, rel=1e-4)


def test_the_worst_utterance_is_shown_with_its_control():
    found = drift(0.01, 0.04)
    found.add(ONES, ONES + np.float32(0.1), ONES + np.float32(0.2), 6)
    assert (found.frames, found.of) == (8, 16)
    assert (found.rel_l2, found.control_rel_l2, found.times_control) == pytest.approx((0.2, 0.01, 4), rel=1e-4)


def test_one_frame_shows_no_loop():
    found = Drift()
    found.add(ONES[:1], ONES[:1], ONES[:1], 10)
    assert row_of(found).status is Status.FAILED
    assert "frames 1, must be >= 2" in row_of(found).note


def test_a_silent_reference_is_measured_in_absolute_terms():
    found = Drift()
    found.add(0 * ONES, 0 * ONES + np.float32(0.1), 0 * ONES + np.float32(0.2), 4)
    assert (found.times_control, found.rel_l2) == pytest.approx((2, 0.2 * 12**0.5), rel=1e-4)


@pytest.mark.parametrize(("control", "ours"), [(0.01, np.nan), (np.nan, 0.01), (0.01, np.inf)])
def test_what_is_no_number_fails(control, ours):
    found = drift(control, ours)
    found.add(ONES, ONES, ONES, 4)
    assert row_of(found).status is Status.FAILED


@pytest.mark.parametrize(
    ("moved", "frames"),
    [
        ([0, 0, 0, 0], 4),
        ([0.09, 0.09, 0.09, 0.09], 4),
        ([0, 0.05, 0.2, 0], 2),
        ([0, 0, 0, -0.2], 3),
        ([1, 0, 0, 0], 0),
    ],
)
def test_together_until_one_frame_has_moved_by_a_tenth(moved, frames):
    assert PARTED == 0.1
    assert frames_before_divergence(ONES, ONES + np.array(moved, np.float32)[:, None]) == frames


def test_together_measures_in_the_mean_level_of_the_frames():
    """A quiet frame has not parted because its own level is small."""
    quiet = ONES * np.array([[1], [1], [1], [0.01]], np.float32)
    assert frames_before_divergence(quiet, quiet + np.array([[0], [0], [0], [0.02]], np.float32)) == 4


def test_together_of_higher_ranks_and_of_silence():
    frames = np.ones((5, 2, 3), np.float32)
    changed = frames.copy()
    changed[3] += 0.5
    assert frames_before_divergence(frames, changed) == 3
    assert frames_before_divergence(0 * frames, 0 * frames) == 5
