"""The matrix' own parts; the matrix itself is run by hand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_baseline__

from tests.matrix import coarse_float16, selection
from tests.matrix.__main__ import command
from tests.matrix.settings import SETTINGS, numpy_without

ROOT = Path(__file__).resolve().parents[2]
SELECTIONS = (selection.COMPUTING, selection.PIPELINES, selection.WHOLE_SUITE)


def test_every_selected_path_exists():
    assert [path for paths in SELECTIONS for path in paths if not (ROOT / path).exists()] == []


def test_rows_have_names_of_their_own():
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


def test_numpys_baseline_is_never_switched_off():
    """NumPy refuses to be imported without it."""
    off = numpy_without("").get("NPY_DISABLE_CPU_FEATURES", "").split()
    assert not set(off) & set(__cpu_baseline__)


def test_the_oldest_kernels_are_what_runs():
    """NumPy names the features that it uses, torch its kernels."""
    (old,) = (setting for setting in SETTINGS if setting.name == "old")
    code = (
        "import torch; from numpy._core._multiarray_umath import __cpu_dispatch__ as d, __cpu_features__ as f;"
        "print([n for n in d if f.get(n)], torch.backends.cpu.get_cpu_capability())"
    )
    environment = os.environ | old.environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[] NO AVX", "[] DEFAULT")


def test_a_path_of_your_own_replaces_the_selection():
    (setting,) = (setting for setting in SETTINGS if setting.name == "mac")
    own = command(setting, ["tests/test_compare.py::test_usage"])
    assert own[-1] == "tests/test_compare.py::test_usage"
    assert own[own.index("-p", own.index("no:cacheprovider")) + 1] == "tests.matrix.mac"
    assert command(setting, ["-x"])[-1] == setting.tests[-1]


@pytest.mark.parametrize(("dtype", "off"), [(np.float16, True), (np.float32, False)])
def test_float16_functions_are_coarse(dtype, off):
    exact = np.tanh(dtype(0.5))
    assert (coarse_float16.Coarse(np.tanh)(dtype(0.5)) != exact) == off
