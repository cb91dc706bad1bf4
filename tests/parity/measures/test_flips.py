"""Decisions that differ: near ties are excused and shown, others are not."""

import numpy as np
import pytest

from parity.ladder.gates import decisions_gate
from parity.ladder.ladder import Status, row_from_metrics
from parity.measures.flips import Flips

LOGITS = np.array([0.0, 5.0, 4.5])


def row_of(flips):
    counted = flips.totals()
    return row_from_metrics("classes", counted.metrics, decisions_gate(""), counted.note)


@pytest.mark.parametrize(("noise", "unexplained", "phrase"), [(0.25, 0, "near tie"), (0.24, 1, "no near tie")])
def test_a_flip_is_explained_by_noise_of_half_the_margin(noise, unexplained, phrase):
    flips = Flips(decisions=10)
    flips.add("clip a, word 3", LOGITS, 2, noise)
    row = row_of(flips)
    assert row.metrics == {"decisions": 10, "flips": 1, "unexplained": unexplained}
    assert row.status is (Status.FAILED if unexplained else Status.PASSED)
    assert (
        f"clip a, word 3: 2 for 1 (reference's second 2), margin 0.5, logit error up to {noise}: {phrase}" in row.note
    )


def test_without_flips_the_row_passes():
    row = row_of(Flips(decisions=4))
    assert (row.status, row.note) == (Status.PASSED, "")


def test_what_no_margin_can_excuse_fails():
    flips = Flips(decisions=4)
    flips.add_unexplained("clip b: 3 tokens for 4")
    assert row_of(flips).status is Status.FAILED
    assert "clip b: 3 tokens for 4" in row_of(flips).note


def test_the_first_three_are_shown_and_the_others_counted():
    flips = Flips(decisions=9)
    for k in range(5):
        flips.add(f"word {k}", LOGITS, 2, 1.0)
    note = row_of(flips).note
    assert "word 2" in note
    assert "word 3" not in note
    assert note.endswith("and 2 more")
