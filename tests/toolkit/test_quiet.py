"""Why coremltools' native module is missing."""

import sys

import coremltools as ct
import pytest

from milrun import standin
from toolkit.quiet import native_module_error

NAME = "coremltools.libcoremlpython"


@pytest.fixture
def without_module(monkeypatch, tmp_path):
    """coremltools as it is installed, with one more folder to look for its modules in."""
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.setattr(ct, "__path__", [str(tmp_path)])
    return tmp_path


def test_a_module_that_is_not_there(without_module):
    assert not list(without_module.iterdir())
    assert f"coremltools {ct.__version__} was installed without its module libcoremlpython" in native_module_error()
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in native_module_error()


def test_a_damaged_module(without_module):
    (without_module / "libcoremlpython.so").write_bytes(b"cut short")
    assert "is damaged or made for another Python" in native_module_error()
    assert NAME not in sys.modules


def test_a_module_that_loads():
    with standin.predictions():
        assert native_module_error() is None
