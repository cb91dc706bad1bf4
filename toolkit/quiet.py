"""coremltools, imported and called without its log lines, warnings and progress bars."""

import contextlib
import importlib
import importlib.util
import io
import logging
import platform
import warnings
from collections.abc import Iterator
from typing import Any

from toolkit.errors import UnsupportedError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence stderr, warnings and the `coremltools` logger; exceptions pass."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def coremltools() -> Any:
    """The coremltools module. Off macOS it complains at import about its missing native module; we know."""
    with quiet():
        return importlib.import_module("coremltools")


def native_module_error() -> str | None:
    """Why coremltools' native module for Core ML does not load on this Mac; None where it does.

    coremltools logs the cause when it is imported, and goes on without the module: `MLModel.__proxy__` is None then.
    """
    package = coremltools()
    running = f"Python {platform.python_version()} on {platform.machine()}"
    try:
        importlib.import_module(f"{package.__name__}.libcoremlpython")
    except ModuleNotFoundError:
        return f"coremltools {package.__version__} was installed without its module libcoremlpython, for {running}"
    except ImportError as error:
        cause = str(error).partition("\n")[0]
        return f"coremltools' libcoremlpython is damaged or made for another Python than {running} ({cause})"
    return None


def check_package_writer() -> None:
    """Refuse to convert where coremltools cannot write packages.

    Raises:
        UnsupportedError: coremltools was installed without its native storage library, as on Linux Arm, for which
            coremltools 9.0 has no wheel.
    """
    package = coremltools().__name__
    if importlib.util.find_spec(f"{package}.libmilstoragepython") is None:
        raise UnsupportedError(
            "coremltools cannot write packages on this machine: its library libmilstoragepython is missing",
            "Convert on a Mac or on Linux x86-64; `infer` and `compare --bundle` run the bundle here.",
        )
