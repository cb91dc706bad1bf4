"""Where a checkpoint's files are: a folder, a file, or a repository of the hub.

Of a repository, only what is asked for is fetched.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from toolkit.errors import CheckpointError
from toolkit.hub import HUB_SCHEME, open_hub
from toolkit.listing import check_files, files_below

_LEVELS_BESIDE_A_FILE = 2  # its own folder may be a large one, such as the user's downloads


class Source(Protocol):
    """A listing of files, and a way to have some of them on this machine.

    Attributes:
        name: as the user gave it.
        kind: what it is.
        location: finds the same source again, together with `revision`.
        revision: the hub's commit; None for what lies on this machine.
        files: relative names with `/`, in alphabetical order.
        entry: the one file that the user named, relative; empty where all of it was named.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def kind(self) -> Literal["hub", "folder", "file"]: ...  # noqa: D102

    @property
    def location(self) -> str: ...  # noqa: D102

    @property
    def revision(self) -> str | None: ...  # noqa: D102

    @property
    def files(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def entry(self) -> str: ...  # noqa: D102

    def fetch(self, names: Iterable[str]) -> Path:
        """Have these files on this machine.

        Returns:
            The folder that holds them under the same relative names, possibly with others.

        Raises:
            CheckpointError: one is not there, cannot be fetched, or is the pointer of Git LFS to a file.
        """


@dataclass(frozen=True)
class LocalSource:
    """A folder, or one file in it."""

    name: str
    kind: Literal["folder", "file"]
    location: str
    folder: Path
    files: tuple[str, ...]
    entry: str = ""
    revision: None = None

    def fetch(self, names: Iterable[str]) -> Path:
        """The folder itself; the files are checked."""
        check_files(self.name, self.folder, names)
        return self.folder


def open_source(name: str, revision: str | None = None) -> Source:
    """List the files of a checkpoint; nothing is fetched but the listing.

    Args:
        name: folder, file, hub id (`OWNER/REPO`), or `hf://OWNER/REPO[/FILE][@REVISION]`.
        revision: branch, tag or commit, for the hub only.

    Raises:
        CheckpointError: there is no such thing, or the hub cannot be reached and has nothing in its cache here.
    """
    if name.startswith(HUB_SCHEME):
        return open_hub(name, *_parts(name, revision))
    path = Path(name)
    if path.exists() and revision:
        raise CheckpointError(f"--revision belongs to hub ids, {name} is on this machine", "Leave --revision out.")
    if path.is_dir():
        files = tuple(sorted(files_below(path.resolve())))
        return LocalSource(name, "folder", str(path.resolve()), path.resolve(), files)
    if path.is_file():
        file = path.resolve()
        files = tuple(sorted(files_below(file.parent, _LEVELS_BESIDE_A_FILE)))
        return LocalSource(name, "file", str(file), file.parent, files, file.name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"no folder {name}", "Give a folder that exists, a hub id (owner/name) or `demo`.")
    return open_hub(name, name, "", revision)


def is_in(source: Source, name: str) -> bool:
    """Whether a source lists a file."""
    return name in source.files


def read_json(source: Source, name: str) -> dict[str, Any]:
    """One JSON object of a source.

    Raises:
        CheckpointError: it is not there, or no JSON object.
    """
    file = source.fetch([name]) / name
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        empty = "is empty" if not file.stat().st_size else "is damaged or incomplete: it is not JSON"
        raise CheckpointError(f"{source.name}: {name} {empty}", "Download it again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{source.name}: {name} is not a JSON object", "Download it again.")
    return content


def fetch_small_files(source: Source, names: Iterable[str]) -> dict[str, Path]:
    """Have those of these small files on this machine that the source has; the ones in JSON are checked to be that.

    Returns:
        Each file's path by its name.

    Raises:
        CheckpointError: one cannot be fetched, or is no JSON object.
    """
    present = [name for name in names if is_in(source, name)]
    for name in present:
        if name.endswith(".json"):
            read_json(source, name)
    folder = source.fetch(present)
    return {name: folder / name for name in present}


def _parts(name: str, revision: str | None) -> tuple[str, str, str | None]:
    """Repository, file and revision of an `hf://` name."""
    path, _, pinned = name.removeprefix(HUB_SCHEME).partition("@")
    owner, _, rest = path.partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise CheckpointError(f"{name} names no repository", "Write hf://OWNER/REPO/FILE@REVISION.")
    if pinned and revision and pinned != revision:
        raise CheckpointError(f"{name} and --revision {revision} name two revisions", "Leave one of them out.")
    return f"{owner}/{repository}", file, pinned or revision
