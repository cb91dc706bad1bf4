"""`compare --blame`: run the ladder on the wrappers and on every kind of package, and lay the runs side by side."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from commands.conversion import ConvertRequest, OnStep, Prepared, convert, fingerprint, prepare
from commands.demo import demo_recogniser
from parity.ladder.blame import COMPRESSED, DEVICE, FP16, FP32, WRAPPERS, BlameWalk, walk_from_runs
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import LadderResult
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.errors import BundleError
from toolkit.model import ModelInfo
from toolkit.runtimes.open import RuntimeChoice
from toolkit.spec import Precision


def walk_of_bundle(
    model: ModelInfo,
    bundle: Bundle,
    runtime: str,
    clips: Callable[[], Iterable[Clip]],
    options: Mapping[str, Any],
    result: LadderResult,
    on_step: OnStep = lambda what, done, of: None,
) -> BlameWalk:
    """Run what the ladder of a bundle has not run yet, and walk.

    Args:
        model: the family.
        bundle: under test.
        runtime: that `result` was taken on, `portable` or `coreml`.
        clips: gives the same clips anew for each run.
        options: the model's own options of `compare`.
        result: the ladder of the bundle.
        on_step: told what is being converted.

    Raises:
        CheckpointError: what the bundle was made from is no longer there, or has changed.
        OutputError: a bundle beside it cannot be written.
    """

    once = {option.name for option in model.options.get("compare", ()) if option.first_run_only}
    fresh = {name: value for name, value in options.items() if name not in once}

    def run(of: Bundle, on: RuntimeChoice) -> LadderResult:
        return run_ladder(open_subject(model, of, on, clips(), fresh, demo_recogniser), {})

    precisions = {c.precision for c in bundle.manifest.components}
    compressed = {c.compression for c in bundle.manifest.components} - {"none"}
    own = COMPRESSED if compressed else FP16 if "fp16" in precisions else FP32
    runs: dict[str, LadderResult | str] = {
        WRAPPERS: run(bundle, "eager"),
        FP16: "the packages are fp32",
        COMPRESSED: "the weights are not compressed",
        DEVICE: "the portable runtime is under test",
    }
    if runtime == "coreml":
        runs[own], runs[DEVICE] = run(bundle, "portable"), result
    else:
        runs[own] = result
    if own != FP32:
        runs[FP32] = run(sibling(model, bundle, "fp32", on_step), "portable")
    if own == COMPRESSED and "fp16" in precisions:
        runs[FP16] = run(sibling(model, bundle, "fp16", on_step), "portable")
    return walk_from_runs(runs)


def sibling(
    model: ModelInfo, bundle: Bundle, precision: Precision, on_step: OnStep = lambda what, done, of: None
) -> Bundle:
    """The same components with whole weights in another precision, beside the bundle; converted where it is not there.

    Raises:
        CheckpointError: what the bundle was made from is no longer there, or has changed.
        OutputError: it cannot be written.
    """
    manifest = bundle.manifest
    path = bundle.path.with_name(f"{bundle.path.name}.{precision}")
    request = ConvertRequest(
        model,
        checkpoint=manifest.checkpoint.location,
        revision=manifest.checkpoint.revision,
        output=path,
        precision=precision,
        target=manifest.target,
        options=manifest.options,
    )
    prepared = prepare(request)
    held = {c.name for c in manifest.components}
    if held != {c.name for c in prepared.plan.components}:
        only = tuple(c.name for c in prepared.plan.components if c.name in held)
        prepared = prepare(replace(request, only=only))
    try:
        kept = open_bundle(path)
        if _fits(kept, prepared):
            return kept
    except BundleError:
        pass  # missing or stale: made anew
    return convert(prepared, on_step).bundle


def _fits(bundle: Bundle, prepared: Prepared) -> bool:
    wanted = {c.name: fingerprint(prepared, c) for c in prepared.components}
    return {c.name: c.fingerprint for c in bundle.manifest.components} == wanted
