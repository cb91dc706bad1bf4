"""Sending a bundle to the hub: one repository, one commit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.bundle.manifest import MANIFEST, Manifest
from toolkit.errors import CheckpointError, PublishError
from toolkit.hub import HubRefused, hub_errors, quiet_in_a_pipe
from toolkit.publish.files import Files
from toolkit.publish.licence import CARD, LICENCE_FILES

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_OTHER = "Give --repo the name of a new repository."
_HARMLESS = (".gitattributes", CARD, *LICENCE_FILES)
_TOKEN_STEP = "Run `hf auth login`, or set HF_TOKEN to a token that may write."  # noqa: S105  # no password
_NETWORK_STEP = "Check the network, and run the same command again; nothing was published."
_REFUSED = (401, 403)


@dataclass(frozen=True)
class Present:
    """What a repository holds before the upload: its commit, and the files of the bundle in it."""

    commit: str
    of_bundle: tuple[str, ...]


def check_token() -> None:
    """Refuse to begin without a token of the hub.

    Raises:
        PublishError: there is none.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise PublishError("there is no token of the hub", _TOKEN_STEP)


def publish(repository: str, manifest: Manifest, files: Files, *, private: bool) -> str:
    """Create the repository where it is not there, and replace the bundle in it with one commit.

    Args:
        repository: OWNER/NAME.
        manifest: of the bundle.
        files: all that is to be in the repository.
        private: create a private repository; one that is there must be private.

    Returns:
        The address of the commit.

    Raises:
        PublishError: the hub refuses, cannot be reached, or the repository holds something else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    quiet_in_a_pipe()
    api = HfApi()
    present = _present(repository, manifest, private=private)
    with _write_errors(repository):
        if present is None:
            api.create_repo(repository, private=private)  # not exist_ok: who made it since may have made it public
        added = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in files.items()
        ]
        outdated = [name for name in (present.of_bundle if present else ()) if name not in files]
        done = api.create_commit(
            repository,
            [*added, *map(CommitOperationDelete, outdated)],
            commit_message=f"Publish {manifest.model} for Core ML",
            parent_commit=present.commit if present else None,
        )
    return done.commit_url


def _present(repository: str, manifest: Manifest, *, private: bool) -> Present | None:
    """What is in the repository; None where there is none that this token may see."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with _write_errors(repository):
        try:
            info = HfApi().model_info(repository)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None
    if private and not info.private:
        raise PublishError(
            f"{repository} exists and is public", "Make it private on its page, give another --repo, or omit --private."
        )
    files = tuple(sibling.rfilename for sibling in info.siblings or ())
    if MANIFEST not in files:
        if others := [name for name in files if name not in _HARMLESS]:
            raise PublishError(f"{repository} holds something that is not a bundle ({others[0]})", _OTHER)
        return Present(str(info.sha), ())
    model, named = _old_bundle(repository, str(info.sha))
    if model != manifest.model:
        raise PublishError(f"{repository} holds a bundle of {model}, not of {manifest.model}", _OTHER)
    of_bundle = tuple(name for name in files if any(name == f or name.startswith(f"{f}/") for f in named))
    return Present(str(info.sha), of_bundle)


def _old_bundle(repository: str, commit: str) -> tuple[str, tuple[str, ...]]:
    """The model, and the packages and assets, of the bundle in a repository; one of an older schema is read too."""
    from huggingface_hub import hf_hub_download

    with _write_errors(repository):
        file = Path(hf_hub_download(repository, MANIFEST, revision=commit))
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        packages = (package["file"] for component in manifest["components"] for package in component["packages"])
        return str(manifest["model"]), (*packages, *(asset["file"] for asset in manifest["assets"]))
    except (ValueError, LookupError, TypeError) as error:
        raise PublishError(f"{repository} holds a {MANIFEST} that is not a bundle's", _OTHER) from error


@contextmanager
def _write_errors(repository: str) -> Iterator[None]:
    """Turn the hub's refusals of a write into one line with the next step."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        with hub_errors(repository, None):
            try:
                yield
            except RepositoryNotFoundError as error:
                if isinstance(error, GatedRepoError) or error.response.status_code not in _REFUSED:
                    raise
                raise _refusal(repository, error) from error
            except HfHubHTTPError as error:
                raise _refusal(repository, error) from error
            except (ValueError, RuntimeError) as error:  # a card or file that the hub refuses; an upload that broke
                raise _broken(repository, error) from error
    except HubRefused as error:
        raise PublishError(error.message.replace("cannot fetch", "cannot reach"), _NETWORK_STEP) from error
    except CheckpointError as error:
        raise PublishError(error.message, error.next_step) from error


def _broken(repository: str, error: Exception) -> PublishError:
    """An upload that did not reach its commit; the client hides the reason behind the name of the file."""
    reasons = [str(each).rstrip(".") for each in (error, error.__cause__) if each]
    return PublishError(f"the upload to {repository} failed: {': '.join(reasons)}", "Run the same command again.")


def _refusal(repository: str, error: "HfHubHTTPError") -> PublishError:
    status = error.response.status_code
    if status == 401:  # Unauthorized
        return PublishError("the hub does not accept the token", _TOKEN_STEP)
    owner = repository.partition("/")[0]
    if status == 403:  # Forbidden
        return PublishError(f"the token may not write to {repository}", f"Use a token with write access to {owner}.")
    if status == 412:  # the parent commit is no longer the last one
        return PublishError(f"{repository} was changed during the upload", "Run the same command again.")
    said = error.server_message or type(error).__name__
    return PublishError(f"the hub refused {repository} with {status} ({said})", "Try again later.")


def check_repository(name: str) -> None:
    """Refuse what is not OWNER/NAME.

    Raises:
        PublishError: the hub would refuse it, or it has no owner.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise _no_id(name) from error
    if "/" not in name:
        raise _no_id(name)


def _no_id(name: str) -> PublishError:
    return PublishError(f"'{name}' is no name of a repository", "Give --repo OWNER/NAME.")
