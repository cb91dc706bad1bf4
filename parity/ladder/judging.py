"""Measures over all clips as rows of the ladder."""

import numpy as np

from parity.ladder.ladder import Ladder
from parity.ladder.rungs import Rung
from parity.measures.margins import Margins
from parity.measures.nearness import Nearness
from parity.measures.results import HostResults
from parity.measures.totals import Totals


def judge_margins(ladder: Ladder, rung: Rung, margins: Margins, **fields: object) -> None:
    """Add the row `margins of KIND` for one kind of decision; a kind without decisions has no row."""
    if margins.margins or margins.non_finite:
        ladder.judge(rung, margins.totals(rung.named(**fields).removeprefix("margins of ")), **fields)


def judge_nearness(ladder: Ladder, rung: Rung, nearness: Nearness) -> None:
    """Add the row of a front end's error beside its reference's; it has none where no clip was compared."""
    if nearness.bins:
        ladder.judge(rung, Totals(nearness.metrics))


def judge_results(ladder: Ladder, results: HostResults, result: Rung, confidence: Rung) -> None:
    """Add the rows that compare the host's results, and their confidences, with the reference's."""
    if not results.clips:
        ladder.skip(result, "no clip was compared")
    else:
        ladder.judge(result, results.totals())
    if not results.errors:
        ladder.skip(confidence, "no result is the reference's")
    else:
        metrics = {"confidences": len(results.errors), "max_abs": float(np.max(results.errors))}  # NaN stays NaN
        ladder.judge(confidence, Totals(metrics))
