from dataclasses import replace

import numpy as np
import pytest

from parity.ladder.ladder import Ladder, Row, SkipStage, Status, row_from_metrics
from parity.ladder.rungs import LadderPlan, Rung
from parity.measures.totals import Totals
from toolkit.errors import FIND_STAGE, ComponentFault, RuntimeFault
from toolkit.spec import Gate

EXACT = Gate("exact", at_most={"max_abs": 0})
STAGES = ("features", "wrappers", "packages", "decode", "task")
RUNGS = {stage: Rung(stage, "out", f"{stage} of theirs", f"{stage} of ours", EXACT) for stage in STAGES}


def ladder(*more: Rung, **options: object) -> Ladder:
    return Ladder("toy", LadderPlan((*RUNGS.values(), *more), **options), {"runtime": "fake"})


def fill(ladder: Ladder, *, wrong: tuple[str, ...] = (), stages: tuple[str, ...] = STAGES) -> Ladder:
    for stage in stages:
        ladder.compare(RUNGS[stage], np.ones(2), np.ones(2) + (stage in wrong))
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
    board.compare(RUNGS["features"], np.zeros(2), np.array([0.0, 3.0]))
    row = board.result().stages[0].rows[0]
    assert row.metrics["max_abs"] == 3
    assert row.status is Status.FAILED


def test_a_declared_stage_without_rows_has_failed():
    result = fill(ladder(), stages=STAGES[1:]).result()
    assert result.blame == "features"
    assert "no common output" in result.verdict


def test_shapes_that_differ_fail():
    frames = replace(RUNGS["decode"], output="frames")
    board = fill(ladder(frames))
    board.compare(frames, np.ones(2), np.ones(3))
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


def test_a_fault_leads_into_the_component_and_not_back_to_compare():
    board = ladder()
    for number, fault in enumerate(
        (
            ComponentFault("encoder", "main", "output 'y' is float16", FIND_STAGE),
            RuntimeFault("the decoder broke", FIND_STAGE),
            ComponentFault("encoder", "main", "it keeps no states", "Pass none."),
        )
    ):
        with board.attempt("wrappers", str(number)):
            raise fault
    assert [row.note for row in board.result().stages[1].rows if row.status is Status.FAILED] == [
        "component encoder (main): output 'y' is float16; `compare --bundle DIR --layers encoder` names the op",
        "the decoder broke",
        "component encoder (main): it keeps no states. Pass none.",
    ]


def test_non_finite_fails_whatever_the_gate():
    row = row_from_metrics("x", {"non_finite": 2}, Gate("none"))
    assert row.status is Status.FAILED


def test_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="no such stages"):
        ladder(replace(RUNGS["task"], stage="taste"))


def test_an_informing_row_does_not_turn_a_skip_green():
    board = Ladder("toy", LadderPlan((RUNGS["task"],)), {})
    board.add_row("task", Row("x", Status.SKIPPED, note="no transcript"))
    assert board.result().stages[-1].status is Status.SKIPPED
    assert not board.result().passed


def rows(board: Ladder, stage: str) -> dict[str, Row]:
    return {row.output: row for found in board.result().stages if found.name == stage for row in found.rows}


def test_rows_say_what_is_held_against_what():
    row = rows(fill(ladder()), "decode")["out"]
    assert (row.rung.reference, row.rung.candidate) == ("decode of theirs", "decode of ours")


def test_a_rung_that_is_not_declared_is_a_fault_of_the_program():
    for rung in (replace(RUNGS["task"], output="more"), replace(RUNGS["task"], gate=Gate("loose"))):
        with pytest.raises(ValueError, match="is not declared"):
            ladder().compare(rung, np.ones(2), np.ones(2))
        with pytest.raises(ValueError, match="is not declared"):
            ladder().judge(rung, Totals({}))


ENCODER = Rung("wrappers", "encoder {function}: y", "Encoder", "wrapper encoder", EXACT, ("encoder",))


def test_a_rung_that_nothing_was_compared_for_is_shown_with_the_reason():
    spoken = replace(ENCODER, output="speech", needs=(), only="where the corpus has a text")
    silent = replace(ENCODER, output="silence", needs=())
    for planned, why in (((), "nothing was compared: the bundle holds no encoder"), (("encoder",), SILENT)):
        board = fill(ladder(ENCODER, spoken, silent, planned=planned))
        missing = {name: row.note for name, row in rows(board, "wrappers").items() if row.status is Status.SKIPPED}
        assert missing == {
            "encoder FUNCTION: y": why,
            "speech": "nothing was compared: only where the corpus has a text",
            "silence": SILENT,
        }
        assert board.result().passed


SILENT = "nothing was compared"


def test_a_rung_that_was_skipped_or_judged_is_not_missing():
    count = replace(ENCODER, output="count", needs=())
    board = fill(ladder(ENCODER, count))
    board.skip(ENCODER, "too long", function="audio_5s")
    board.judge(count, Totals({"max_abs": 0.5}, "note", "headline"))
    found = rows(board, "wrappers")
    assert list(found) == ["out", "encoder audio_5s: y", "count"]
    assert found["count"].note == "max_abs 0.5, must be <= 0; note"
    assert found["count"].rung.reference == "Encoder"
    board.skip(count, "why")
    assert rows(board, "wrappers")["count"].note == "why"


def test_nothing_is_missing_in_a_stage_that_did_not_run():
    board = fill(ladder(), stages=STAGES[1:])
    board.skip(RUNGS["features"], "not here")
    assert list(rows(board, "features")) == ["out"]
    assert [row.note for row in rows(board, "features").values()] == ["not here"]


def test_rungs_of_one_name_take_each_others_place():
    board = fill(ladder(replace(RUNGS["decode"], candidate="another form", gate=None)))
    assert [row.status for row in rows(board, "decode").values()] == [Status.PASSED]


def test_a_rung_without_a_gate_informs():
    free = replace(RUNGS["decode"], gate=None)
    board = fill(ladder(free), stages=("features",))
    board.compare(free, np.zeros(2), np.ones(2))
    row = rows(board, "decode")["out"]
    assert (row.status, row.gate, row.metrics["max_abs"]) == (Status.PASSED, None, 1)


@pytest.mark.parametrize(("case", "status"), [("fp16", Status.PASSED), ("fp32", Status.FAILED)])
def test_the_gate_is_that_of_what_runs(case, status):
    rung = replace(RUNGS["decode"], gate={"fp16": Gate("half", {"max_abs": 1}), "fp32": EXACT})
    board = Ladder("toy", LadderPlan((rung,), case), {})
    board.compare(rung, np.zeros(2), np.ones(2))
    assert rows(board, "decode")["out"].status is status
