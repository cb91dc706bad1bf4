"""The ladder as JSON (`compare --json`), schema 2.

A number that is not finite is `null`: `psnr_db` is null where both sides are equal (`max_abs` is 0), the others are
null where nothing could be measured (the row then failed, and `note` says why). `error` and `skip` say why a model has
no stages.

    {"schema": 2, "passed": bool, "blame": [{"model", "stage"}],
     "models": [{"model", "about": {name: text}, "passed": bool, "blame": stage or null, "verdict": text,
       "error": text or "", "skip": text or "",
       "stages": [{"stage", "question", "status": "passed" | "FAILED" | "SKIP",
         "rows": [{"output", "status", "metrics": {name: number or null}, "note", "headline",
                   "rung", "reference", "candidate",
                   "gate": {"at_most": {metric: limit}, "at_least": {metric: limit}, "reason", "measured"}
                           or null}]}],
       "tables": [TABLE], "facts": [TABLE], "walk": WALK or null}]}

`reference` made the reference value, `candidate` is what of ours was compared with it, `rung` is the row's name in
docs/ladder.md; all are empty where a row compares nothing.

TABLE is {"title", "stage": stage or "", "headers": [text], "rows": [[text or number or null]], "notes": [text]};
`facts` are those of the bundle and of this run.

WALK is what `--blame` found (parity/ladder/blame.py), null without it: {"first": step or null, "verdict": text,
"shares": {step: 0 to 1}, "steps": [{"step", "status", "note"}], "outputs": [{"output", "chain": bool,
"errors": {step: rel. L2 after it, or null where it is not finite}, "shares": {step: 0 to 1}}]}.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from parity.ladder.ladder import QUESTIONS, LadderResult, Row, passed
from parity.ladder.tables import TitledTable

SCHEMA = 2


def json_from_results(results: Sequence[LadderResult]) -> str:
    """The documented JSON."""
    value = {
        "schema": SCHEMA,
        "passed": passed(results),
        "blame": [{"model": r.model, "stage": r.blame} for r in results if r.blame],
        "models": [_result_json(result) for result in results],
    }
    return json.dumps(value, indent=2, allow_nan=False)


def _result_json(result: LadderResult) -> dict[str, Any]:
    return {
        "model": result.model,
        "about": dict(result.about),
        "passed": result.passed,
        "blame": result.blame,
        "verdict": result.verdict,
        "error": result.error,
        "skip": result.skip,
        "stages": [
            {
                "stage": s.name,
                "question": QUESTIONS[s.name],
                "status": s.status.value,
                "rows": [_row_json(r) for r in s.rows],
            }
            for s in result.stages
        ],
        "tables": [_table_json(table) for table in result.tables],
        "facts": [_table_json(table) for table in result.facts],
        "walk": dict(result.walk) if result.walk else None,
    }


def _table_json(table: TitledTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "stage": table.stage,
        "headers": list(table.headers),
        "rows": [[cell if isinstance(cell, str) else _finite_or_none(cell) for cell in row] for row in table.rows],
        "notes": list(table.notes),
    }


def _row_json(row: Row) -> dict[str, Any]:
    gate = row.gate and {
        "at_most": dict(row.gate.at_most),
        "at_least": dict(row.gate.at_least),
        "reason": row.gate.reason,
        "measured": row.gate.measured,
    }
    return {
        "output": row.output,
        "status": row.status.value,
        "metrics": _finite(row.metrics),
        "note": row.note,
        "headline": row.headline,
        "rung": row.rung.label if row.rung else "",
        "reference": row.rung.reference if row.rung else "",
        "candidate": row.rung.candidate if row.rung else "",
        "gate": gate,
    }


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite_or_none(value) for name, value in metrics.items()}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
