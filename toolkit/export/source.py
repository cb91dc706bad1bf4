"""Where a checkpoint's files are: a folder, a file, or a repository of the hub.

Of a repository, only what is asked for is fetched.
"""

import json
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from toolkit.errors import CheckpointError
from toolkit.mac_files import is_clutter

HUB_SCHEME = "hf://"
# How a file begins that stands for one in Git LFS.
_POINTER = b"version https://git-lfs"
_LEVELS = 5  # of folders that are listed; a repository has fewer
_LEVELS_BESIDE_A_FILE = 2  # its own folder may be a large one, such as the user's downloads


class HubRefused(CheckpointError):
    """The hub did not answer, or wants a token; what is in its cache here may do."""


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
        _check(self.name, self.folder, names)
        return self.folder


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at one commit, or one file in it."""

    name: str
    repository: str
    revision: str
    files: tuple[str, ...]
    entry: str = ""
    kind: Literal["hub"] = "hub"

    @property
    def location(self) -> str:
        """The repository's id, or the `hf://` name of the one file."""
        return f"{HUB_SCHEME}{self.repository}/{self.entry}" if self.entry else self.repository

    def fetch(self, names: Iterable[str]) -> Path:
        """The snapshot's folder in the hub's cache, with these files in it."""
        from huggingface_hub import hf_hub_download

        names, root = list(names), None
        for name in names:
            with _hub_errors(self.repository, self.revision):
                file = Path(hf_hub_download(self.repository, name, revision=self.revision))
            root = file.parents[name.count("/")]
        if root is None:
            raise CheckpointError(f"{self.name} has no file to fetch", "Check the name of the repository.")
        _check(self.name, root, names)
        return root


def open_source(name: str, revision: str | None = None) -> Source:
    """List the files of a checkpoint; nothing is fetched but the listing.

    Args:
        name: folder, file, hub id (`OWNER/REPO`), or `hf://OWNER/REPO[/FILE][@REVISION]`.
        revision: branch, tag or commit, for the hub only.

    Raises:
        CheckpointError: there is no such thing, or the hub cannot be reached and has nothing in its cache here.
    """
    if name.startswith(HUB_SCHEME):
        return _open_hub(name, *_parts(name, revision))
    path = Path(name)
    if path.exists() and revision:
        raise CheckpointError(f"--revision belongs to hub ids, {name} is on this machine", "Leave --revision out.")
    if path.is_dir():
        files = tuple(sorted(_below(path.resolve())))
        return LocalSource(name, "folder", str(path.resolve()), path.resolve(), files)
    if path.is_file():
        file = path.resolve()
        files = tuple(sorted(_below(file.parent, _LEVELS_BESIDE_A_FILE)))
        return LocalSource(name, "file", str(file), file.parent, files, file.name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"no folder {name}", "Give a folder that exists, a hub id (owner/name) or `demo`.")
    return _open_hub(name, name, "", revision)


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


def _below(folder: Path, levels: int = _LEVELS) -> Iterator[str]:
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
            yield from (posixpath.join(item.name, name) for name in _below(item, levels - 1))


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


def _open_hub(name: str, repository: str, entry: str, revision: str | None) -> HubSource:
    from huggingface_hub import HfApi

    try:
        with _hub_errors(repository, revision):
            info = HfApi().model_info(repository, revision=revision)
            files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
            source = HubSource(name, repository, str(info.sha), files, entry)
    except HubRefused as refused:
        source = _cached(name, repository, entry, revision, refused)
    if entry and entry not in source.files:
        raise CheckpointError(f"{repository} has no file {entry}", "Check the name of the file.")
    return source


def _cached(name: str, repository: str, entry: str, revision: str | None, reason: CheckpointError) -> HubSource:
    """What earlier runs left of a repository in the hub's cache: the revision asked for, else what came last."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    kept = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    snapshots = sorted(kept.glob("snapshots/*"), key=lambda folder: folder.stat().st_mtime)
    if revision:
        ref = kept / "refs" / revision
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
        snapshots = [folder for folder in snapshots if folder.name == commit]
    if not snapshots:
        raise reason
    return HubSource(name, repository, snapshots[-1].name, tuple(sorted(_below(snapshots[-1]))), entry)


@contextmanager
def _hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn the hub's refusals into one line with the next step."""
    from huggingface_hub import errors

    network = errors.HTTPError  # type: ignore[attr-defined]  # what its HTTP client raises, whichever that is

    try:
        yield
    except errors.HFValidationError as error:
        raise CheckpointError(f"'{repository}' is no hub id", "Give owner/name, a folder, or `demo`.") from error
    except errors.GatedRepoError as error:
        raise HubRefused(
            f"{repository} is gated", "Accept its terms on its page, and set HF_TOKEN to a token of your account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no public {repository}", "Check the name; for a private or gated model set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no revision {revision}", "Check --revision.") from error
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repository, error) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{repository} lacks a file that it lists", "Try another --revision.") from error
    except (network, OSError) as error:
        raise _unreachable(repository, error) from error


def _unreachable(repository: str, error: Exception) -> HubRefused:
    from huggingface_hub import is_offline_mode

    offline = " since HF_HUB_OFFLINE is set" if is_offline_mode() else ""
    return HubRefused(
        f"cannot fetch {repository} from the hub{offline} ({type(error).__name__})",
        "Check the network, or give --checkpoint a folder or `demo`.",
    )


def _check(name: str, folder: Path, files: Iterable[str]) -> None:
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
