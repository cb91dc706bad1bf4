"""The error of a front end, bin by bin, beside that of its reference."""

import numpy as np
import pytest

from parity.ladder.gates import nearness_gate
from parity.measures.nearness import Nearness

GATE = nearness_gate("")
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((100, 4))
NOISE = RNG.standard_normal((100, 4)) * [1e-6, 1e-6, 1e-2, 1e-1]  # two bins have speech in them, two next to nothing


def nearness(reference, ours, **options):
    found = Nearness()
    found.add(TRUTH, reference, ours, **options)
    return found


def passes(ours, reference=TRUTH + NOISE):
    return not GATE.breaches(nearness(reference, ours).metrics)


def test_noise_of_the_references_own_size_passes():
    assert passes(TRUTH - NOISE)
    assert passes(TRUTH + 0.1 * NOISE)
    assert passes(TRUTH)


@pytest.mark.parametrize("at", [0, 1])
def test_an_error_where_the_reference_is_certain_fails(at):
    """However large the reference's error is in other bins; in one frame too."""
    ours = TRUTH + NOISE
    ours[50, at] += 1e-3
    assert not passes(ours)


def test_a_bin_that_is_lost_fails_even_where_the_reference_is_uncertain():
    ours = TRUTH + NOISE
    ours[:, 3] = 0
    assert not passes(ours)


def test_not_finite_fails():
    ours = TRUTH.copy()
    ours[3, 2] = np.nan
    assert nearness(TRUTH + NOISE, ours).times_reference == np.inf


def test_rounding_of_the_result_alone_is_no_error():
    """Both sides may be exact but for it, and the reference by chance more so: digital silence."""
    rounded = TRUTH.astype(np.float32)
    assert not GATE.breaches(nearness(TRUTH, rounded).metrics)
    zero, found = np.zeros_like(TRUTH), Nearness()
    found.add(zero + 1e-11, zero + 1e-11, zero)
    assert found.times_reference < 1e-3


def test_the_worst_bin_of_all_clips_counts():
    found = Nearness()
    for factor in (1.0, 3.0, 2.0):
        found.add(TRUTH, TRUTH + NOISE, TRUTH + factor * NOISE)
    assert found.metrics["bins"] == 12
    assert found.times_reference == pytest.approx(3, rel=0.2)


def test_frames_along_the_other_axis():
    found = Nearness()
    found.add(TRUTH.T, (TRUTH + NOISE).T, (TRUTH + NOISE).T, frames_axis=1)
    assert found.bins == 4


def test_other_shapes_are_left_to_the_rung_of_the_mel():
    assert nearness(TRUTH, TRUTH[:-1]).bins == 0
