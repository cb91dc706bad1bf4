"""A sample of coremltools' own suites runs through milrun in the ordinary test run; the whole is run by hand."""

import json

import pytest

from tests.conformance import verdict
from tests.conformance.__main__ import merged, parse, run_suite
from tests.conformance.exceptions import find_exception, listed_exceptions
from tests.conformance.report import report_from_results

# suite -> (tests drawn from it, how many of them must at least have predicted something).
SAMPLES = {"mil": (45, 20), "states": (12, 4)}
ACTIVATION = "converters/mil/mil/ops/tests/iOS14/test_activation.py"


@pytest.mark.parametrize("suite", SAMPLES)
def test_a_sample_of_coremltools_own_tests_passes(suite):
    size, least = SAMPLES[suite]
    results = run_suite(suite, sample=size)
    assert len(results) == size
    failed = [f"{r['test']}: {r['reason']}" for r in results if r["outcome"] == "failed"]
    assert not failed, "\n".join(failed)
    assert sum(r["outcome"] == "passed" for r in results) >= least


def test_a_wrong_op_is_caught():
    """Ten units of float16 are less than what a wrong op shows: the suite's own tolerance of 0.5 lets it pass."""
    results = run_suite("mil", paths=[ACTIVATION], expression="TestPReLU", sample=4, break_op="prelu")
    assert any(r["outcome"] == "failed" for r in results)


def test_every_exception_has_a_cause_and_none_is_for_everything():
    for listed in listed_exceptions():
        assert len(listed.cause) > 20
        assert "::" in listed.pattern.pattern
    assert find_exception("iOS14/test_activation.py::TestRelu::test_builder_to_backend_smoke", "") is None


def test_an_exception_may_be_for_one_reason_only():
    test = "iOS15/test_image_resizing.py::TestResample::test_builder_to_backend_smoke[fp32]"
    assert find_exception(test, "AssertionError: assert 0 == 2")
    assert find_exception(test, "AssertionError: Items are not equal") is None


def test_the_report_counts_by_suite_module_and_op():
    results = [
        {"test": "a/b/test_c.py::test_one", "outcome": "passed", "reason": "", "ops": ["relu"]},
        {"test": "a/b/test_c.py::test_two", "outcome": "failed", "reason": "AssertionError: 3", "ops": ["relu", "add"]},
        {"test": "a/b/test_c.py::test_three", "outcome": "n.a.", "reason": verdict.NO_PREDICTION, "ops": []},
    ]
    lines = report_from_results({"mil": results}).splitlines()
    assert "| mil | 1 | 1 | 0 | 1 |" in lines
    assert "| b/test_c.py | 1 | 1 | 0 | 1 |" in lines
    assert "| relu | 1 | 1 | 0 | 0 |" in lines
    assert "- `a/b/test_c.py::test_two`: AssertionError: 3" in lines


def test_the_parts_of_a_suite_are_all_of_it_and_share_no_test():
    runs = [run_suite("mil", paths=[ACTIVATION], expression="TestPReLU", part=(i, 2)) for i in (1, 2)]
    whole = run_suite("mil", paths=[ACTIVATION], expression="TestPReLU")
    tests = [result["test"] for run in runs for result in run]
    assert sorted(tests) == sorted(result["test"] for result in whole)
    assert len(set(tests)) == len(tests)
    assert all(runs)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse(["--part", text])
    assert "I/N" in capsys.readouterr().err


def test_what_is_listed_after_a_run_counts_when_it_is_merged(tmp_path):
    test = "iOS15/test_image_resizing.py::TestCropResize::test_builder_to_backend_smoke[x]"
    assert find_exception(test, "Items differ")
    results = [{"test": test, "outcome": "failed", "reason": "Items differ", "ops": []}]
    (tmp_path / "run.json").write_text(json.dumps({"mil": results}))
    (merged_result,) = merged([tmp_path / "run.json"])["mil"]
    assert merged_result["outcome"] == "exception"
    assert merged_result["reason"].endswith("(Items differ)")


def test_runs_are_merged_and_a_failure_is_not_lost(tmp_path):
    def result(test, outcome):
        return {"test": test, "outcome": outcome, "reason": "", "ops": []}

    runs = [{"mil": [result("a", "passed"), result("b", "failed")]}, {"mil": [result("b", "passed")], "api": []}]
    for number, run in enumerate(runs):
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    suites = merged(sorted(tmp_path.glob("*.json")))
    assert [(r["test"], r["outcome"]) for r in suites["mil"]] == [("a", "passed"), ("b", "failed")]
    assert suites["api"] == []
