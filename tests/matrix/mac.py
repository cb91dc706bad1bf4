"""A pytest plug-in: the suite believes that it runs on a Mac (tests.matrix.on_a_mac)."""

# Before anything is told that this is a Mac: they look for the system's own libraries.
import datasets  # noqa: F401
import librosa.filters  # noqa: F401
import transformers  # noqa: F401

from tests.matrix import on_a_mac


def pytest_configure():
    on_a_mac.enter()


def pytest_unconfigure():
    on_a_mac.stack.close()
