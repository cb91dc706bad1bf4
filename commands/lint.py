"""`convert lint`: the static forecast, in words or as JSON."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from commands.terminal import print_json, print_text
from toolkit.lint.forecast import Finding, Forecast, forecast
from toolkit.lint.rule import SEVERITIES, Rule
from toolkit.lint.target import Chip, MacOS, Target

_NOTE = "read from the files alone; only a Mac measures"


def lint_path(path: Path, macos: MacOS | None, chip: Chip | None, *, as_json: bool) -> None:
    """Print the forecast of a bundle or a package.

    Raises:
        BundleError: it cannot be read.
    """
    found = forecast(path, Target(chip, macos))
    if as_json:
        print_json(description_from_forecast(found))
    else:
        print_text(text_from_forecast(found))


def description_from_forecast(found: Forecast) -> dict[str, Any]:
    """The forecast, JSON-ready: one object per finding."""
    return {
        "forecast": _NOTE,
        "path": str(found.path),
        "chip": found.target.chip,
        "macos": found.target.macos,
        "functions": [
            {"component": component, "function": function, "ops": ops}
            for (component, function), ops in found.functions.items()
        ],
        "findings": [_finding(finding) for finding in found.findings],
    }


def text_from_forecast(found: Forecast) -> str:
    """The forecast for a person: findings of one rule are one line, then each rule once with its sources."""
    lines = [f"forecast, not a measurement: what may keep {found.path} off the Neural Engine ({_NOTE})"]
    lines.append(f"for {found.target}")
    for where, ops in found.functions.items():
        lines.append(f"\n{where[0]} ({where[1]}), {ops} ops")
        lines += _summary([f for f in found.findings if (f.component, f.function) == where])
    rules = {finding.rule.id: finding.rule for finding in found.findings}
    lines += ["\nrules"] * bool(rules)
    for rule in rules.values():
        lines += _rule_lines(rule)
    counts = Counter(finding.severity for finding in found.findings)
    return "\n".join([*lines, "\n" + ", ".join(f"{severity}: {counts[severity]}" for severity in SEVERITIES)])


def _summary(findings: list[Finding]) -> list[str]:
    """One line per rule, most severe first."""
    order = {severity: rank for rank, severity in enumerate(SEVERITIES)}
    ranked = sorted(findings, key=lambda finding: (order[finding.severity], finding.rule.id))
    lines = []
    for rule, group in groupby(ranked, key=lambda finding: finding.rule):
        same = list(group)
        lines.append(f"  {rule.severity:8}{rule.id:18}{_counted(same)}{_where(same[0])}: {same[0].detail}")
    return lines or ["  nothing found"]


def _counted(findings: list[Finding]) -> str:
    return f"{len(findings)} findings, first " if len(findings) > 1 else ""


def _where(finding: Finding) -> str:
    if not finding.op:
        return "the function"
    module = f" in {finding.module}" if finding.module else ""
    return f"{finding.op} ({finding.op_type}){module}"


def _rule_lines(rule: Rule) -> list[str]:
    sources = "; ".join(f"{s.name} ({s.date}, {s.confidence})" for s in rule.sources)
    lines = [f"  {rule.id}: {rule.what}", f"    change: {rule.advice}", f"    source: {sources}"]
    return lines + [f"    conflict: {rule.conflict}"] * bool(rule.conflict)


def _finding(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "component": finding.component,
        "function": finding.function,
        "op": finding.op or None,
        "type": finding.op_type or None,
        "module": finding.module or None,
        "rule": rule.id,
        "severity": rule.severity,
        "detail": finding.detail,
        "what": rule.what,
        "change": rule.advice,
        "applies": rule.applies,
        "confidence": rule.confidence,
        "sources": [{"name": s.name, "date": s.date, "confidence": s.confidence} for s in rule.sources],
        "conflict": rule.conflict or None,
    }
