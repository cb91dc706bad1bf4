"""Writing one result file: whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import OutputError

_NEXT_STEP = "Give a file in a writable folder with enough space."
_FOLDER_STEP = "Give a writable folder, or one that can be made."
_PREFIX_CHARACTERS = 40  # of a temporary file's name, so that a name of the greatest length has one too


def check_output(path: Path) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        OutputError: the folder is missing or read-only, the path is a folder, or no name that the system takes.
    """
    with disk_errors(path):
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    if is_folder:
        raise OutputError(f"cannot write {path}: it is a folder", _NEXT_STEP)
    if not has_parent:
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}", _NEXT_STEP)
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is read-only", _NEXT_STEP)


def check_folder(path: Path) -> None:
    """Refuse a folder that could not be made, or written to, before any work is done.

    Raises:
        OutputError: it, or the folder it would be made in, is read-only or no folder.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if _exists(place))
    if not nearest.is_dir():
        raise OutputError(f"cannot write to {path}: {nearest} is not a folder", _FOLDER_STEP)
    if not os.access(nearest, os.W_OK):
        raise OutputError(f"cannot write to {path}: the folder {nearest} is read-only", _FOLDER_STEP)


def _exists(place: Path) -> bool:
    with disk_errors(place):
        return place.exists() or place.is_symlink()


def write_text(path: Path, text: str) -> None:
    """Write a file, so that a reader sees the old one or the new one, whole.

    Raises:
        OutputError: the disk refused it.
    """
    with replacing(path) as temporary, disk_errors(path):
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path` that takes its place when the context ends well, and is removed when it does not.

    Raises:
        OutputError: as `check_output`; or the disk refused it.
    """
    check_output(path)
    with disk_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_PREFIX_CHARACTERS]}.")
    os.close(handle)
    try:
        yield Path(name)
        with disk_errors(path):
            os.chmod(name, 0o666 & ~_umask())  # mkstemp's own mode is 0600
            os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextlib.contextmanager
def disk_errors(name: Path | str) -> Iterator[None]:
    """Turn what the system refuses into one line that names the file; a reader that has left a pipe stays an error.

    Raises:
        OutputError: an OSError other than BrokenPipeError.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {name}: {error.strerror or error}", _NEXT_STEP) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
