"""The hub: a repository's listing, its files in the hub's cache, and its refusals in one line each."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import CheckpointError
from toolkit.listing import check_files, files_below

HUB_SCHEME = "hf://"


class HubRefused(CheckpointError):
    """The hub did not answer, or wants a token; what is in its cache here may do."""


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

        quiet_in_a_pipe()
        names, root = list(names), None
        for name in names:
            with hub_errors(self.repository, self.revision):
                file = Path(hf_hub_download(self.repository, name, revision=self.revision))
            root = file.parents[name.count("/")]
        if root is None:
            raise CheckpointError(f"{self.name} has no file to fetch", "Check the name of the repository.")
        check_files(self.name, root, names)
        return root


def open_hub(name: str, repository: str, entry: str, revision: str | None) -> HubSource:
    """List a repository; without the hub, what its cache on this machine has of it.

    Args:
        name: as the user gave it.
        repository: OWNER/NAME.
        entry: the one file that was named; empty for all.
        revision: branch, tag or commit.

    Raises:
        CheckpointError: it is not there, or the hub cannot be reached and has nothing in its cache here.
    """
    from huggingface_hub import HfApi

    try:
        with hub_errors(repository, revision):
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
    return HubSource(name, repository, snapshots[-1].name, tuple(sorted(files_below(snapshots[-1]))), entry)


def quiet_in_a_pipe() -> None:
    """Leave out the hub client's progress bars where stderr is no terminal."""
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if not sys.stderr.isatty():
        disable_progress_bars()


@contextmanager
def hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn the hub's refusals into one line with the next step."""
    from huggingface_hub import errors

    network = errors.HTTPError  # type: ignore[attr-defined]  # what its HTTP client raises, whichever that is

    try:
        yield
    except errors.HFValidationError as error:
        raise CheckpointError(f"'{repository}' is no hub id", "Give OWNER/NAME, or a folder.") from error
    except errors.GatedRepoError as error:
        raise HubRefused(
            f"{repository} is gated", "Accept its terms on its page, and set HF_TOKEN to a token of your account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no public {repository}", "Check the name; for a private or gated one set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no revision {revision}", "Check the name of the revision.") from error
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repository, error) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{repository} lacks a file that it lists", "Try another revision.") from error
    except (network, OSError) as error:
        raise _unreachable(repository, error) from error


def _unreachable(repository: str, error: Exception) -> HubRefused:
    from huggingface_hub import is_offline_mode

    offline = " since HF_HUB_OFFLINE is set" if is_offline_mode() else ""
    return HubRefused(
        f"cannot fetch {repository} from the hub{offline} ({type(error).__name__})",
        "Check the network, or give a folder (or, for a checkpoint, `demo`).",
    )
