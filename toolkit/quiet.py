"""coremltools, imported and called without its log lines, warnings and progress bars."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any


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
