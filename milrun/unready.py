"""Files that stand for a model and are not one yet: Git LFS pointers and zip archives.

Source: the Git LFS specification (docs/spec.md of git-lfs): a pointer is lines of text, `version`, `oid` and `size`.
"""

import re
import shlex
import zipfile
from pathlib import Path, PurePosixPath

from milrun.errors import PackageError

_POINTER = b"version https://git-lfs.github.com/spec"
_POINTER_BYTES = 1024  # the specification's limit
_SIZE = re.compile(rb"^size (\d{1,19})$", re.MULTILINE)
_ZIP = b"PK\x03\x04"
_MODELS = (".mlpackage", ".mlmodelc", ".mlmodel")
_PACKAGE_PARTS = ("Manifest.json", "model.mil", "coremldata.bin")
_SHOWN = 3


def refuse_pointer(file: Path) -> None:
    """Refuse a file that Git LFS has not fetched; one that cannot be read is left to the reader.

    Raises:
        PackageError: the file is a pointer.
    """
    start = _first_bytes(file, _POINTER_BYTES)
    if not start.startswith(_POINTER):
        return
    size = _SIZE.search(start)
    promised = f"the {int(size.group(1)):,} bytes" if size else "the content"
    raise PackageError(
        f"{file} is a Git LFS pointer, not {promised} that it stands for: run `git lfs pull` in its repository"
    )


def refuse_archive(file: Path) -> None:
    """Refuse a zip archive, whatever its name.

    Raises:
        PackageError: the file is one; the message names the models inside and the command that unpacks them.
    """
    if _first_bytes(file, len(_ZIP)) != _ZIP:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise PackageError(f"{file} is a damaged zip archive ({error}): download it again") from error
    raise PackageError(f"{file} is a zip archive {_contents(file, names)}")


def _contents(file: Path, names: list[str]) -> str:
    if set(_PACKAGE_PARTS) & set(names):
        suffix = ".mlpackage" if "Manifest.json" in names else ".mlmodelc"
        into = file.parent / f"unpacked{suffix}"
        return f"of the parts of a model: unpack it with `{_command(file, into)}` and load {into}"
    if models := _models(names):
        listed = ", ".join(ascii(name) for name in models[:_SHOWN])
        more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
        into = file.parent / "unpacked"
        return f"that holds {listed}{more}: unpack it with `{_command(file, into)}` and load a model in {into}"
    return f"that holds no Core ML model, but {', '.join(ascii(name) for name in names[:_SHOWN]) or 'nothing'}"


def _models(names: list[str]) -> list[str]:
    """The outermost path of each model, in the archive's order."""
    found: dict[str, None] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        depth = next((i for i, part in enumerate(parts, 1) if part.endswith(_MODELS)), 0)
        if depth and parts[0] != "__MACOSX":
            found["/".join(parts[:depth])] = None
    return list(found)


def _command(file: Path, into: Path) -> str:
    return f"python -m zipfile -e {shlex.quote(str(file))} {shlex.quote(str(into))}"


def _first_bytes(file: Path, count: int) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(count)
    except OSError:
        return b""
