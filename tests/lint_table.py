"""Write docs/lint.md, the rules of the forecast: `uv run python -m tests.lint_table`."""

from pathlib import Path

from toolkit.lint.forecast import RULES
from toolkit.lint.rule import SEVERITIES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "lint.md"

_HEAD = """# What keeps an op off the Neural Engine

`uv run python -m tests.lint_table` writes this page from the rules in `toolkit/lint/`, and a test checks that it is up
to date.

`convert lint PATH` reads a bundle or an `.mlpackage` and forecasts which ops, or which whole components, stay off the
Neural Engine. It needs no Mac. It is a forecast: Core ML also weighs costs, which no file shows. Only a compute plan on
a Mac shows what Core ML decides.

- *Severity*. error: almost certainly the whole component is off. warning: the op is, or the sources disagree. info:
  slower, or worth a measurement.
- *Confidence*. Apple: Apple says so. measured: an author measured it and published method or data. practice: experience
  without data.
- *Date*. Of the source, or `read` with the month in which it was read.
- `--chip` and `--target` choose the limits that differ; without them the strictest count.

The following are not checked, because the sources disagree or a file does not show them: `linear` in place of a 1x1
convolution, the length of chunks in stateful attention, the form of an RMSNorm, scalar arithmetic per layer, and sizes
that are powers of two.
"""


def section(rule):
    """One rule."""
    sources = "".join(f"- source: {s.name} ({s.date}; {s.confidence})\n" for s in rule.sources)
    conflict = f"- conflict: {rule.conflict}\n" if rule.conflict else ""
    return (
        f"\n### {rule.id}\n\n{rule.what}\n\n- confidence: {rule.confidence}\n- applies to: {rule.applies}\n"
        f"- change: {rule.advice}\n{sources}{conflict}"
    )


def page():
    """The Markdown page, most severe first."""
    parts = [_HEAD]
    for severity in SEVERITIES:
        parts += [f"\n## {severity}\n", *(section(rule) for rule in RULES if rule.severity == severity)]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
