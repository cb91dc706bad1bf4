"""Run coremltools' own suites through milrun: `uv run --group conformance python -m tests.conformance --help`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.exceptions import excuse
from tests.conformance.report import report_from_results
from tests.conformance.suites import ENVIRONMENT, EVERY_OPSET, SUITES, WHEEL

ROOT = Path(__file__).resolve().parents[2]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.split(":")[0])
    parser.add_argument("--suite", choices=[*SUITES, "all"], default="all", help="which suite (default: all)")
    parser.add_argument("-k", dest="expression", help="pytest's -k: only tests whose name matches")
    parser.add_argument("--jobs", type=int, default=1, help="processes; more than one needs pytest-xdist")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="N tests a suite, the same ones every time")
    parser.add_argument("--part", type=part, default=(1, 1), metavar="I/N", help="the I-th of N parts of the tests")
    parser.add_argument("--every-opset", action="store_true", help="also run each op in the opsets after its first")
    parser.add_argument("--compiled", action="store_true", help="also read each package back from a compiled model")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the totals as Markdown")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write each test's outcome as JSON")
    parser.add_argument(
        "--merge", type=Path, nargs="+", metavar="FILE", help="run nothing: report what --results of earlier runs hold"
    )
    return parser.parse_args(arguments)


def part(text):
    """`3/20` -> (3, 20)."""
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"wants I/N with 1 <= I <= N, got '{text}'")
    return int(i), int(n)


def merged(files):
    """The results of several runs as one: suite -> tests, each once; a failure outlasts other outcomes.

    What is listed is looked up anew: an exception may be named after the run.
    """
    suites = {}
    for file in files:
        for name, results in json.loads(file.read_text(encoding="utf-8")).items():
            known = suites.setdefault(name, {})
            for result in map(excuse, results):
                if result["test"] not in known or result["outcome"] == "failed":
                    known[result["test"]] = result
    return {name: list(known.values()) for name, known in suites.items()}


def run_suite(
    name,
    *,
    expression=None,
    jobs=1,
    sample=0,
    every_opset=False,
    break_op="",
    paths=None,
    part=(1, 1),
    compiled=False,
):
    """Run one suite in a process of its own; `break_op` names an op to make wrong, to see that it is noticed;
    `paths` are files of the suite to run in place of all, `part` (i, n) is the i-th of n parts of its tests, `compiled`
    also writes every package as a compiled model and reads it back.

    Returns:
        One dict a test: test, outcome (passed, failed, exception, n.a.), reason, ops.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        environment = {
            **os.environ,
            **ENVIRONMENT,
            **(EVERY_OPSET if every_opset else {}),
            "CONFORMANCE_SAMPLE": str(sample),
            "CONFORMANCE_PART": "{}/{}".format(*part),
            "CONFORMANCE_RESULTS": str(results),
            "CONFORMANCE_BREAK": break_op,
            "CONFORMANCE_COMPILED": "1" if compiled else "",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-W", "ignore", "-m", "pytest", "-c", str(ROOT / "tests/conformance/pytest.ini")]
        command += ["--rootdir", str(WHEEL), *(str(WHEEL / path) for path in paths or SUITES[name])]
        command += ["-k", expression] if expression else []
        command += ["-n", str(jobs)] if jobs > 1 else []
        done = subprocess.run(command, cwd=WHEEL, env=environment, capture_output=True, text=True, check=False)
        if not results.exists():
            raise SystemExit(f"suite {name} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [excuse(result) for result in json.loads(results.read_text(encoding="utf-8"))]


def main(arguments=None):
    options = parse(arguments)
    names = list(SUITES) if options.suite == "all" else [options.suite]
    results = merged(options.merge) if options.merge else {}
    for name in () if options.merge else names:
        results[name] = run_suite(
            name,
            expression=options.expression,
            jobs=options.jobs,
            sample=options.sample,
            every_opset=options.every_opset,
            compiled=options.compiled,
            part=options.part,
        )
    report = report_from_results(results)
    print(report)
    if options.report:
        options.report.write_text(report, encoding="utf-8")
    if options.results:
        options.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    failed = any(r["outcome"] == "failed" for suite in results.values() for r in suite)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
