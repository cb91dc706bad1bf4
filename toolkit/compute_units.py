"""Compute units: where Core ML may run a component, and what to try next where it refuses."""

import os
from collections.abc import Iterable
from typing import get_args

from toolkit.errors import OptionError
from toolkit.spec import ComputeUnits, Tensor

VARIABLE = "SPEECH_COREML_COMPUTE_UNITS"
ALL_UNITS: tuple[ComputeUnits, ...] = get_args(ComputeUnits)
_STATE_WIDTH = 32
# What is tried where Core ML refuses: fewer kinds of hardware, the CPU last.
_CHAIN: dict[ComputeUnits, tuple[ComputeUnits, ...]] = {
    "ALL": ("ALL", "CPU_AND_GPU", "CPU_ONLY"),
    "CPU_AND_NE": ("CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY"),
    "CPU_AND_GPU": ("CPU_AND_GPU", "CPU_ONLY"),
    "CPU_ONLY": ("CPU_ONLY",),
}


def units_of_states(states: Iterable[Tensor]) -> ComputeUnits:
    """Where a component with these states runs unless told otherwise.

    Core ML fails on the Neural Engine, and with ALL too, where the width of a state is no multiple of 32.
    Source: apple/coremltools issue 2631 (coremltools 9.0, macOS 15.2, M4).
    """
    return "CPU_AND_GPU" if any(state.shape[-1] % _STATE_WIDTH for state in states) else "ALL"


def fallback_chain(units: ComputeUnits) -> tuple[ComputeUnits, ...]:
    """The units to try, in order."""
    return _CHAIN[units]


class UnitsChoice:
    """The units that a run asked for, by component.

    Args:
        text: `auto`; one name for all components; or `COMPONENT=NAME`, comma-separated, for some of them. Names are
            coremltools', in either case, with `-` or `_`.

    Raises:
        OptionError: no such name.
    """

    def __init__(self, text: str = "auto") -> None:
        self._for_all: ComputeUnits | None = None
        self._by_component: dict[str, ComputeUnits] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            component, _, name = part.rpartition("=")
            if component:
                self._by_component[component] = _units(name)
            elif name.lower() != "auto":
                self._for_all = _units(name)

    def units(self, component: str, default: ComputeUnits) -> ComputeUnits:
        """The units of a component, `default` where the run asked for none."""
        return self._by_component.get(component, self._for_all or default)

    def check_components(self, known: Iterable[str]) -> None:
        """Refuse a component that the bundle lacks.

        Raises:
            OptionError: one is not known.
        """
        known = list(known)
        if unknown := sorted(self._by_component.keys() - set(known)):
            raise OptionError(f"--compute-units: no component {unknown[0]}; the bundle has {', '.join(known)}")


def chosen_units(option: str | None) -> UnitsChoice:
    """What a command runs on: its option, else `$SPEECH_COREML_COMPUTE_UNITS`, else the CPU on a hosted CI runner.

    A runner is a virtual machine whose Neural Engine and GPU cannot be relied on.

    Args:
        option: of `--compute-units`; None where it was not given.

    Raises:
        OptionError: the option or the variable names no units.
    """
    text = option or os.environ.get(VARIABLE) or ("CPU_ONLY" if on_hosted_runner() else "auto")
    return UnitsChoice(text)


def on_hosted_runner() -> bool:
    """Whether this is a CI runner, as they all say by `CI`."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def _units(name: str) -> ComputeUnits:
    wanted = name.upper().replace("-", "_")
    for units in ALL_UNITS:
        if units == wanted:
            return units
    raise OptionError(f"--compute-units: '{name}' is none of auto, {', '.join(ALL_UNITS)}")
