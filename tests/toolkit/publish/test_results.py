"""Task figures from the JSON of `compare`."""

import json

import pytest

from parity.ladder.ladder import LadderResult, Row, StageResult, Status
from parity.report.json_form import json_from_results
from tests.toolkit.publish.outlines import manifest_of
from toolkit.errors import OptionError
from toolkit.publish.results import read_results

MODEL = "qwen3-forced-aligner"
ABOUT = {"checkpoint": "demo", "target": "iOS18", "runtime": "portable", "dataset": "demo"}
METRICS = {"aas_ms": 12.34, "within_20_ms": 0.5, "within_80_ms": 0.95, "within_160_ms": 1.0, "boundaries": 40}


def written(tmp_path, model=MODEL, about=ABOUT, metrics=METRICS):
    row = Row("boundaries", Status.PASSED, metrics)
    result = LadderResult(model, about=about, stages=(StageResult("task", (row,)),))
    file = tmp_path / "results.json"
    file.write_text(json_from_results([result]))
    return file


def test_figures_have_names_units_and_verdicts(tmp_path):
    found = read_results(written(tmp_path), manifest_of(MODEL))
    assert [(f.name, f.value, f.verdict) for f in found.figures] == [
        ("mean boundary shift (AAS)", "12.3 ms", "passed"),
        ("boundaries within 20 ms", "50.0 % of all", "passed"),
        ("boundaries within 80 ms", "95.0 % of all", "passed"),
        ("boundaries within 160 ms", "100.0 % of all", "passed"),
    ]
    assert found.run["dataset"] == "demo"


def test_a_number_that_is_not_finite_says_so(tmp_path):
    (figure,) = read_results(written(tmp_path, metrics={"snr_db": float("inf")}), manifest_of(MODEL)).figures
    assert (figure.name, figure.value) == ("SNR", "not finite")


def test_results_of_another_model_or_bundle_are_refused(tmp_path):
    with pytest.raises(OptionError, match=f"no results of {MODEL}"):
        read_results(written(tmp_path, model="pocket-tts"), manifest_of(MODEL))
    with pytest.raises(OptionError, match="of another bundle"):
        read_results(written(tmp_path, about=ABOUT | {"checkpoint": "acme/other"}), manifest_of(MODEL))


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"schema": 2}), '{"schema": 2, "models": [{}]}'])
def test_what_compare_did_not_write_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(OptionError, match="not what `compare --json` writes"):
        read_results(tmp_path / "results.json", manifest_of(MODEL))


def test_another_schema_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 1}')
    with pytest.raises(OptionError, match="schema 1, not 2"):
        read_results(tmp_path / "results.json", manifest_of(MODEL))
    with pytest.raises(OptionError, match="cannot be read"):
        read_results(tmp_path / "none.json", manifest_of(MODEL))
