"""The demo bundles: converted from the checkpoints that ship with the project, the first time they are asked for."""

from pathlib import Path

from commands.conversion import ConvertRequest, OnStep, convert, default_output, prepare
from commands.terminal import progress, step_reporter
from models import find_model
from toolkit.bundle.bundle import open_bundle
from toolkit.bundle.manifest import Manifest
from toolkit.contract import Transcriber, transcriber
from toolkit.errors import BundleError
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.model import ModelInfo
from toolkit.runtimes.open import open_runtime

# The model whose demo judges whether speech is understood.
RECOGNISER = "parakeet-tdt"


def demo_bundle(model: ModelInfo) -> Path:
    """The model's demo bundle, converted first where it is missing or stale, with a progress bar.

    Raises:
        NoDemo: the model has no demo checkpoint.
        BundleError: a package of it is out of its gate.
    """
    with progress() as bar:
        return ensure_demo_bundle(model, step_reporter(bar, f"convert {model.id}"))


def ensure_demo_bundle(model: ModelInfo, on_step: OnStep = lambda what, done, of: None) -> Path:
    """The demo bundle, converted first where it is missing or no longer fits the code.

    Raises:
        NoDemo: the model has no demo checkpoint.
        BundleError: a package of it is out of its gate.
    """
    request = ConvertRequest(model, checkpoint="demo")
    output = default_output(model, "demo")
    try:
        if _is_default(open_bundle(output).manifest, model):
            return output
    except BundleError:
        pass  # missing or stale: made anew below
    if not convert(prepare(request), on_step).passed:
        raise BundleError(f"the demo bundle {output} fails its gates", f"See `convert inspect {output}`.")
    return output


def _is_default(manifest: Manifest, model: ModelInfo) -> bool:
    """Whether a bundle is what `convert MODEL --checkpoint demo` writes, whole and within its gates."""
    default = ConvertRequest(model)
    return (
        {c.name for c in manifest.components} == set(model.components)
        and all(c.precision == default.precision and c.compression == "none" for c in manifest.components)
        and all(p.passed for c in manifest.components for p in c.parity)
        and manifest.target == default.target
        and manifest.options == {o.name: o.default for o in model.options.get("convert", ())}
        and manifest.checkpoint.sha256 == resolve_checkpoint(model, "demo").entry().sha256
    )


def demo_recogniser() -> Transcriber:
    """A recogniser that knows the words of the demo checkpoints, on the portable runtime."""
    model = find_model(RECOGNISER)
    bundle = open_bundle(ensure_demo_bundle(model))
    return transcriber(model, bundle, open_runtime("portable", bundle, model), {})
