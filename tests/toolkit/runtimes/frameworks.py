"""Core ML off macOS: a framework that records what it is asked, and one that runs packages through milrun."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np

from toolkit.runtimes.framework import FrameworkError


class FakeState:
    """MLState as coremltools has it: float16 leaves it as float32."""

    def __init__(self):
        self.values = {"cache": np.zeros((2, 3), np.float32)}

    def read_state(self, name):
        return self.values[name]

    def write_state(self, name, value):
        if name not in self.values:
            raise RuntimeError(f"no state {name}")
        assert value.dtype == np.float32
        assert value.flags["C_CONTIGUOUS"]
        assert value.flags["WRITEABLE"]
        self.values[name] = value


class FakeModel:
    """Doubles its input and counts in its state."""

    def make_state(self):
        return FakeState()

    def predict(self, data, state=None):
        assert type(data) is dict, "MLModel takes a dict, no other mapping"
        assert all(value.flags["C_CONTIGUOUS"] and value.flags["WRITEABLE"] for value in data.values())
        x = data.pop("x")
        if (x == -1).all():
            raise RuntimeError("Unable to compute the prediction")
        if state is not None:
            state.values["cache"] += 1
        return {"y": np.asarray(2 * x, np.float32)}


@dataclass
class FakeFramework:
    """Core ML that does as it is told.

    Attributes:
        build: of the system.
        uncompilable: what it says of every package; empty where it compiles.
        refused: units -> what it says when a function is loaded on them.
        crashing: units on which a first prediction ends the process.
        compiled: packages that were compiled.
        loads: compiled model, units and function of every load.
        probes: units of every probe.
    """

    build: str = "24A1"
    uncompilable: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    crashing: tuple[str, ...] = ()
    compiled: list[Path] = field(default_factory=list)
    loads: list[tuple[Path, str, str | None]] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)

    def system(self):
        return self.build

    def compile_package(self, package, compiled):
        if self.uncompilable:
            raise FrameworkError(self.uncompilable)
        assert not compiled.exists()
        compiled.mkdir()
        self.compiled.append(package)

    def load(self, compiled, units, function):
        assert compiled.is_dir()
        self.loads.append((compiled, units, function))
        if units in self.refused:
            raise FrameworkError(self.refused[units])
        return FakeModel()

    def probe(self, compiled, units, function, example):
        self.probes.append(units)
        if units in self.crashing:
            return "the first prediction ended its process (signal 11)"
        return self.refused.get(units, "")


class MilrunFramework:
    """Core ML played by milrun, inside `milrun.standin.predictions()`; a compiled model is a copy of its package."""

    def system(self) -> str:
        return "milrun"

    def compile_package(self, package: Path, compiled: Path) -> None:
        shutil.copytree(package, compiled / "model.mlpackage")

    def load(self, compiled: Path, units: str, function: str | None) -> Any:
        return ct.models.MLModel(str(compiled / "model.mlpackage"), ct.ComputeUnit[units], function_name=function)

    def probe(self, compiled: Path, units: str, function: str | None, example: Any) -> str:
        return ""
