"""Margins along an utterance: the smallest, the noise between two candidates, and the flips to be expected from it."""

import math

import numpy as np
import pytest

from parity.ladder.judging import judge_margins
from parity.ladder.ladder import Ladder, Status
from parity.ladder.rungs import LadderPlan, Rung
from parity.measures.margins import Margins, is_near_tie, top_two

CLEAR = np.array([[9.0, 1.0, 0.0], [0.0, 8.0, 1.0]])
TIGHT = np.array([[1.0, 0.99, 0.0], [0.0, 1.0, 0.98], [1.01, 1.0, 0.0], [0.5, 0.51, 0.0]])


def noise_of(size, shape, seed=0):
    return np.random.default_rng(seed).normal(0, size, shape)


def counted(reference, ours):
    margins = Margins()
    margins.add("clip a", reference, ours)
    return margins


def test_clear_decisions_expect_no_flip_and_say_nothing():
    row = counted(CLEAR, CLEAR + noise_of(0.01, CLEAR.shape)).totals("tokens")
    assert row.headline == ""
    assert row.metrics["decisions"] == 2
    assert row.metrics["smallest_margin"] == 7
    assert row.metrics["expected_flips"] < 1e-12
    assert row.note == "smallest margin at clip a, step 1"


def test_a_pass_by_luck_is_visible():
    """No decision differs, though the noise is as large as the margins."""
    ours = TIGHT.copy()
    ours[:, 2] -= 1  # no candidate: does not count
    ours[0, 0] += 0.02  # each difference grows, so nothing flips
    ours[1, 1] += 0.02
    ours[2, 0] += 0.02
    ours[3, 1] += 0.02
    margins = counted(TIGHT, ours)
    row = margins.totals("tokens")
    assert row.metrics["flips"] == 0
    assert row.metrics["expected_flips"] > 0.5
    assert "none seen, as in" in row.headline
    assert margins.noise_rms == pytest.approx(math.sqrt(((0.02**2) * 2 + 1.02**2 + 0.02**2) / 4), rel=1e-6)


def test_the_number_expected_is_what_such_noise_turns():
    """10,000 decisions with margins around the noise: expected and seen agree within a few per cent."""
    rng = np.random.default_rng(1)
    reference = np.stack([np.zeros(10_000), rng.uniform(0, 0.3, 10_000)], -1)
    margins = counted(reference, reference + noise_of(0.1 / math.sqrt(2), reference.shape))
    assert margins.noise_rms == pytest.approx(0.1, rel=0.03)
    assert margins.expected_flips == pytest.approx(margins.flips, rel=0.05)
    assert f"{margins.flips} seen" in margins.totals("tokens").headline


def test_a_tie_without_noise_counts_half():
    assert counted(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0]])).expected_flips == 0.5
    assert counted(CLEAR, CLEAR).expected_flips == 0


def test_one_candidate_against_all_others():
    margins = Margins()
    reference = np.array([[0.0, 3.0, 1.0], [2.0, 1.0, 1.5], [0.0, 0.2, 0.1]])
    ours = np.array([[0.0, 3.0, 1.0], [2.0, 2.1, 1.5], [0.0, 0.2, 0.1]])
    margins.add_against("clip", reference, ours, 1)
    assert margins.margins == pytest.approx([2.0, 1.0, 0.1])
    assert margins.errors == pytest.approx([0.0, -1.1, 0.0])
    assert margins.flips == 1


def test_a_threshold():
    margins = Margins()
    margins.add_threshold("clip", np.array([-4.0, 0.5]), np.array([-4.5, -0.25]), 0.0)
    assert margins.margins == [4.0, 0.5]
    assert margins.errors == [0.5, -0.75]
    assert margins.flips == 1
    assert margins.smallest_ours == 0.25


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_left_out_and_counted(value):
    broken = CLEAR.copy()
    broken[0, 0] = value
    for margins in (counted(CLEAR, broken), counted(broken, CLEAR)):
        row = margins.totals("tokens")
        assert row.metrics["decisions"] == 2
        assert math.isfinite(row.metrics["expected_flips"])
        assert (margins.non_finite, len(margins.margins)) == (1, 1)
        assert "1 decisions on NaN or infinite logits are left out" in row.note
    nothing = counted(np.full((2, 3), math.nan), CLEAR).totals("tokens")
    assert math.isnan(nothing.metrics["smallest_margin"])


def test_a_candidate_that_is_masked_is_none():
    masked = np.array([[-math.inf, 1.0, 3.0]])
    margins = counted(masked, masked)
    assert (margins.margins, margins.non_finite) == ([2.0], 0)
    assert counted(CLEAR, np.array([[-math.inf, 1.0, 0.0], [0.0, 8.0, 1.0]])).non_finite == 1


def test_the_smallest_margin_over_clips_keeps_its_place():
    margins = Margins()
    for clip, size in (("a", 2.0), ("b", 0.5), ("c", 1.0)):
        margins.add(clip, np.array([[0.0, 9.0], [size, 0.0]]), np.array([[0.0, 9.0], [size, 0.0]]))
    assert margins.where == "b, step 1"


def test_rows_of_kinds_that_took_decisions_inform():
    rung = Rung("decode", "margins of {kind}", "Head", "packages in a row", None)
    ladder = Ladder("toy", LadderPlan((rung,)), {})
    judge_margins(ladder, rung, counted(TIGHT, TIGHT + noise_of(0.1, TIGHT.shape)), kind="a")
    judge_margins(ladder, rung, Margins(), kind="b")
    (row,) = next(stage for stage in ladder.result().stages if stage.name == "decode").rows
    assert (row.output, row.status, row.gate, row.rung.reference) == ("margins of a", Status.PASSED, None, "Head")
    assert row.headline.startswith("a: ")


def test_top_two():
    top = top_two(np.array([[1.0, 5.0, 4.5]]))
    assert (top.best, top.second, top.margin) == (1, 2, 0.5)
    assert top_two(np.array([2.0, 2.0])).margin == 0


def test_near_tie_takes_noise_on_both_candidates():
    assert is_near_tie(0.2, 0.1)
    assert not is_near_tie(0.21, 0.1)
    assert is_near_tie(0.0, 0.0)
