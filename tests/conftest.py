"""Let coremltools' own warnings pass; everything else runs under `-W error`."""

import os

import pytest

# Tiny tensors, and a worker a core: more threads only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from toolkit.export.quiet import coremltools

coremltools()


def pytest_configure(config: pytest.Config) -> None:
    # coremltools' MLModel leaves its temporary folder to the garbage collector.
    config.addinivalue_line("filterwarnings", "ignore:Implicitly cleaning up <TemporaryDirectory:ResourceWarning")
