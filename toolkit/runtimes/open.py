"""Choosing a runtime by name."""

import sys
from importlib.util import find_spec
from typing import Literal

from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.compute_units import UnitsChoice, chosen_units
from toolkit.errors import UnsupportedError
from toolkit.model import ModelInfo

RuntimeName = Literal["coreml", "portable", "eager"]
RuntimeChoice = Literal["auto", "coreml", "portable", "eager"]


def resolve(name: RuntimeChoice) -> RuntimeName:
    """The runtime that a choice stands for; `auto` is coreml on macOS and portable elsewhere."""
    if name == "auto":
        return "coreml" if sys.platform == "darwin" else "portable"
    return name


def check_runtime(name: RuntimeChoice) -> None:
    """Refuse a runtime that is not available here, before any work is done.

    Raises:
        UnsupportedError: says what it needs.
    """
    resolved = resolve(name)
    if resolved == "coreml":
        from toolkit.runtimes.coreml import need_macos

        return need_macos()
    needed = ("torch",) if resolved == "portable" else ("torch", "transformers")
    missing = [module for module in needed if find_spec(module) is None]
    if missing:
        raise UnsupportedError(f"the runtime {resolved} needs {' and '.join(missing)}", "Install them with `uv sync`.")


def units_of_option(option: str | None) -> UnitsChoice:
    """The compute units that a command asks for, with `--compute-units` or by the environment.

    Raises:
        UnsupportedError: the option was given where there is no Core ML.
        OptionError: it names no units.
    """
    if option is not None:
        from toolkit.runtimes.coreml import need_macos

        need_macos()
    return chosen_units(option)


def open_runtime(
    name: RuntimeChoice,
    bundle: Bundle,
    model: ModelInfo,
    *,
    cache_weights: bool = True,
    units: UnitsChoice | None = None,
) -> Runtime:
    """Open a runtime for a bundle.

    Args:
        name: which; `auto` is coreml on macOS, portable elsewhere.
        bundle: opened.
        model: its family.
        units: coreml only: compute units that the run asked for; those of the environment when left out.
        cache_weights: portable only: keep weights in float32 after their first use; False takes a third of the memory.

    Raises:
        UnsupportedError: the runtime is not available on this machine.
    """
    check_runtime(name)
    resolved = resolve(name)
    if resolved == "coreml":
        from toolkit.runtimes.coreml import CoremlRuntime

        return CoremlRuntime(bundle, units or chosen_units(None))
    if resolved == "portable":
        from toolkit.runtimes.portable import PortableRuntime

        return PortableRuntime(bundle.locate, cache_weights=cache_weights)
    from toolkit.export.checkpoint import plan_of_bundle
    from toolkit.runtimes.eager import EagerRuntime

    return EagerRuntime(plan_of_bundle(bundle, model))
