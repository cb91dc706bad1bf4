"""What the host makes of the reference's decisions: nothing may differ but the last bits of a confidence."""

import math
from dataclasses import replace

import pytest

from parity.ladder.gates import confidence_gate, same_result_gate
from parity.ladder.judging import judge_results
from parity.ladder.ladder import Ladder, Status
from parity.ladder.rungs import LadderPlan, Rung
from parity.measures.results import HostResults
from toolkit.transcript import Token, Transcript, Word

RESULT = Rung("task", "result", "theirs", "ours", same_result_gate(""))
CONFIDENCE = Rung("task", "confidence", "theirs", "ours", confidence_gate(""))
WORD = Word("one", 0.08, 0.24, 0.75)
SAID = Transcript("one", 1.0, (WORD,), (Token(3, "", None, None, 0.75),))


def judged(*pairs):
    """Row name -> row, over clips `a`, `b`, ... of (theirs, ours)."""
    results, ladder = HostResults(), Ladder("toy", LadderPlan((RESULT, CONFIDENCE)), {})
    for name, (theirs, ours) in zip("abc", pairs, strict=False):
        results.add(name, theirs, ours)
    judge_results(ladder, results, RESULT, CONFIDENCE)
    (task,) = (stage for stage in ladder.result().stages if stage.name == "task")
    return {row.output: row for row in task.rows}


def with_word(**other):
    return replace(SAID, words=(replace(WORD, **other),))


def with_token(**other):
    return replace(SAID, tokens=(replace(SAID.tokens[0], **other),))


def test_the_same_passes_and_pieces_of_tokens_do_not_count():
    found = judged((SAID, SAID), (SAID, with_token(text="one", start_s=0.0, end_s=1.0)))
    assert {row.status for row in found.values()} == {Status.PASSED}
    assert found["result"].metrics == {"clips": 2, "differing": 0}
    assert found["confidence"].metrics == {"confidences": 4, "max_abs": 0.0}


@pytest.mark.parametrize(
    "ours",
    [
        replace(SAID, text="one "),
        replace(SAID, words=()),
        replace(SAID, tokens=SAID.tokens * 2),
        with_token(id=4),
        with_word(text="won"),
        with_word(start_s=0.081),
        with_word(end_s=0.239),
        with_word(end_s=math.nan),
    ],
)
def test_another_result_fails_and_names_its_clip(ours):
    found = judged((SAID, SAID), (SAID, ours))
    assert (found["result"].status, found["confidence"].status) == (Status.FAILED, Status.PASSED)
    assert found["result"].metrics["differing"] == 1
    assert found["result"].note.endswith("; b")


@pytest.mark.parametrize("confidence", [0.0, 0.7501, math.nan])
@pytest.mark.parametrize("of", [with_token, with_word])
def test_another_confidence_fails(of, confidence):
    found = judged((SAID, of(confidence=confidence)), (SAID, SAID))
    assert (found["result"].status, found["confidence"].status) == (Status.PASSED, Status.FAILED)


def test_without_clips_nothing_is_green():
    assert {row.status for row in judged().values()} == {Status.SKIPPED}
    assert judged((SAID, with_word(text="won")))["confidence"].status is Status.SKIPPED
