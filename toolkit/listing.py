"""Files of a folder by relative name, and a check that they are the files themselves."""

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.errors import CheckpointError
from toolkit.mac_files import is_clutter

# How a file begins that stands for one in Git LFS.
_POINTER = b"version https://git-lfs"
_LEVELS = 5  # of folders that are listed; a repository has fewer


def files_below(folder: Path, levels: int = _LEVELS) -> Iterator[str]:
    """Files of a folder, but for macOS' clutter and what lies in hidden folders, as .git, or deeper than `levels`.

    A folder that may not be read counts as empty: what it should have held is then reported as missing.
    """
    try:
        items = [item for item in folder.iterdir() if not is_clutter(Path(item.name))]
    except PermissionError:
        return
    for item in items:
        if item.is_file():
            yield item.name
        elif levels > 1 and item.is_dir() and not item.name.startswith("."):
            yield from (posixpath.join(item.name, name) for name in files_below(item, levels - 1))


def check_files(name: str, folder: Path, files: Iterable[str]) -> None:
    """Refuse a file that is not there, or is the pointer of Git LFS to it.

    Raises:
        CheckpointError: names the first such file.
    """
    for file in files:
        path = folder / file
        if not path.is_file():
            raise CheckpointError(f"{name} has no file {file}", "Download it again.")
        with path.open("rb") as stream:
            pointer = stream.read(len(_POINTER)) == _POINTER
        if pointer:
            raise CheckpointError(
                f"{name}: {file} is a pointer of Git LFS, not the file itself",
                "Run `git lfs pull` in the folder, or fetch it with `hf download`.",
            )
