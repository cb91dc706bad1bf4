"""The files of a bundle that are published: what its manifest names, the manifest, the card, the licence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import MANIFEST, Manifest
from toolkit.publish.licence import CARD

Files = dict[str, Path | bytes]
"""Name in the repository -> its content."""


def published_manifest(manifest: Manifest) -> Manifest:
    """The manifest without the paths of this machine: a checkpoint's folder, and folders given as options."""
    checkpoint = manifest.checkpoint
    if checkpoint.kind in ("folder", "file"):
        checkpoint = checkpoint.model_copy(update={"location": checkpoint.id})
    options = {name: _without_folder(value) for name, value in manifest.options.items()}
    return manifest.model_copy(update={"checkpoint": checkpoint, "options": options})


def published_files(bundle: Bundle, manifest: Manifest, card: str, licence: bytes | None) -> Files:
    """All files to upload, the bundle's in the order of its manifest; never a hidden file or a compiled model."""
    named: Files = {name: bundle.path / name for file in manifest.files for name in _names(bundle.path, file)}
    own: Files = {MANIFEST: manifest.text.encode(), CARD: card.encode()}
    return named | own | ({"LICENSE": licence} if licence else {})


def size_of(content: Path | bytes) -> int:
    """Bytes of a file."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _names(folder: Path, file: str) -> Iterator[str]:
    """The file itself, or the files below a package."""
    path = folder / file
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    for item in found:
        name = item.relative_to(folder)
        if item.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
