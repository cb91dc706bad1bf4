"""A `.nemo` file: a tar of a configuration, a SentencePiece model and the weights, read without NeMo.

The archive comes from strangers. Nothing of it is written but the weights, into a folder of ours under a name of ours;
links, paths and what is larger than the file can hold are refused. Source: NeMo 2.7.3,
core/connectors/save_restore_connector.py.
"""

import gzip
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import CheckpointError
from toolkit.quiet import quiet

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_SMALL_BYTES = 64 * 2**20  # more than any configuration or tokenizer has
_GROWTH = 20  # times that a gzipped archive may grow; trained weights do not even double
_MEMBERS = 1000
_CHUNK_BYTES = 2**20
_AGAIN = "Download it again, or save it again with `model.save_to('name.nemo')`."


@dataclass(frozen=True)
class NemoArchive:
    """A `.nemo` file whose table of contents was checked.

    Attributes:
        path: the file.
        members: plain name -> its entry in the tar.
    """

    path: Path
    members: Mapping[str, tarfile.TarInfo]

    def read(self, name: str) -> bytes:
        """A small member, such as the configuration.

        Raises:
            CheckpointError: it is not there, too large or cut short.
        """
        size = self._member(name).size
        if size > _SMALL_BYTES:
            raise CheckpointError(f"{self.path.name}: {name} has {size:,} bytes, {_SMALL_BYTES:,} are allowed", _AGAIN)
        content = b"".join(self._chunks(name))
        if len(content) != size:
            raise CheckpointError(f"{self.path.name}: {name} is cut short", _AGAIN)
        return content

    def tensors(self, folder: Path) -> dict[str, Any]:
        """The weights, through torch's restricted unpickler: tensors in plain containers, and no code.

        Args:
            folder: where the weights are unpacked for as long as they are read; they stay mapped after that.

        Raises:
            CheckpointError: damaged, or anything but a table of tensors.
        """
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            file = Path(unpacked) / "weights"
            with file.open("wb") as output:
                output.writelines(self._chunks(WEIGHTS))
            if file.stat().st_size != self._member(WEIGHTS).size:
                raise CheckpointError(f"{self.path.name}: {WEIGHTS} is cut short", _AGAIN)
            return self._checked(_loaded(self.path.name, file))

    def _checked(self, content: Any) -> dict[str, Any]:
        import torch

        if not isinstance(content, dict) or not content:
            raise CheckpointError(f"{self.path.name}: {WEIGHTS} is no table of tensors", _AGAIN)
        for name, tensor in content.items():
            if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
                raise CheckpointError(f"{self.path.name}: {name} in {WEIGHTS} is no tensor", _AGAIN)
        return dict(content)

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self.members:
            raise CheckpointError(f"{self.path.name} holds no {name}", _AGAIN)
        return self.members[name]

    def _chunks(self, name: str) -> Iterator[bytes]:
        """The content of a member; errors of whoever writes it are not taken for damage here."""
        member = self._member(name)
        with _reading(self.path), _tar(self.path) as tar:
            stream = tar.extractfile(member)
            assert stream is not None  # `open_archive` keeps regular files only
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


def open_archive(path: Path) -> NemoArchive:
    """Read and check the table of contents.

    Args:
        path: a tar, or a gzipped one.

    Raises:
        CheckpointError: no such archive, cut short, or with members that no `.nemo` has.
    """
    with _reading(path), _tar(path) as tar:
        members = {member.name: member for member in _plain_members(path, tar)}
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            step = "Give a .nemo of one model as `save_to` of NeMo writes it, with its weights in one file."
            raise CheckpointError(f"{path.name} holds no {name}", step)
    return NemoArchive(path, members)


def _plain_members(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular files with a plain name; their sizes together fit into the file."""
    left, seen = _room(path), set[str]()
    for count, member in enumerate(tar):
        left -= max(member.size, 0)
        if member.size < 0 or left < 0 or count >= _MEMBERS:
            raise CheckpointError(f"{path.name} declares more than the file can hold, at {member.name[:80]!r}", _AGAIN)
        name = member.name.removeprefix("./")
        if member.isdir() and name in ("", "."):
            continue
        if not member.isreg() or member.issparse() or not _is_plain(name):
            raise CheckpointError(
                f"{path.name} has the member {member.name[:80]!r}, which is no file with a plain name",
                "Do not use this file; get it from its publisher again.",
            )
        if name in seen:
            raise CheckpointError(f"{path.name} holds {name} twice", _AGAIN)
        seen.add(name)
        yield member.replace(name=name, deep=False)


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _room(path: Path) -> int:
    """Bytes that the members may have in all."""
    return path.stat().st_size * (_GROWTH if _is_gzipped(path) else 1)


class _BoundedGzip(gzip.GzipFile):
    """No single read, such as that of a tar's extended header, brings more than the archive may hold."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._most = _room(path)

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    with (
        _BoundedGzip(path) if _is_gzipped(path) else path.open("rb") as stream,
        tarfile.open(fileobj=stream, mode="r:") as tar,
    ):
        yield tar


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path.name} is no whole tar archive ({error})", _AGAIN) from error


def _loaded(name: str, file: Path) -> Any:
    """What torch reads with `weights_only`; whatever it raises, the file is at fault."""
    import torch

    try:
        with quiet():
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # damaged pickles raise errors of any class, from KeyError to struct.error
        first = str(error).strip().partition("\n")[0][:200]
        raise CheckpointError(
            f"{name}: {WEIGHTS} is damaged, or holds more than tensors ({type(error).__name__}: {first})", _AGAIN
        ) from error
