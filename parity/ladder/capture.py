"""Captures: the calls of one run in one safetensors file, to be replayed on another machine, or another day.

`compare --save` runs the recorded calls of every function on the runtime under test and writes inputs, states before,
outputs and states after. `compare --against` replays them here: the stage `device`, portable here against coreml there,
or last week against today. What was written is the reference.

The file: tensors named `CALL/SIDE/NAME`, SIDE one of inputs, outputs, before, after; and one entry of the header's
metadata, `capture`, which holds `CaptureInfo` as JSON. Schema 1.
"""

import datetime
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from parity.ladder.contract import DecisionLogits
from parity.ladder.ladder import Row, SkipStage, Status
from parity.ladder.packages import compare_packages
from parity.ladder.subject import Subject
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.checksums import sha256_of_path
from toolkit.bundle.manifest import MANIFEST, Manifest, TensorEntry
from toolkit.bundle.versions import tool_versions
from toolkit.component import Runtime
from toolkit.errors import OutputError, RuntimeFault, ToolkitError
from toolkit.output.files import check_output, disk_errors, replacing
from toolkit.runtimes.recording import Call, replay

BYTES_KEPT = 256 << 20
_KEY = "capture"
_SIDES = {"inputs": "inputs", "outputs": "outputs", "before": "states_before", "after": "states_after"}
_ANOTHER = "Save a capture with `compare MODEL --save FILE.safetensors`."


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CallEntry(_Entry):
    """One call; its tensors are named by its place in the list."""

    component: str
    function: str


class CaptureInfo(_Entry):
    """Where a capture comes from.

    Attributes:
        schema_version: of the file.
        model: its id.
        checkpoint: id, and `sha256` of its weights.
        manifest_sha256: of the bundle's manifest.
        packages: package file -> sha256.
        runtime: that ran them; compute_units are Core ML's, empty for the others.
        versions: of what converts and runs.
        system: operating system with its version, and machine.
        date: when, UTC, ISO 8601.
        calls: in the file's order.
        faults: `component (function)` -> why a call of it gave nothing to compare.
    """

    schema_version: Literal[1]
    model: str
    checkpoint: str
    checkpoint_sha256: str
    manifest_sha256: str
    packages: dict[str, str]
    runtime: str
    compute_units: str
    versions: dict[str, str]
    system: str
    machine: str
    date: str
    calls: tuple[CallEntry, ...]
    faults: dict[str, str]


@dataclass(frozen=True)
class Capture:
    """A capture in memory."""

    path: Path
    info: CaptureInfo
    calls: tuple[Call, ...]

    @property
    def origin(self) -> str:
        """Where and when, in a few words."""
        info = self.info
        units = f" {info.compute_units}" if info.compute_units else ""
        return f"{self.path.name}: {info.runtime}{units} on {info.system}, {info.machine}, {info.date}"


def save_capture(path: Path, subject: Subject, calls: Sequence[Call], max_bytes: int = BYTES_KEPT) -> CaptureInfo:
    """Run recorded calls on the runtime under test and write what went in and came out, whole or not at all.

    Args:
        path: to write.
        subject: bundle and runtime under test.
        calls: as `record_calls` made them; their own outputs are not used.
        max_bytes: of all tensors. The first call of each function is always kept, then the second of each, and so on.

    Raises:
        OutputError: the file cannot be written.
    """
    names = set(subject.precision) if subject.runtime.name != "eager" else {c.name for c in subject.plan.components}
    chosen = bounded([call for call in calls if call.component in names], max_bytes)
    kept, faults = _run(chosen, subject.runtime)
    info = _info(subject, kept, faults)
    tensors = {
        f"{index}/{side}/{name}": np.ascontiguousarray(value)
        for index, call in enumerate(kept)
        for side, attribute in _SIDES.items()
        for name, value in getattr(call, attribute).items()
    }
    with replacing(path) as temporary, disk_errors(path):
        save_file(tensors, temporary, metadata={_KEY: info.model_dump_json()})
    return info


def bounded(calls: Sequence[Call], max_bytes: int) -> list[Call]:
    """As many calls as fit, one of each function first, then another of each; in their own order."""
    rounds: list[tuple[int, int]] = []
    seen: dict[tuple[str, str], int] = {}
    for index, call in enumerate(calls):
        key = (call.component, call.function)
        rounds.append((seen.get(key, 0), index))
        seen[key] = seen.get(key, 0) + 1
    kept, used = [], 0
    for turn, index in sorted(rounds):
        size = _call_bytes(calls[index])
        if turn == 0 or used + size <= max_bytes:
            kept.append(index)
            used += size
    return [calls[index] for index in sorted(kept)]


def check_capture_output(path: Path) -> None:
    """Refuse a path that no capture could be written to, before any work is done.

    Raises:
        OutputError: the name does not end in .safetensors; or as `check_output`.
    """
    if path.suffix.lower() != ".safetensors":
        raise OutputError(
            f"cannot write {path}: a capture is a safetensors file", "Give a name that ends in .safetensors."
        )
    check_output(path)


def read_capture(path: Path) -> Capture:
    """Read a capture.

    Raises:
        ToolkitError: it is not there, damaged, or no capture of this schema.
    """
    if not path.is_file():
        raise ToolkitError(f"no capture at {path}", _ANOTHER)
    try:
        with safe_open(path, "np") as file:
            info = CaptureInfo.model_validate_json((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sides = _sides(tensors)
        calls = [Call(e.component, e.function, **sides.get(i, {})) for i, e in enumerate(info.calls)]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error) or type(error).__name__
        raise ToolkitError(f"{path} is not a readable capture ({reason})", _ANOTHER) from error
    return Capture(path, info, tuple(calls))


def check_model(capture: Capture, model: str) -> None:
    """Refuse a capture of another model.

    Raises:
        ToolkitError: names both.
    """
    if capture.info.model != model:
        raise ToolkitError(f"{capture.path} is a capture of {capture.info.model}, not of {model}", _ANOTHER)


def check_capture(capture: Capture, bundle: Bundle) -> None:
    """Refuse a capture of another model, or of components with other functions or shapes.

    Raises:
        ToolkitError: names the first difference.
    """
    manifest = bundle.manifest
    check_model(capture, manifest.model)
    if not any(manifest.component(call.component) for call in capture.calls):
        raise ToolkitError(f"{capture.path} has no call of a component of {bundle.path}", _ANOTHER)
    for call in capture.calls:
        _check_call(capture, call, manifest)


def _check_call(capture: Capture, call: Call, manifest: Manifest) -> None:
    entry = manifest.component(call.component)
    if entry is None:
        return
    function = next((f for f in entry.functions if f.name == call.function), None)
    if function is None:
        there = ", ".join(f.name for f in entry.functions)
        raise ToolkitError(
            f"{capture.path} holds calls of {call.component} ({call.function}), the bundle has {there}", _ANOTHER
        )
    sides: tuple[tuple[str, Mapping[str, np.ndarray], Sequence[TensorEntry]], ...] = (
        ("input", call.inputs, function.inputs),
        ("output", call.outputs, function.outputs),
        ("state", call.states_before, function.states),
        ("state", call.states_after, function.states),
    )
    for side, values, declared in sides:
        found = {name: f"{value.dtype.name} {list(value.shape)}" for name, value in values.items()}
        wanted = {t.name: f"{t.dtype} {list(t.shape)}" for t in declared}
        for name in dict.fromkeys((*found, *wanted)):
            if found.get(name) != wanted.get(name):
                what = f"{call.component} ({call.function}): {side} '{name}'"
                here, there = wanted.get(name, "absent"), found.get(name, "absent")
                raise ToolkitError(
                    f"{capture.path} has other shapes: {what} is {there}, in the bundle {here}", _ANOTHER
                )


def replay_capture(capture: Capture, subject: Subject, hook: DecisionLogits | None) -> Iterator[Row]:
    """The rows of the stage `device`: what this machine's runtime gives for the calls of a capture.

    Args:
        capture: checked against the subject's bundle.
        subject: its runtime replays the calls, its plan has the gates.
        hook: the model's `decision_logits`.

    Raises:
        SkipStage: every call of the capture had failed where it was made.
    """
    held = {call.component for call in capture.calls}
    functions = {(call.component, call.function) for call in capture.calls}
    precision = {name: value for name, value in subject.precision.items() if name in held}
    if not precision:
        raise SkipStage("nothing in the capture can be replayed")
    yield _about(capture, subject)
    found = compare_packages(
        subject.plan,
        capture.calls,
        subject.runtime,
        subject.eager,
        precision,
        hook,
        compression=subject.compression,
    )
    for parity in found:
        if (parity.component, parity.function) in functions:
            yield parity.row()
    for what, fault in capture.info.faults.items():
        yield Row(what, Status.SKIPPED, note=f"a call failed where the capture was made: {fault}")
    if absent := sorted(set(subject.precision) - held):
        yield Row("components left out", Status.SKIPPED, note=f"the capture has no call of {', '.join(absent)}")


def differences(there: CaptureInfo, here: CaptureInfo) -> list[str]:
    """What else differs between two runs, a phrase each: first there, then here."""
    phrases = []
    for name in ("runtime", "compute_units", "system", "machine"):
        a, b = getattr(there, name) or "none", getattr(here, name) or "none"
        if a != b:
            phrases.append(f"{name.replace('_', ' ')} {a}, here {b}")
    for name in sorted(set(there.versions) | set(here.versions)):
        old, new = there.versions.get(name, "none"), here.versions.get(name, "none")
        if old != new:
            phrases.append(f"{name} {old}, here {new}")
    if there.checkpoint_sha256 != here.checkpoint_sha256:
        phrases.append(f"weights of {there.checkpoint}, here other ones ({here.checkpoint})")
    changed = [file for file, sha in there.packages.items() if here.packages.get(file, sha) != sha]
    if changed:
        phrases.append(f"another bundle: {', '.join(sorted(changed))} differ")
    elif there.manifest_sha256 != here.manifest_sha256:
        phrases.append("another manifest of the same packages")
    return phrases


def _about(capture: Capture, subject: Subject) -> Row:
    """A row that informs: what was replayed, and what differs beside."""
    differ = differences(capture.info, _info(subject, (), {}))
    note = f"{capture.origin}; " + (f"differs: {'; '.join(differ)}" if differ else "same machine, packages, versions")
    return Row("capture", Status.PASSED, {"calls_replayed": len(capture.calls)}, None, note)


def _run(calls: Sequence[Call], runtime: Runtime) -> tuple[list[Call], dict[str, str]]:
    kept: list[Call] = []
    faults: dict[str, str] = {}
    for call in calls:
        try:
            kept.append(replay(call, runtime))
        except RuntimeFault as fault:
            faults.setdefault(f"{call.component} ({call.function})", fault.message)
    return kept, faults


def _info(subject: Subject, calls: Sequence[Call], faults: Mapping[str, str]) -> CaptureInfo:
    manifest = subject.bundle.manifest
    units: Any = getattr(subject.runtime, "compute_units", "")
    return CaptureInfo(
        schema_version=1,
        model=manifest.model,
        checkpoint=manifest.checkpoint.id,
        checkpoint_sha256=manifest.checkpoint.sha256,
        manifest_sha256=sha256_of_path(subject.bundle.path / MANIFEST),
        packages={p.file: p.sha256 for c in manifest.components for p in c.packages},
        runtime=subject.runtime.name,
        compute_units=str(units),
        versions=tool_versions(),
        system=_system(),
        machine=platform.machine(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        calls=tuple(CallEntry(component=c.component, function=c.function) for c in calls),
        faults=dict(faults),
    )


def _system() -> str:
    mac = platform.mac_ver()[0]
    return f"macOS {mac}" if mac else f"{platform.system()} {platform.release()}"


def _sides(tensors: Mapping[str, np.ndarray]) -> dict[int, dict[str, dict[str, np.ndarray]]]:
    """Call -> attribute of `Call` -> name -> array; a call without tensors of a side has an empty one."""
    found: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in tensors.items():
        index, side, name = key.split("/", 2)
        sides = found.setdefault(int(index), {attribute: {} for attribute in _SIDES.values()})
        sides[_SIDES[side]][name] = value
    return found


def _call_bytes(call: Call) -> int:
    sides = (call.inputs, call.outputs, call.states_before, call.states_before)
    return sum(math.prod(value.shape) * value.dtype.itemsize for side in sides for value in side.values())
