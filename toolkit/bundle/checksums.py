"""Checksums of files, packages and JSON values."""

import hashlib
import json
from pathlib import Path
from typing import Any

from toolkit.mac_files import is_clutter

_CHUNK_BYTES = 1 << 22


def sha256_of_path(path: Path) -> str:
    """sha256 of a file, or of a folder: every file's relative path and content, in sorted order, but macOS' clutter."""
    digest = hashlib.sha256()
    if path.is_file():
        _feed(digest, path)
        return digest.hexdigest()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        relative = file.relative_to(path)
        if is_clutter(relative):
            continue
        digest.update(relative.as_posix().encode() + b"\0")
        _feed(digest, file)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """sha256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _feed(digest: Any, file: Path) -> None:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
