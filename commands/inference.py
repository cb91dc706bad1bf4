"""`infer`: find the model, check its options, and hand the request to its task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands.infer_request import InferRequest
from commands.listening import align, transcribe
from commands.options import model_of_bundle, resolve_options
from commands.output_options import OutputOptions
from commands.speaking import speak
from models import find_model
from toolkit.model import ModelInfo, Task
from toolkit.runtimes.open import RuntimeChoice, check_runtime, units_of_option

DEFAULT_MODEL = "parakeet-tdt"

TASKS: dict[Task, Callable[[InferRequest], None]] = {
    "transcription": transcribe,
    "alignment": align,
    "synthesis": speak,
}


def run_inference(
    audio: list[str],
    model: str | None,
    bundle: Path | None,
    runtime: RuntimeChoice,
    output: OutputOptions,
    compute_units: str | None,
    track: int | None,
    given: dict[str, Any],
) -> None:
    """Do what `infer` was asked for; `given` are the options of models that were given on the command line."""
    chosen = _model(model, bundle)
    options = resolve_options(chosen, "infer", given)
    check_runtime(runtime)
    units = units_of_option(compute_units)
    request = InferRequest(audio, chosen, bundle, runtime, output, options, frozenset(given), units, track)
    TASKS[chosen.task](request)


def _model(name: str | None, bundle: Path | None) -> ModelInfo:
    """The model asked for, which must be the bundle's; the default model where neither is given."""
    if bundle is None:
        return find_model(name or DEFAULT_MODEL)
    return model_of_bundle(name, bundle)
