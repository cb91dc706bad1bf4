"""What we assume of Core ML and could not try: each assumption is asked of the machine, and its answer kept."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.compute_units import UnitsChoice
from toolkit.errors import LoadRefused
from toolkit.quiet import coremltools
from toolkit.runtimes.compiled import FOLDER
from toolkit.runtimes.coreml import CoremlRuntime
from toolkit.runtimes.measuring import example_inputs, functions_of


@dataclass(frozen=True)
class Answer:
    """What a Mac says of one assumption.

    Attributes:
        assumption: in one sentence, as we take it to be.
        held: whether it is so; None where this Mac cannot tell.
        detail: figures, or Core ML's own words.
    """

    assumption: str
    held: bool | None
    detail: str


Question = Callable[[dict[str, Bundle]], Answer]
QUESTIONS: list[Question] = []


def asked(assumption: str) -> Callable[[Callable[[dict[str, Bundle]], tuple[bool | None, str]]], Question]:
    """Register a question about the demo bundles, by model."""

    def register(ask: Callable[[dict[str, Bundle]], tuple[bool | None, str]]) -> Question:
        def question(bundles: dict[str, Bundle]) -> Answer:
            try:
                held, detail = ask(bundles)
            except Exception as error:  # noqa: BLE001  # an answer too: what it fails with is what we want to know
                held, detail = None, f"{type(error).__name__}: {error}"
            return Answer(assumption, held, " ".join(detail.split()))

        QUESTIONS.append(question)
        return question

    return register


@asked("Every function loads on the units that its manifest names, without falling back.")
def _declared_units(bundles):
    fell = []
    for bundle in bundles.values():
        runtime = CoremlRuntime(bundle)
        for component, function in functions_of(bundle):
            runtime.load(component, function)
            wanted = bundle.manifest.component(component).compute_units
            if (found := runtime.loads[-1].units) != wanted:
                fell.append(f"{component} ({function}): {found} for {wanted}")
    return not fell, "; ".join(fell) or "all of them"


@asked("A second start finds the compiled models, and loads in a fraction of the time.")
def _cache(bundles):
    bundle = bundles["parakeet-tdt"]
    shutil.rmtree(bundle.path / FOLDER, ignore_errors=True)
    seconds = []
    for _ in range(2):
        runtime = CoremlRuntime(bundle)
        runtime.load("encoder", functions_of(bundle)[0][1])
        seconds.append(runtime.loads[-1].seconds)
    return seconds[1] < seconds[0] / 2, f"{seconds[0]:.2f} s, then {seconds[1]:.2f} s"


@asked("States of a width that is no multiple of 32 fail where the Neural Engine is allowed (coremltools issue 2631).")
def _state_width(bundles):
    try:
        runtime = CoremlRuntime(bundles["cohere-transcribe"], UnitsChoice("ALL"))
        runtime.load("decoder_stateful", "step")
    except LoadRefused as error:
        return True, error.reason
    return runtime.loads[-1].units != "ALL", f"runs on {runtime.loads[-1].units}"


@asked("A package holds functions with states beside functions without, and both run.")
def _mixed(bundles):
    runtime = CoremlRuntime(bundles["pocket-tts"])
    for function in ("prefill", "step"):
        part = runtime.load("backbone", function)
        part.predict(example_inputs(part), part.make_state())
    return True, "prefill and step of the backbone"


@asked("The binding refuses arrays of int64, bool and uint8, and read-only ones.")
def _binding(bundles):
    ct = coremltools()
    bundle = bundles["parakeet-tdt"]
    model = ct.models.MLModel(str(bundle.locate("joint", "main")[0]), compute_units=ct.ComputeUnit.CPU_ONLY)
    part = CoremlRuntime(bundle, UnitsChoice("CPU_ONLY")).load("joint")
    good = example_inputs(part)
    name, array = next(iter(good.items()))
    frozen = array.copy()
    frozen.flags.writeable = False
    cases = {kind: array.astype(kind) for kind in ("int64", "bool", "uint8")} | {"read-only": frozen}
    taken = []
    for case, value in cases.items():
        try:
            model.predict(good | {name: value})
            taken.append(case)
        except (RuntimeError, TypeError, ValueError):
            continue
    return not taken, f"taken: {', '.join(taken) or 'none'}"


@asked("The codec's decoder gives the same audio on all units (another port beeped on the Neural Engine).")
def _codec(bundles):
    bundle, outputs = bundles["pocket-tts"], {}
    for units in ("CPU_ONLY", "CPU_AND_GPU", "ALL"):
        runtime = CoremlRuntime(bundle, UnitsChoice(f"codec_decoder={units}"))
        part = runtime.load("codec_decoder")
        inputs = example_inputs(part)
        for _ in range(25):  # two seconds, each frame's states fed back
            found = part.predict(inputs)
            inputs |= {f"{n.removesuffix('_out')}_in": v for n, v in found.items() if n.endswith("_out")}
        outputs[units] = found["audio"].astype(np.float64)
    base = outputs["CPU_ONLY"]
    errors = {u: float(np.linalg.norm(o - base) / np.linalg.norm(base)) for u, o in outputs.items()}
    return max(errors.values()) < 0.03, ", ".join(f"{u} {e:.2e}" for u, e in errors.items())


@asked("A path with a blank, an accent and a dollar sign works.")
def _path(bundles):
    bundle = bundles["parakeet-tdt"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "büild $HOME x"
        shutil.copytree(bundle.path, folder, ignore=shutil.ignore_patterns(FOLDER))
        part = CoremlRuntime(Bundle(folder, bundle.manifest)).load("joint")
        part.predict(example_inputs(part))
    return True, "converted, loaded, called"
