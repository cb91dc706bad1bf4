"""Writing one result file: whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from toolkit.errors import OutputError

_NEXT_STEP = "Give a file in a writable folder with enough space."


def check_output(path: Path) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        OutputError: the folder is missing or read-only, or the path is a folder.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder", _NEXT_STEP)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}", _NEXT_STEP)
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is read-only", _NEXT_STEP)


def write_text(path: Path, text: str) -> None:
    """Write a file through a temporary one beside it, so that a reader sees the old one or the new one, whole.

    Raises:
        OutputError: the disk refused it.
    """
    check_output(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's own mode is 0600
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", _NEXT_STEP) from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
