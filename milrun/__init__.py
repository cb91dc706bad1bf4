"""milrun: run Core ML ML Programs (`.mlpackage`) without Core ML, on PyTorch, on any machine.

    model = milrun.load("encoder.mlpackage")
    outputs = model.predict({"mel": mel, "length": length})

Compiled models (`.mlmodelc`) and pipelines load the same way. An op computes in float32 and rounds once to the dtype
the program declares, so a float16 package behaves as one.
"""

from milrun import standin
from milrun.errors import InputError, MilrunError, OpError, PackageError, UnsupportedOpsError
from milrun.loading import load
from milrun.model import Model
from milrun.pipeline import Pipeline
from milrun.registry import OPS
from milrun.state import State
from milrun.suppression import Suppression
from milrun.watch import TraceRow

__all__ = [
    "OPS",
    "InputError",
    "MilrunError",
    "Model",
    "OpError",
    "PackageError",
    "Pipeline",
    "State",
    "Suppression",
    "TraceRow",
    "UnsupportedOpsError",
    "load",
    "standin",
]
