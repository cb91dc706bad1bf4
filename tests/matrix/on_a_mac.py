"""Make this process believe that it runs on a Mac, where milrun stands in for Core ML.

MAC_REFUSES, MAC_FAILS and MAC_CRASHES make loads and predictions go wrong. Each is a pattern of the shell for the path,
the compute units and the function, with a blank between them: `* CPU_AND_NE step`.
"""

import os
import platform
import sys
from contextlib import ExitStack
from fnmatch import fnmatchcase

# Before anything is told that this is a Mac: they look for the system's own libraries.
import numpy as np  # noqa: F401
import soundfile  # noqa: F401
import torch  # noqa: F401

import milrun.standin
from toolkit.quiet import coremltools

coremltools()
stack = ExitStack()


def enter():
    """Be on a Mac from here on."""
    asked = {"refuse": "MAC_REFUSES", "fail": "MAC_FAILS", "crash": "MAC_CRASHES"}
    wrong = {what: _on_request(variable) for what, variable in asked.items()}
    stack.enter_context(milrun.standin.predictions(**wrong))
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"
    platform.mac_ver = lambda: (".".join(map(str, milrun.standin.MACOS_VERSION)), ("", "", ""), "arm64")


def _on_request(variable):
    """Goes wrong where the variable, read at each call, matches."""

    def ask(*asked):
        matches = fnmatchcase(" ".join(asked), os.environ.get(variable, ""))
        return f"{variable} asked for it: {' '.join(asked)}" if matches else None

    return ask
