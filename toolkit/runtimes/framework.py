"""Core ML itself, as coremltools gives it: compile a package, load a compiled model, try a first prediction.

The one place that calls coremltools for running models; tests put another `Framework` in its place.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from toolkit.mac_files import unexpanded
from toolkit.quiet import coremltools
from toolkit.spec import ComputeUnits, TensorInfo

# What coremltools raises where Core ML refuses: RuntimeError from its binding, and bare Exception from Python.
_BARE = Exception


class FrameworkError(Exception):
    """Core ML refused; the text is its own, in one line."""


class Framework(Protocol):
    """What the runtime needs of Core ML."""

    def system(self) -> str:
        """What a compiled model depends on beside its package: fits into the name of a folder."""

    def compile_package(self, package: Path, compiled: Path) -> None:
        """Compile a package into a folder `X.mlmodelc` that does not exist.

        Raises:
            FrameworkError: Core ML refuses the package.
        """

    def load(self, compiled: Path, units: ComputeUnits, function: str | None) -> Any:
        """A compiled model with coremltools' `predict` and `make_state`; the function by name, None for the only one.

        Raises:
            FrameworkError: Core ML refuses to load it on these units.
        """

    def probe(self, compiled: Path, units: ComputeUnits, function: str | None, example: "Example") -> str:
        """Load and predict once where a crash does no harm.

        Returns:
            Why it failed; empty where it did not.
        """


class Example:
    """Inputs of zeros for a first prediction.

    Args:
        inputs: name -> dtype and shape.
        stateful: whether the function keeps states.
    """

    def __init__(self, inputs: Mapping[str, TensorInfo], *, stateful: bool) -> None:
        self.inputs, self.stateful = inputs, stateful

    def predict(self, model: Any) -> None:
        """Call a model once; what it returns is of no interest."""
        import numpy as np

        zeros = {name: np.zeros(info.shape, info.dtype) for name, info in self.inputs.items()}
        model.predict(zeros, model.make_state() if self.stateful else None)

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        inputs = {name: [info.dtype, list(info.shape)] for name, info in self.inputs.items()}
        return {"inputs": inputs, "stateful": self.stateful}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Example":
        """What `to_json` made."""
        inputs = {name: TensorInfo(dtype, tuple(shape)) for name, (dtype, shape) in content["inputs"].items()}
        return cls(inputs, stateful=content["stateful"])


class CoremlFramework:
    """Core ML on this Mac."""

    def system(self) -> str:
        """The build of macOS and the processor, e.g. `macOS-24G90-arm64`."""
        return f"macOS-{_macos_build()}-{platform.machine()}"

    def compile_package(self, package: Path, compiled: Path) -> None:
        """Compile a package; see `Framework`."""
        ct = coremltools()
        with _refusals(), unexpanded(package) as path:
            made = Path(ct.models.utils.compile_model(path))
            shutil.move(made, compiled)

    def load(self, compiled: Path, units: ComputeUnits, function: str | None) -> Any:
        """Load a compiled model; see `Framework`."""
        ct = coremltools()
        with _refusals():
            return ct.models.CompiledMLModel(str(compiled), ct.ComputeUnit[units], function_name=function)

    def probe(self, compiled: Path, units: ComputeUnits, function: str | None, example: Example) -> str:
        """Load and predict once in a child process: what kills it does not kill this one."""
        request = {"compiled": str(compiled), "units": units, "function": function, "example": example.to_json()}
        command = [sys.executable, "-m", "toolkit.runtimes.framework"]
        done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return ""
        if done.returncode < 0:
            return f"the first prediction ended its process (signal {-done.returncode})"
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"the first prediction ended with code {done.returncode}"


class _refusals:  # noqa: N801  # reads as a context manager
    """What coremltools raises, as FrameworkError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError) or kind is _BARE:
            raise FrameworkError(" ".join(str(error).split())) from error


def _macos_build() -> str:
    """The build, which changes with every update; the version where it cannot be asked for."""
    command = ["/usr/bin/sw_vers", "-buildVersion"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    except OSError:
        found = ""
    return found or platform.mac_ver()[0] or "unknown"


def _probe_here(request: Mapping[str, Any]) -> None:
    """The child's side of `CoremlFramework.probe`."""
    model = CoremlFramework().load(Path(request["compiled"]), request["units"], request["function"])
    Example.from_json(request["example"]).predict(model)


if __name__ == "__main__":
    try:
        _probe_here(json.loads(sys.stdin.read()))
    except (FrameworkError, RuntimeError) as error:
        sys.exit(" ".join(str(error).split()))
