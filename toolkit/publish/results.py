"""Task figures for a model card, from a file that `compare --json` wrote (schema 2: parity/report/json_form.py)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle.manifest import Manifest
from toolkit.errors import OptionError

SCHEMA = 2
_SHARE = " % of all"
# Metric -> (its name, its unit, digits) in the card; others are not shown. A share is shown in percent.
_SHOWN = {
    "wer_percent": ("WER", " %", 2),
    "reference_wer_percent": ("WER of the PyTorch model", " %", 2),
    "cer_percent": ("CER", " %", 2),
    "reference_cer_percent": ("CER of the PyTorch model", " %", 2),
    "aas_ms": ("mean boundary shift (AAS)", " ms", 1),
    "reference_aas_ms": ("AAS of the PyTorch model", " ms", 1),
    "mean_shift_ms": ("mean boundary shift (AAS)", " ms", 1),
    "within_20_ms": ("boundaries within 20 ms", _SHARE, 1),
    "within_80_ms": ("boundaries within 80 ms", _SHARE, 1),
    "reference_within_80_ms": ("boundaries within 80 ms, PyTorch model", _SHARE, 1),
    "within_160_ms": ("boundaries within 160 ms", _SHARE, 1),
    "share_within_bin": ("boundaries within one time step", _SHARE, 1),
    "snr_db": ("SNR", " dB", 1),
    "log_mel_cosine": ("log-mel cosine", "", 5),
}


@dataclass(frozen=True)
class Figure:
    """One task figure: which comparison it belongs to, its name, its value with unit, and that row's verdict."""

    row: str
    name: str
    value: str
    verdict: str


@dataclass(frozen=True)
class Results:
    """Task figures, and the run that they come from: runtime, data set, number of clips."""

    figures: tuple[Figure, ...]
    run: dict[str, str]


def read_results(file: Path, manifest: Manifest) -> Results:
    """Read the figures of the bundle's model.

    Raises:
        OptionError: the file is not what `compare --json` writes, or is of another model or checkpoint.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise OptionError(f"--results {file} has schema {content['schema']}, not {SCHEMA}")
        found = [model for model in content["models"] if model["model"] == manifest.model]
        return _results(file, found, manifest)
    except OSError as error:
        raise OptionError(f"--results {file} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(f"--results {file} is not what `compare --json` writes ({error!r})") from error


def _results(file: Path, found: list[dict[str, Any]], manifest: Manifest) -> Results:
    if not found:
        raise OptionError(f"--results {file} has no results of {manifest.model}")
    model = found[0]
    about = {str(key): str(value) for key, value in model["about"].items()}
    if not _is_of(about, manifest):
        was = f"{about.get('checkpoint')}, {about.get('precision')}, {about.get('target')}"
        raise OptionError(f"--results {file} is of another bundle ({was})")
    rows = [row for stage in model["stages"] if stage["stage"] == "task" for row in stage["rows"]]
    return Results(tuple(figure for row in rows for figure in _figures(row)), about)


def _is_of(about: dict[str, str], manifest: Manifest) -> bool:
    """Whether a comparison was one of this bundle, as far as its JSON tells."""
    return (about.get("checkpoint"), about.get("target")) == (manifest.checkpoint.id, manifest.target)


def _figures(row: dict[str, Any]) -> list[Figure]:
    known = [(_SHOWN[name], value) for name, value in row["metrics"].items() if name in _SHOWN]
    return [
        Figure(row["output"], name, _shown(value, unit, digits), row["status"]) for (name, unit, digits), value in known
    ]


def _shown(value: float | None, unit: str, digits: int) -> str:
    if value is None:  # not finite: the SNR of two equal signals
        return "not finite"
    return f"{100 * value if unit == _SHARE else value:.{digits}f}{unit}"
