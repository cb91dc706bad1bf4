"""Bundles on the hub: `hub:OWNER/NAME[@REVISION]`, fetched into the hub's cache and opened from real files.

In the hub's cache a snapshot is a folder of links to files elsewhere. milrun refuses links that lead out of a package,
and coremltools rewrites the Manifest.json of one that it loads. The files are therefore given second names (hard links,
else copies) in a folder of their own, once per commit.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from toolkit.bundle.checksums import sha256_of_path
from toolkit.bundle.manifest import MANIFEST, Manifest, manifest_in
from toolkit.bundle.writer import link_or_copy, writing_to
from toolkit.cache import cache_folder, made_once
from toolkit.errors import BundleError, CheckpointError
from toolkit.hub import HubSource, open_hub

HUB = "hub:"
FETCHED_STEP = "Ask its owner to publish it again, or make a bundle of your own:"
_NAME = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>.+))?")
_REPUBLISH = "Ask its owner to publish it again, or give another @REVISION."


def is_on_hub(path: Path) -> bool:
    """Whether a bundle is named by its repository."""
    return str(path).startswith(HUB)


def is_fetched(path: Path) -> bool:
    """Whether a folder is one that bundles of the hub are kept in."""
    return path.is_relative_to(_kept())


def fetched_manifest(name: Path) -> Manifest:
    """The manifest of a bundle on the hub; nothing else is fetched.

    Args:
        name: `hub:OWNER/NAME[@REVISION]`.

    Raises:
        BundleError: there is no such bundle, or it cannot be had.
    """
    return _manifest(_open(str(name)))


def fetched_bundle(name: Path) -> Path:
    """The folder of a bundle on the hub, whole and as its manifest says; fetched where this commit is not here yet.

    Args:
        name: `hub:OWNER/NAME[@REVISION]`.

    Raises:
        BundleError: there is no such bundle, it is damaged, or it cannot be had.
        OutputError: the disk refuses it.
    """
    source = _open(str(name))
    folder = _kept() / source.repository.replace("/", "--") / source.revision
    if not _is_whole(folder):
        _keep(source, _manifest(source), folder)
    return folder


def _kept() -> Path:
    return cache_folder("bundles")


def _open(name: str) -> HubSource:
    if not (match := _NAME.fullmatch(name)):
        raise BundleError(f"{name} names no bundle on the hub", "Write hub:OWNER/NAME or hub:OWNER/NAME@REVISION.")
    try:
        return open_hub(name, match["repository"], "", match["revision"])
    except CheckpointError as error:
        raise BundleError(error.message, error.next_step) from error


def _manifest(source: HubSource) -> Manifest:
    if MANIFEST not in source.files:
        raise BundleError(
            f"{source.name} is not a bundle: it has no {MANIFEST}",
            "Give a repository that `convert publish` wrote; a checkpoint is converted first.",
        )
    try:
        return manifest_in(_fetch(source, [MANIFEST]) / MANIFEST, _REPUBLISH)
    except BundleError as error:
        raise BundleError(f"{source.name}: {error.message}", error.next_step) from error


def _fetch(source: HubSource, names: list[str]) -> Path:
    try:
        return source.fetch(names)
    except CheckpointError as error:
        raise BundleError(error.message, error.next_step) from error


def _keep(source: HubSource, manifest: Manifest, folder: Path) -> None:
    """Fetch what the manifest names, check it, and put it in its place with one rename."""
    names = [MANIFEST, *(name for file in manifest.files for name in _listed(source, file))]
    snapshot = _fetch(source, names)

    def make(fresh: Path) -> None:
        for name in names:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy((snapshot / name).resolve(), fresh / name)
        _check(source, manifest, fresh)

    with writing_to(folder):
        made_once(folder, _is_whole, make)


def _is_whole(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _listed(source: HubSource, file: str) -> Iterator[str]:
    """The names of a package's or asset's files in the repository; none of them leads out of a folder."""
    found = [name for name in source.files if name == file or name.startswith(f"{file}/")]
    if not found or any(".." in PurePosixPath(name).parts or name.startswith("/") for name in found):
        raise BundleError(f"{source.name} lacks {file}, which its manifest names", _REPUBLISH)
    yield from found


def _check(source: HubSource, manifest: Manifest, folder: Path) -> None:
    recorded = {p.file: p.sha256 for c in manifest.components for p in c.packages}
    recorded |= {a.file: a.sha256 for a in manifest.assets}
    for file, sha256 in recorded.items():
        if sha256_of_path(folder / file) != sha256:
            raise BundleError(f"{source.name}: {file} is damaged: its checksum is not the manifest's", _REPUBLISH)
