"""The place of a bundle: how a new one takes the name of an old one, and what a killed process left of that.

No system call that Python has exchanges two folders, so the old one is renamed first. Between the two renames nothing
has the bundle's name; whoever comes then waits for the writer, or finishes what a killed one began.
"""

import contextlib
import shutil
from pathlib import Path

from toolkit.errors import OutputError
from toolkit.lock import one_writer


def place_of(output: Path) -> Path:
    """The folder that an output names: of a link, what it leads to, so that all its names have one lock.

    Raises:
        OutputError: it has no name of its own that another folder could take.
    """
    if output.name in ("", ".."):
        raise OutputError(f"{output} cannot be replaced as a whole", "Give --output a folder with a name of its own.")
    return output.resolve() if output.is_symlink() else output


def staging_of(place: Path) -> Path:
    """Where the bundle for a place is put together."""
    return place.with_name(place.name + ".partial")


def _former(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def take_place(fresh: Path, place: Path) -> None:
    """Give a finished folder the name of a place; call it with the place's lock held.

    Raises:
        OSError: the disk refuses; what was in the place is there again.
    """
    tidy(place)
    if place.exists():
        place.rename(_former(place))
    try:
        fresh.rename(place)
    finally:
        tidy(place)


def tidy(place: Path) -> None:
    """After an exchange that was cut off: the former bundle has its name again, or goes where there is a new one."""
    former = _former(place)
    if not former.exists():
        return
    if place.exists() and any(place.iterdir()):
        shutil.rmtree(former, ignore_errors=True)
    else:
        former.rename(place)


def wait_for(place: Path) -> None:
    """If a bundle is between two names, wait for the process that moves it, or take it back from one that died."""
    if place.exists() or not _former(place).exists():
        return
    with contextlib.suppress(OSError), one_writer(place):
        tidy(place)
