"""The rows of the matrix, as data: what each one changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from tests.matrix.selection import COMPUTING, PIPELINES, WHOLE_SUITE

# torch, oneDNN, MKL and OpenBLAS (NumPy's) choose their kernels by these; each ignores what its processor lacks.
OLD_TORCH = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE",
}
OLD_BLAS = {"OPENBLAS_CORETYPE": "Nehalem"}
AVX2_TORCH = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}

EVERYTHING = COMPUTING + PIPELINES


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        name: for `--only`.
        about: what it stands for.
        environment: variables of the pytest process.
        plugin: a pytest plug-in to load.
        python: another version of Python, in an environment of its own.
        tests: what to run.
    """

    name: str
    about: str
    environment: Mapping[str, str] = field(default_factory=dict)
    plugin: str = ""
    python: str = ""
    tests: tuple[str, ...] = COMPUTING


def numpy_without(prefix: str) -> dict[str, str]:
    """Switch off NumPy's kernels for features that begin so: those that this build has and this processor offers.

    NumPy warns of any other name. On a processor that offers none, the row changes nothing.
    """
    found = [name for name in __cpu_dispatch__ if __cpu_features__.get(name) and name.startswith(prefix)]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(found)} if found else {}


def threads(count: int) -> dict[str, str]:
    """How many threads torch, MKL and OpenBLAS use; more than there are cores sleep while they wait."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))
    return counts | {"OMP_WAIT_POLICY": "PASSIVE"}


SETTINGS = (
    Setting("plain", "this machine as it is, 1 thread", threads(1)),
    Setting("numpy-avx2", "NumPy without AVX-512", numpy_without("AVX512")),
    Setting("numpy-baseline", "NumPy without any optional kernel", numpy_without("")),
    Setting("openblas-old", "NumPy's BLAS of an old processor", OLD_BLAS),
    Setting("torch-avx2", "torch, oneDNN and MKL without AVX-512", AVX2_TORCH),
    Setting("torch-old", "torch, oneDNN and MKL without AVX", OLD_TORCH),
    Setting("old", "all of them as old as they go", OLD_TORCH | numpy_without("") | OLD_BLAS, tests=EVERYTHING),
    Setting("coarse-float16", "NumPy's float16 functions are inexact", plugin="tests.matrix.coarse_float16"),
    Setting("2-threads", "2 threads", threads(2)),
    Setting("4-threads", "4 threads", threads(4)),
    Setting("mac", "the suite believes it is on a Mac", plugin="tests.matrix.mac", tests=WHOLE_SUITE),
    Setting("python-3.12", "the newest Python that the project takes", python="3.12", tests=EVERYTHING),
)
