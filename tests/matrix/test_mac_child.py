"""A process of its own that believes to be on a Mac, and what it can be made to suffer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.milrun.standin.models import add_one

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
import coremltools as ct
import numpy as np
from toolkit.runtimes.open import resolve
from toolkit.runtimes.system import check_system
model = ct.models.CompiledMLModel(ct.utils.compile_model(sys.argv[1], sys.argv[2]), ct.ComputeUnit.CPU_AND_NE)
print(resolve("auto"), check_system(), model.predict({"x": np.ones((2, 3), np.float32)})["y"][0, 0])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return add_one(tmp_path_factory.mktemp("child"))


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"MAC_CRASHES": "* CPU_AND_GPU main"}, 0, "coreml None 2.0"),
        ({"MAC_CRASHES": "*.mlmodelc CPU_AND_NE main"}, -signal.SIGKILL, ""),
        ({"MAC_REFUSES": "* CPU_AND_NE *"}, 1, "RuntimeError: MAC_REFUSES asked for it"),
    ],
)
def test_a_process_on_a_mac(package, tmp_path, variables, code, said):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "child")} | variables
    command = [sys.executable, "-c", CODE, package, str(tmp_path / "op.mlmodelc")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in (done.stderr if code == 1 else done.stdout)
