"""A pytest plug-in: the suite believes that it runs on a Mac, where milrun stands in for Core ML."""

import platform
import sys
from contextlib import ExitStack

# Before anything is told that this is a Mac: they look for the system's own libraries.
import datasets  # noqa: F401
import librosa.filters  # noqa: F401
import numpy as np  # noqa: F401
import soundfile  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import milrun.standin
from toolkit.quiet import coremltools

coremltools()
_stack = ExitStack()


def pytest_configure():
    _stack.enter_context(milrun.standin.predictions())
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"


def pytest_unconfigure():
    _stack.close()
