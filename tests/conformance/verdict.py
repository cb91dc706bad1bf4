"""What one test of coremltools says about milrun: passed, failed or not applicable, and why."""

from dataclasses import dataclass, field

import pytest

from milrun.standin import ModelKindError

# Every rule by which a test is not applicable; a test's reason begins with one of these.
NO_PREDICTION = "makes no prediction"
NOT_ML_PROGRAM = "not an ML Program, or needs Core ML's compiler"
OWN_SKIP = "skipped by coremltools"
OWN_XFAIL = "expected to fail by coremltools"
FAILS_BEFORE = "fails in coremltools before anything is loaded or predicted"
NEEDS = "needs a package that is not installed"


@dataclass
class Seen:
    """What milrun did during one test."""

    loads: int = 0
    predictions: int = 0
    ops: set[str] = field(default_factory=set)


def _chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _in_milrun(excinfo):
    return any("/milrun/" in str(entry.path) for entry in excinfo.traceback)


def _first_line(text):
    return " ".join(str(text).split())[:300]


def _failure(report, call, seen):
    if "[XPASS(strict)]" in str(report.longrepr):
        return "passed", "coremltools expects this to fail on a device"
    error = call.excinfo.value
    reason = f"{type(error).__name__}: {_first_line(error)}"
    if any(isinstance(e, ModelKindError) for e in _chain(error)):
        return "n.a.", f"{NOT_ML_PROGRAM}: {_first_line(error)}"
    if isinstance(error, ModuleNotFoundError):
        return "n.a.", f"{NEEDS}: {error.name}"
    if not seen.loads and not seen.predictions and not _in_milrun(call.excinfo):
        return "n.a.", f"{FAILS_BEFORE}: {reason}"
    return "failed", reason


def verdict(report: pytest.TestReport, call: pytest.CallInfo, seen: Seen) -> tuple[str, str] | None:
    """Outcome and reason of one phase of a test; None for a phase that says nothing."""
    if report.failed:
        return _failure(report, call, seen)
    if report.skipped:
        if hasattr(report, "wasxfail"):
            return "n.a.", f"{OWN_XFAIL}: {_first_line(report.wasxfail)}"
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        return "n.a.", f"{OWN_SKIP}: {_first_line(text).removeprefix('Skipped: ')}"
    if report.when == "call":
        return ("passed", "") if seen.predictions else ("n.a.", NO_PREDICTION)
    return None
