"""Where the toolkit keeps what it made once and finds again; may be deleted at any time."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE_VARIABLE = "SPEECH_COREML_CACHE"


def cache_folder(kind: str) -> Path:
    """`$SPEECH_COREML_CACHE/KIND`, or a folder of that name in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().resolve() / kind
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "speech-coreml" / kind


def put_in_place(fresh: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    """Move a finished folder to its place, unless another process has put the same one there and may be reading it.

    Args:
        fresh: on the same disk as `folder`.
        folder: its place; what is there and not whole is removed.
        is_whole: whether a folder was finished.
    """
    if is_whole(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fresh.rename(folder)
    except OSError:
        if not is_whole(folder):
            raise
