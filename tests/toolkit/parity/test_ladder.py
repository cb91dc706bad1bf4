import numpy as np
import pytest

from toolkit.errors import RuntimeFault
from toolkit.parity.gates import Gate
from toolkit.parity.ladder import Ladder, Row, SkipStage, Status, row_from_metrics

EXACT = Gate("exact", at_most={"max_abs": 0})
STAGES = ("features", "wrappers", "packages", "decode", "task")


def ladder() -> Ladder:
    return Ladder("toy", STAGES, {"runtime": "fake"})


def fill(ladder: Ladder, *, wrong: tuple[str, ...] = (), stages: tuple[str, ...] = STAGES) -> Ladder:
    for stage in stages:
        ladder.add(stage, "out", np.ones(2), np.ones(2) + (stage in wrong), EXACT)
    return ladder


def test_all_within_their_gates_passes_and_says_what_was_not_run():
    result = fill(ladder()).result()
    assert result.passed
    assert result.blame is None
    assert [s.name for s in result.stages] == ["features", "wrappers", "packages", "device", "decode", "task"]
    assert result.stages[3].status is Status.SKIPPED
    assert result.verdict == "toy: passed, 5 stages, not run: device"


def test_the_first_stage_out_of_its_gate_is_to_blame():
    result = fill(ladder(), wrong=("task", "packages")).result()
    assert result.blame == "packages"
    assert not result.passed
    assert "first stage to blame is 'packages' (out: max_abs 1, must be <= 0)" in result.verdict


def test_a_row_shows_the_worst_pair():
    board = fill(ladder())
    board.add("features", "out", np.zeros(2), np.array([0.0, 3.0]), Gate("loose", at_most={"max_abs": 2}))
    row = board.result().stages[0].rows[0]
    assert row.metrics["max_abs"] == 3
    assert row.status is Status.FAILED


def test_a_declared_stage_without_rows_has_failed():
    result = fill(ladder(), stages=STAGES[1:]).result()
    assert result.blame == "features"
    assert "no common output" in result.verdict


def test_shapes_that_differ_fail():
    board = fill(ladder())
    board.add("decode", "frames", np.ones(2), np.ones(3), EXACT)
    assert board.result().blame == "decode"
    assert "shape [3] where the reference has [2]" in board.result().verdict


def test_everything_skipped_fails():
    board = ladder()
    for stage in STAGES:
        with board.attempt(stage, "-"):
            raise SkipStage("not here")
    result = board.result()
    assert result.blame is None
    assert not result.passed
    assert "nothing was compared" in result.verdict


def test_a_fault_of_a_component_is_a_failed_row_and_later_stages_run():
    board = ladder()
    with board.attempt("wrappers", "clip"):
        raise RuntimeFault("encoder: NaN", "Look.")
    fill(board)
    result = board.result()
    assert result.blame == "wrappers"
    assert result.stages[-1].status is Status.PASSED


def test_non_finite_fails_whatever_the_gate():
    row = row_from_metrics("x", {"non_finite": 2}, Gate("none"))
    assert row.status is Status.FAILED


def test_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="no such stages"):
        Ladder("toy", ("taste",), {})


def test_an_informing_row_does_not_turn_a_skip_green():
    board = Ladder("toy", ("task",), {})
    board.add_row("task", Row("x", Status.SKIPPED, note="no transcript"))
    assert board.result().stages[-1].status is Status.SKIPPED
    assert not board.result().passed
