"""What a rule is: where it comes from, how sure it is, and a check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from milrun.program import Operation
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

Severity = Literal["error", "warning", "info"]
Confidence = Literal["Apple", "measured", "practice"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Source:
    """Who says so.

    Attributes:
        name: document, repository or issue.
        date: of the source where it has one, otherwise when it was read.
        confidence: Apple's word, measured by an author who publishes method or data, or practice without data.
    """

    name: str
    date: str
    confidence: Confidence


@dataclass(frozen=True)
class Hit:
    """Where a rule applies.

    Attributes:
        detail: what was found.
        op: the op; None for the function as a whole.
    """

    detail: str
    op: Operation | None = None


Check = Callable[[FunctionView, Target], Iterator[Hit]]
OpTest = Callable[[FunctionView, Operation, Target], str]


@dataclass(frozen=True)
class Rule:
    """One rule of the table.

    Attributes:
        id: short name.
        severity: error: almost certainly the whole component is off the Neural Engine; warning: the op is, or its
            source is contested; info: slower, or worth a measurement.
        what: the rule in one sentence.
        advice: what to change.
        sources: strongest first.
        check: finds where it applies.
        applies: chips and systems, where it is not all of them.
        conflict: what contradicts it; empty where nothing known does.
    """

    id: str
    severity: Severity
    what: str
    advice: str
    sources: tuple[Source, ...]
    check: Check
    applies: str = "all"
    conflict: str = ""

    @property
    def confidence(self) -> Confidence:
        """Of the strongest source."""
        return self.sources[0].confidence


def each_op(test: OpTest) -> Check:
    """A check of every op alone; the test returns what it found, or an empty string."""

    def check(view: FunctionView, target: Target) -> Iterator[Hit]:
        for op in view.operations:
            if detail := test(view, op, target):
                yield Hit(detail, op)

    return check


def of_type(*types: str) -> Check:
    """A check for ops of these MIL types."""

    def check(view: FunctionView, target: Target) -> Iterator[Hit]:
        yield from (Hit(op.type, op) for op in view.operations if op.type in types)

    return check
