"""A pytest plug-in: the suite believes that it runs on a Mac (tests.matrix.on_a_mac)."""

# Before anything is told that this is a Mac: they look for the system's own libraries.
import datasets  # noqa: F401
import librosa.filters  # noqa: F401
import transformers  # noqa: F401

from tests.matrix import on_a_mac
from toolkit.runtimes.framework import CoremlFramework, FrameworkError


def pytest_configure():
    on_a_mac.enter()
    CoremlFramework.probe = probe_here


def probe_here(framework, compiled, units, function, example):
    """The first prediction in this process, where a crash is not to be feared, and a child would be no Mac."""
    try:
        example.predict(framework.load(compiled, units, function))
    except (FrameworkError, RuntimeError) as error:
        return str(error)
    return ""


def pytest_unconfigure():
    on_a_mac.stack.close()
