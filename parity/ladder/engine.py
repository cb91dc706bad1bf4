"""The whole ladder for one subject: the model fills its stages, the engine those that every model shares."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parity.ladder.capture import Capture, replay_capture, save_capture
from parity.ladder.contract import ModelParity, parity_of
from parity.ladder.facts import facts_of
from parity.ladder.ladder import WHOLE_STAGE, Ladder, LadderResult, Row, SkipStage, Status
from parity.ladder.packages import CLIPS_EXERCISED, compare_packages, record_calls
from parity.ladder.rungs import LadderPlan, Rung
from parity.ladder.shared_rungs import DEVICE, PACKAGES, SHARED
from parity.ladder.subject import Clip, ClipStream, Subject
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.compute_units import UnitsChoice
from toolkit.contract import Transcriber, export_of
from toolkit.export.checkpoint import checkpoint_of_bundle
from toolkit.model import ModelInfo
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.open import RuntimeChoice, open_runtime, resolve
from toolkit.runtimes.recording import Call, replay

_NOT_RECORDED = "there are no calls to replay: the host side failed on the wrappers, see the stage decode"


def open_subject(
    model: ModelInfo,
    bundle: Bundle,
    runtime: RuntimeChoice,
    clips: Iterable[Clip],
    options: Mapping[str, Any],
    recogniser: Callable[[], Transcriber] | None = None,
    units: UnitsChoice | None = None,
) -> Subject:
    """Put a bundle to the test on a runtime.

    Raises:
        CheckpointError: what the bundle was made from is no longer there, or has changed.
        UnsupportedError: the runtime is not available on this machine.
    """
    name = resolve(runtime)
    checkpoint = checkpoint_of_bundle(bundle, model)
    plan = export_of(model).plan(checkpoint.folder, bundle.manifest.options)
    eager = EagerRuntime(plan)
    return Subject(
        model=model,
        bundle=bundle,
        checkpoint=checkpoint,
        plan=plan,
        eager=eager,
        runtime=eager if name == "eager" else open_runtime(name, bundle, model, units=units),
        packages=None if name == "eager" else open_runtime("portable", bundle, model),
        clips=ClipStream(clips, CLIPS_EXERCISED),
        options=options,
        recogniser=recogniser,
        units=units,
    )


def run_ladder(
    subject: Subject,
    about: Mapping[str, str],
    *,
    exhibits: int = 0,
    save: Path | None = None,
    against: Capture | None = None,
) -> LadderResult:
    """Run every stage; a stage that fails does not keep the later ones from running.

    Args:
        subject: what is put to the test.
        about: facts for the report.
        exhibits: how many of each kind to keep, for a report that shows them.
        save: write a capture here.
        against: a capture, checked against the bundle: its calls are replayed in the stage device.

    Raises:
        OutputError: the capture cannot be written.
    """
    parity = parity_of(subject.model)
    rungs = (*parity.rungs, *SHARED)
    ladder = Ladder(subject.model.id, declared_for(subject, rungs), about, exhibits=exhibits)
    ladder.facts += facts_of(subject.bundle)
    parity.measure(subject, ladder)
    ladder.about["clips"] = str(subject.clips.count)
    calls: list[Call] | None = [] if subject.packages is None and not save else None
    if calls is None:
        # No package runs here: what fails is the host, or a wrapper that has a row of its own.
        with ladder.attempt("decode", "the host side on the wrappers"):
            calls = record_calls(subject.plan, subject.bundle, subject.model, subject.clips.first)
    with ladder.attempt("packages", WHOLE_STAGE):
        _packages(subject, ladder, calls, parity)
    with ladder.attempt("device", WHOLE_STAGE):
        if against is None:
            _device(subject, ladder, calls, parity)
        else:
            for row in replay_capture(against, subject, parity.decision_logits):
                ladder.add_row("device", row, DEVICE if row.gate else None)
    if save:
        save_capture(save, subject, calls or [])
    return ladder.result()


def declared_for(subject: Subject, rungs: Sequence[Rung]) -> LadderPlan:
    """Rungs, with what decides their gates and which of them can be compared."""
    planned = tuple(component.name for component in subject.plan.components)
    return LadderPlan(rungs, subject.gate_case, planned, tuple(subject.precision))


def _packages(subject: Subject, ladder: Ladder, calls: list[Call] | None, parity: ModelParity) -> None:
    if subject.packages is None:
        raise SkipStage("the eager runtime is under test, it runs no packages")
    if calls is None:
        raise SkipStage(_NOT_RECORDED)
    hook = parity.decision_logits
    sides = subject.packages, subject.eager
    for found in compare_packages(
        subject.plan, calls, *sides, subject.precision, hook, compression=subject.compression
    ):
        ladder.add_row("packages", found.row(), PACKAGES)
    missing = [c.name for c in subject.plan.components if c.name not in subject.precision]
    if missing:
        note = f"the bundle holds no package of it: {', '.join(missing)}"
        ladder.add_row("packages", Row("components left out", Status.SKIPPED, note=note))


def _device(subject: Subject, ladder: Ladder, calls: list[Call] | None, parity: ModelParity) -> None:
    """Core ML against the portable runtime on the same recorded inputs and states."""
    if platform.system() != "Darwin":
        raise SkipStage(f"Core ML runs on macOS only, this is {platform.system()}; --against replays a capture of one")
    if subject.packages is None:
        raise SkipStage("the eager runtime is under test, it runs no packages")
    if calls is None:
        raise SkipStage(_NOT_RECORDED)
    portable, device = subject.packages, _device_runtime(subject)
    replayed = [replay(call, portable) for call in calls if call.component in subject.precision]
    hook = parity.decision_logits
    for found in compare_packages(
        subject.plan, replayed, device, portable, subject.precision, hook, compression=subject.compression
    ):
        ladder.add_row("device", found.row(), DEVICE)


def _device_runtime(subject: Subject) -> Runtime:
    """Core ML: the one under test, whose functions are loaded already, if it is that."""
    if subject.runtime.name == "coreml":
        return subject.runtime
    return open_runtime("coreml", subject.bundle, subject.model, units=subject.units)
