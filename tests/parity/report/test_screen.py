"""The screen that `compare` prints: one line per model and stage, figures, verdict and next command."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from parity.ladder.ladder import Ladder, LadderResult, Row, Status, row_from_metrics
from parity.ladder.rungs import LadderPlan, Rung
from parity.measures.totals import Totals
from parity.measures.words import NORMALISER
from parity.report.screen import Screen, margin_of, next_command, worst_row
from toolkit.spec import FLOAT_METRICS, FP16_GATE, Gate

ABOUT = {"bundle": "build/toy", "runtime": "portable", "dataset": "demo"}
MEL = Rung("features", "mel", "Extractor", "Mel", Gate("near", {"max_abs": 1e-3}))
COUNT = Rung("features", "length", "Extractor", "Mel", Gate("exact", {"mismatches": 0}))
WORDS = Rung("task", "words", "Processor", "the pipeline", Gate("words", {"delta_points": 0.1}))


def result(error=0.0, delta=0.0):
    board = Ladder("toy", LadderPlan((MEL, COUNT, WORDS)), ABOUT)
    board.compare(MEL, np.zeros(3), np.full(3, error))
    board.compare(COUNT, np.ones(1, np.int32), np.ones(1, np.int32))
    board.judge(WORDS, Totals({"delta_points": delta}, headline=f"WER 2.50 % ours, 2.50 % reference ({NORMALISER})"))
    board.add_row("device", Row("-", Status.SKIPPED, note="not here"))
    return board.result()


def printed(*results, verbose=False):
    stream = io.StringIO()
    screen = Screen(Console(file=stream), verbose=verbose)
    for one in results:
        screen.show(one)
    screen.finish(results)
    return stream.getvalue()


def row(gate, **metrics):
    return row_from_metrics("x", metrics, gate)


@pytest.mark.parametrize(
    ("gate", "metrics", "used", "text"),
    [
        (Gate("", {"max_abs": 1e-3}), {"max_abs": 2.5e-4}, 0.25, "max_abs 0.00025 <= 0.001, 25 % of the limit"),
        (Gate("", {"max_abs": 1e-3}), {"max_abs": 2e-3}, 2, "max_abs 0.002 <= 0.001, 200 % of the limit"),
        (Gate("", at_least={"psnr_db": 35}), {"psnr_db": 55}, 0.1, "psnr_db 55 >= 35, +20.0 dB"),
        (Gate("", at_least={"psnr_db": 35}), {"psnr_db": math.inf}, 0, "psnr_db inf >= 35, +inf dB"),
        (Gate("", at_least={"cosine": 0.99}), {"cosine": 0.995}, 0.5, "cosine 0.995 >= 0.99, 50 % of the limit"),
        (Gate("", at_least={"frames": 2}), {"frames": 8}, 0.25, "frames 8 >= 2"),
        (Gate("", {"mismatches": 0}), {"mismatches": 0}, 0, "mismatches 0 <= 0"),
        (Gate("", {"mismatches": 0}), {"mismatches": 1}, math.inf, "mismatches 1 <= 0, exact match required"),
        (Gate("", {"max_abs": 1}), {"max_abs": math.nan}, math.inf, "max_abs nan <= 1, not measured"),
        (Gate("", {"max_abs": 1}), {"max_abs": 0, "non_finite": 2}, math.inf, "2 values are not finite"),
    ],
)
def test_a_margin_is_the_share_of_the_gate_that_is_used(gate, metrics, used, text):
    margin = margin_of(row(gate, **metrics))
    assert margin.used == pytest.approx(used)
    assert margin.text == text


def test_the_nearest_limit_counts():
    gate = FP16_GATE.limited_to(FLOAT_METRICS)
    assert margin_of(row(gate, psnr_db=75, cosine=0.99999, rel_l2=0.02)).text.startswith("rel_l2 0.02 <= 0.03, 67 %")


def test_a_row_that_only_informs_has_no_margin():
    assert margin_of(Row("x", Status.PASSED, {"max_abs": 1.0})) is None


def test_the_worst_row_is_a_failed_one_before_any_other():
    near, failed = row(MEL.gate, max_abs=9e-4), Row("y", Status.FAILED, note="no common output")
    stage = replace(result().stages[0], rows=(near, failed))
    assert worst_row(stage)[0] is failed
    assert worst_row(replace(stage, rows=(near, row(MEL.gate, max_abs=1e-5))))[0] is near


def test_one_line_per_stage_with_its_worst_output_and_margin():
    lines = printed(result(error=5e-4)).splitlines()
    assert lines[0] == "toy: build/toy, portable, ? clips of demo"
    assert [line.split()[:2] for line in lines[1:7]] == [
        ["features", "passed"],
        ["wrappers", "SKIP"],
        ["packages", "SKIP"],
        ["device", "SKIP"],
        ["decode", "SKIP"],
        ["task", "passed"],
    ]
    assert re.search(r"mel \(of 2\) +max_abs 0\.0005 <= 0\.001, 50 % of the limit", lines[1])
    assert "not here" in lines[4]
    assert lines[7].strip() == "WER 2.50 % ours, 2.50 % reference"
    assert lines[8].startswith("toy: passed, 2 stages, not run: ")
    assert len(lines) == 9


def test_exact_stages_say_so():
    board = Ladder("toy", LadderPlan((COUNT,)), ABOUT)
    board.compare(COUNT, np.ones(1, np.int32), np.ones(1, np.int32))
    (line,) = [line for line in printed(board.result()).splitlines() if " features" in line]
    assert line.split()[-2:] == ["length", "exact"]


def test_a_failure_names_the_output_and_the_next_command():
    text = printed(result(error=1.0))
    assert "max_abs 1 <= 0.001, 100000 % of the limit" in text
    assert text.splitlines()[-1] == "  next: uv run compare toy --bundle build/toy --blame"


def test_a_damaged_package_leads_to_its_ops():
    board = Ladder("toy", LadderPlan((MEL,)), ABOUT | {"dataset": "my clips"})
    board.compare(MEL, np.ones(1), np.ones(1))
    broken = replace(row(MEL.gate, max_abs=1.0), output="joint: logits", component="joint")
    board.add_row("packages", broken)
    command = "uv run compare toy --bundle build/toy --dataset 'my clips' --layers joint"
    assert next_command(board.result()) == command


def test_a_walk_that_was_made_is_not_asked_for_again():
    assert next_command(replace(result(error=1.0), walk={})).endswith("--blame")
    assert next_command(replace(result(error=1.0), walk={"first": None})).endswith("--verbose")
    assert next_command(result()) == ""


def test_an_error_and_a_skip_are_lines_of_their_models():
    failed = LadderResult("a", error="no bundle. Make one.")
    skipped = LadderResult("b", skip="it has no demo checkpoint")
    text = printed(result(), failed, skipped)
    assert "\na: error: no bundle. Make one.\n" in text
    assert "\nb: SKIP, it has no demo checkpoint\n" in text
    assert "3 models: FAILED" in text
    assert "2 models: passed" in printed(result(), skipped)
    assert f"error rates: {NORMALISER}" in text


def test_verbose_has_every_table():
    assert "gate A: max_abs <= 0.001. Reason: near." in printed(result(), verbose=True)
    assert "gate A" not in printed(result())
