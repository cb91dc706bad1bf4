import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from parity.ladder.ladder import Ladder, LadderResult, Row, Status, passed
from parity.ladder.rungs import LadderPlan, Rung
from parity.ladder.tables import number
from parity.measures.totals import Totals
from parity.report.files import check_report, exhibits_wanted, report_text
from parity.report.json_form import json_from_results
from parity.report.markdown import markdown_from_results
from parity.report.screen import Screen
from tests.parity.report.sample_report import sample_table
from toolkit.errors import OutputError
from toolkit.spec import Gate

GATE = Gate("why not", at_most={"max_abs": 0.5}, measured="0.1")
MEL = Rung("features", "mel", "Extractor", "Mel", GATE)
WORDS = Rung("task", "words", "Processor", "the pipeline", Gate("words"))


def result(*, error: float = 0.0) -> LadderResult:
    board = Ladder("toy", LadderPlan((MEL, WORDS)), {"runtime": "fake"})
    board.compare(MEL, np.ones(3), np.ones(3) + error)
    words = {"wer_percent": 2.5, "reference_wer_percent": 2.5}
    board.judge(WORDS, Totals(words, headline="WER 2.50 % ours, 2.50 % reference"))
    board.add_row("device", Row("-", Status.SKIPPED, note="not here"))
    return board.result()


def printed(*results: LadderResult) -> str:
    stream = io.StringIO()
    screen = Screen(Console(file=stream), verbose=True)
    for one in results:
        screen.show(one)
    screen.finish(results)
    return stream.getvalue()


def test_plain_text_shows_numbers_gate_reason_wer_and_verdict():
    text = printed(result())
    for part in (
        "max abs",
        "gate A: max_abs <= 0.5. Reason: why not. Measured when it was set: 0.1.",
        "Mel against Extractor\n",
        "SKIP not here",
    ):
        assert part in text
    assert text.index("WER 2.50 %") < text.index("toy: passed")
    assert "\x1b" not in text


def test_failure_names_the_stage():
    assert "the first stage to blame is 'features'" in printed(result(error=1.0))


def test_json_is_strict_and_shows_nan_and_infinity_as_null():
    broken = result(error=math.nan)
    text = json_from_results([result(), broken])
    value = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert value["schema"] == 2
    assert value["passed"] is False
    assert value["blame"] == [{"model": "toy", "stage": "features"}]
    good, bad = (model["stages"][0]["rows"][0] for model in value["models"])
    assert good["metrics"]["psnr_db"] is None
    assert bad["metrics"]["max_abs"] is None
    assert bad["status"] == "FAILED"
    assert good["gate"] == {"at_most": {"max_abs": 0.5}, "at_least": {}, "reason": "why not", "measured": "0.1"}
    assert (good["rung"], good["reference"], good["candidate"]) == ("mel", "Extractor", "Mel")
    assert {row["reference"] for row in value["models"][0]["stages"][3]["rows"]} == {""}


def test_markdown_has_tables_and_escapes_pipes():
    rung = replace(MEL, output="a|b")
    board = Ladder("toy", LadderPlan((rung,)), {})
    board.compare(rung, np.ones(1), np.ones(1))
    text = markdown_from_results([board.result()])
    assert "| a\\|b | 0 |" in text
    assert "Overall: **passed**" in text


def test_nothing_compared_is_no_pass():
    assert not passed([])
    assert passed([result()])
    assert not passed([result(), result(error=1.0)])


def test_numbers():
    assert [number(v) for v in (0, 3, 0.001234, 0.98765, 12.345, math.inf)] == [
        "0", "3", "0.00123", "0.98765", "12.35", "inf",
    ]  # fmt: skip


def test_several_sides_of_a_stage_are_named_with_their_rungs():
    length = replace(MEL, output="length, {form}", reference="Counter")
    board = Ladder("toy", LadderPlan((MEL, length)), {})
    board.compare(MEL, np.ones(2), np.ones(2))
    for form in ("split", "fused"):
        board.compare(length, np.ones(2), np.ones(2), form=form)
    for text in (printed(board.result()), markdown_from_results([board.result()])):
        assert "Mel against Extractor: mel\n" in text
        assert "Mel against Counter: length, FORM\n" in text


def test_several_models_end_with_one_summary():
    lines = printed(result(), result(error=1)).strip().splitlines()
    assert lines[-3].strip() == "2 models: FAILED"
    assert "passed, " in lines[-2]
    assert "FAILED, the first stage to blame" in lines[-1]
    assert "models:" not in printed(result())


def test_added_tables_are_in_every_form(tmp_path):
    board = Ladder("toy", LadderPlan((MEL,)), {})
    board.compare(MEL, np.ones(2), np.ones(2))
    result = board.result().with_table(sample_table("features")).with_table(sample_table())
    for name in ("a.html", "a.md"):
        assert report_text(tmp_path / name, [result]).count("errors by layer") >= 2
    (model,) = json.loads(json_from_results([result]))["models"]
    assert [t["stage"] for t in model["tables"]] == ["features", ""]
    assert model["tables"][0]["rows"][1][1] is None
    assert "text of two lines" in report_text(tmp_path / "a.md", [result])


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells under 3 headers"):
        replace(sample_table(), rows=(("a", "b"),))


def test_suffix_chooses_the_form(tmp_path):
    assert report_text(tmp_path / "A.HTML", []).startswith("<!doctype html>")
    assert report_text(tmp_path / "a.md", []).startswith("# Parity report")
    assert exhibits_wanted(tmp_path / "a.html") > 0
    assert exhibits_wanted(tmp_path / "a.md") == exhibits_wanted(None) == 0
    for name in ("a.pdf", "a", "a.htm"):
        with pytest.raises(
            OutputError, match=r"a report is HTML or Markdown\. Give a name that ends in \.html or \.md"
        ):
            check_report(tmp_path / name)
