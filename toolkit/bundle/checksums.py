"""Checksums of files, packages and of the code that makes a component."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_CHUNK_BYTES = 1 << 22


def sha256_of_path(path: Path) -> str:
    """sha256 of a file, or of a folder: every file's relative path and content, in sorted order."""
    digest = hashlib.sha256()
    if path.is_file():
        _feed(digest, path)
        return digest.hexdigest()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        _feed(digest, file)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """sha256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def sources_sha256(model: str) -> str:
    """sha256 of the code that decides what a model's packages compute: its export module and all wrappers."""
    digest = hashlib.sha256()
    package = _ROOT / "models" / model.replace("-", "_") / "export.py"
    for file in [package, *sorted((_ROOT / "wrappers").glob("*.py")), *sorted((_ROOT / "toolkit/export").glob("*.py"))]:
        _feed(digest, file)
    return digest.hexdigest()


def _feed(digest: Any, file: Path) -> None:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
