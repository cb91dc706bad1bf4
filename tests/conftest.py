"""Let coremltools' own warnings pass; everything else runs under `-W error`."""

import os
import warnings

import pytest

# Tiny tensors, and a worker a core: more threads only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # coremltools 9.0 holds invalid escape sequences, seen when no .pyc is cached
    import coremltools  # noqa: F401


def pytest_configure(config: pytest.Config) -> None:
    # coremltools' MLModel leaves its temporary folder to the garbage collector.
    config.addinivalue_line("filterwarnings", "ignore:Implicitly cleaning up <TemporaryDirectory:ResourceWarning")
