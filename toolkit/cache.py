"""Where the toolkit keeps what it made once and finds again; may be deleted at any time."""

import os
from pathlib import Path

CACHE_VARIABLE = "SPEECH_COREML_CACHE"


def cache_folder(kind: str) -> Path:
    """`$SPEECH_COREML_CACHE/KIND`, or a folder of that name in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().resolve() / kind
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "speech-coreml" / kind
