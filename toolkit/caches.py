"""Where the toolkit keeps what it can make again."""

import os
from pathlib import Path
from typing import Literal

CACHE_VARIABLE = "SPEECH_COREML_CACHE"


def cache_folder(kind: Literal["checkpoints", "compiled"]) -> Path:
    """A folder in `$SPEECH_COREML_CACHE`, or in the user's cache; may be deleted at any time.

    Args:
        kind: what it holds: translated checkpoints, or compiled models of bundles that cannot be written.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().resolve() / kind
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "speech-coreml" / kind
