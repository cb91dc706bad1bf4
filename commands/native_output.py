"""Results are alone on stdout: what native libraries write there by file descriptor goes to stderr.

coremltools' binding prints errors of its own to stdout (coremlpython, CoreMLPythonUtils.mm), into JSON or PCM.
"""

import os
import sys


def divert_native_output() -> None:
    """Give Python's stdout a descriptor of its own, and let descriptor 1 mean stderr.

    Nothing happens where Python's stdout is no file with descriptor 1, as under a test runner.
    """
    out = sys.stdout
    try:
        if out.fileno() != 1:
            return
        out.flush()
        own = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):
        return
    sys.stdout = open(own, "w", encoding=out.encoding, errors=out.errors, newline="", closefd=True)  # noqa: SIM115
