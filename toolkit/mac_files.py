"""What macOS does to files: what Finder leaves behind, names that differ in case, `$` in a path for coremltools."""

import os
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath


def is_clutter(path: PurePath) -> bool:
    """Whether macOS left a file behind: Finder's `.DS_Store`, an AppleDouble file `._NAME`, an archive's `__MACOSX`.

    Args:
        path: relative to the folder in question, or a name alone; every part of it counts.
    """
    return any(part in (".DS_Store", "__MACOSX") or part.startswith("._") for part in path.parts)


def colliding(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that are one file on a Mac, whose volumes ignore case and how accents are composed; None if none are.

    Args:
        names: of files in one folder.
    """
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(folded(name), name) != name:
            return seen[folded(name)], name
    return None


def folded(name: str) -> str:
    """A form of a name that is the same for all names that are one file on a Mac."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


@contextmanager
def unexpanded(path: Path) -> Iterator[str]:
    """A path that coremltools' `MLModel` takes as it is: it expands `$VARIABLE` and knows no way to escape it.

    Yields the absolute path, or, where a variable would be put in, that of a link to it in a temporary folder. The
    link goes when the block ends; a loaded model no longer needs it. `CompiledMLModel` expands nothing.

    Args:
        path: of a package.
    """
    absolute = os.path.abspath(path)
    if os.path.expandvars(absolute) == absolute:
        yield absolute
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{path.suffix}"
        link.symlink_to(absolute)
        yield str(link)
