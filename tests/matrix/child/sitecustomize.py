"""Python imports this first where this folder is in PYTHONPATH: the process then believes that it runs on a Mac.

    PYTHONPATH=tests/matrix/child MAC_CRASHES='* CPU_AND_NE step' python -m a_probe

For what a test starts in a process of its own, as a probe that Core ML may kill. The variables are those of
tests.matrix.on_a_mac.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from tests.matrix import on_a_mac

on_a_mac.enter()
