"""Where the toolkit keeps what it made once and finds again; may be deleted at any time."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from toolkit.lock import one_writer

CACHE_VARIABLE = "SPEECH_COREML_CACHE"


def cache_folder(kind: str) -> Path:
    """`$SPEECH_COREML_CACHE/KIND`, or a folder of that name in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().resolve() / kind
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "speech-coreml" / kind


def made_once(folder: Path, is_whole: Callable[[Path], bool], make: Callable[[Path], None]) -> bool:
    """Make a folder unless it is there and whole; a second process that needs it waits for the first.

    Args:
        folder: its place. What is there and not whole is removed.
        is_whole: whether a folder was finished.
        make: fills an empty folder beside `folder`, which then moves to its place with one rename.

    Returns:
        Whether it was made now.

    Raises:
        OSError: the disk refuses it.
    """
    if is_whole(folder):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.partial")
    with one_writer(folder):
        if is_whole(folder):
            return False
        shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed
        fresh.mkdir()
        try:
            make(fresh)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return True
