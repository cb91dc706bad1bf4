"""The tests of coremltools that fail through milrun, by name, each with its cause (`exceptions.toml`)."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("exceptions.toml")


@dataclass(frozen=True)
class Listed:
    """Tests whose id the pattern finds, what they say when they fail, and why they do."""

    pattern: re.Pattern
    reason: re.Pattern
    cause: str


@cache
def listed_exceptions():
    parsed = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(
        Listed(re.compile(e["test"]), re.compile(e.get("reason", "")), e["cause"]) for e in parsed.get("exception", [])
    )


def find_exception(test_id, reason):
    return next((e for e in listed_exceptions() if e.pattern.search(test_id) and e.reason.search(reason)), None)


def excuse(result):
    """A failed test that is listed counts as an exception, with its cause; any other result stays as it is."""
    listed = find_exception(result["test"], result["reason"]) if result["outcome"] == "failed" else None
    if listed is None:
        return result
    return {**result, "outcome": "exception", "reason": f"{listed.cause} ({result['reason']})"}
