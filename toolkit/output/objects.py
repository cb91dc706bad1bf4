"""Transcripts as JSON objects; toolkit/output/formats.py says what their keys mean."""

import json
import math
from dataclasses import asdict
from typing import Any

from toolkit.output.result import Failure, Outcome, Result, printable, zero_length_words
from toolkit.transcript import Segment, Token


def object_from_outcome(outcome: Outcome, *, named: bool) -> dict[str, Any]:
    """One file as a JSON object; `named` puts its `file` first, which a failure always has."""
    name = {"file": printable(outcome.file)}
    if isinstance(outcome, Failure):
        return name | {"error": printable(outcome.message)}
    return (name if named else {}) | _object(outcome)


def json_text(fields: dict[str, Any], indent: int | None = 2) -> str:
    """An object as text, letters as they are; no newline at the end."""
    return json.dumps(fields, ensure_ascii=False, indent=indent)


def _object(result: Result) -> dict[str, Any]:
    transcript = result.transcript
    fields: dict[str, Any] = {"text": transcript.text}
    if transcript.language is not None:
        fields["language"] = transcript.language
    fields["duration_s"] = transcript.duration_s
    if transcript.segments:
        fields["segments"] = [_segment(segment) for segment in transcript.segments]
    fields["words"] = [asdict(word) for word in transcript.words]
    if result.task == "alignment":
        fields["zero_length"] = zero_length_words(transcript.words)
    return fields | {
        "tokens": [_token(token) for token in transcript.tokens],
        "rtfx": result.rtfx,
        "runtime": result.runtime,
        "model": result.model,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    fields = asdict(segment)
    return fields if math.isfinite(segment.eos_margin) else fields | {"eos_margin": None}


def _token(token: Token) -> dict[str, Any]:
    return {name: value for name, value in asdict(token).items() if value is not None}
