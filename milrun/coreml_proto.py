"""Core ML's protobuf messages, without the rest of coremltools.

Importing `coremltools` loads every converter and takes seconds; reading a package needs only the generated messages.
The generated modules import each other relatively, so they are loaded under a package of our own whose path is
coremltools' `proto` folder. Protobuf accepts the same file descriptors twice, so a later `import coremltools` is fine.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

_PACKAGE = "milrun._coreml_messages"


def _messages(name: str) -> Any:
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec("coremltools")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("milrun reads packages with the message definitions of coremltools: install coremltools")
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(Path(next(iter(spec.submodule_search_locations))) / "proto")]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")


# What a damaged message raises, by the implementation of protobuf.
DECODE_ERRORS: tuple[type[Exception], ...] = (DecodeError, RuntimeError)
MIL: Any = _messages("MIL_pb2")
Model: Any = _messages("Model_pb2")
FeatureTypes: Any = _messages("FeatureTypes_pb2")
