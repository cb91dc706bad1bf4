"""The manifest: the one schema between `convert`, which writes it, and everything that reads a bundle."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import BundleError
from toolkit.spec import Compression, ComputeUnits, FunctionSpec, Precision, Tensor, TensorInfo

MANIFEST = "manifest.json"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorEntry(_Entry):
    """An input, output or state; `meaning` says what it holds and in which unit."""

    name: str
    dtype: Literal["float32", "float16", "int32", "bool"]
    shape: tuple[int, ...]
    meaning: str

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorEntry":
        """The entry of a declared tensor."""
        return cls(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, meaning=tensor.meaning)

    @property
    def info(self) -> TensorInfo:
        """Its dtype and shape."""
        return TensorInfo(self.dtype, self.shape)


class FunctionEntry(_Entry):
    """One entry point of a package; `main` when it has one only."""

    name: str
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    states: tuple[TensorEntry, ...] = ()

    @classmethod
    def of(cls, function: FunctionSpec) -> "FunctionEntry":
        """The entry of a declared function."""
        return cls(
            name=function.name,
            inputs=tuple(map(TensorEntry.of, function.inputs)),
            outputs=tuple(map(TensorEntry.of, function.outputs)),
            states=tuple(map(TensorEntry.of, function.states)),
        )


class ParityEntry(_Entry):
    """Package against eager wrapper on real audio, worst of all calls, for one output of one function."""

    function: str
    output: str
    calls: int
    max_abs: float | None  # None: could not be compared, or not finite
    mean_abs: float | None
    rel_l2: float | None
    psnr_db: float | None  # None: equal to the last bit, or as above
    cosine: float | None
    non_finite: int
    mismatches: int = 0  # integer outputs: elements that differ
    gate: str
    passed: bool


class PackageEntry(_Entry):
    """One `.mlpackage`; `functions` maps our function names to the names inside the file."""

    file: str
    sha256: str
    size_bytes: int
    functions: dict[str, str]


class ComponentEntry(_Entry):
    """One component: one package, or one a function where the target has no multifunction packages.

    `sources` maps every module of ours that decides what it computes to the module's sha256 (toolkit.bundle.sources).
    """

    name: str
    packages: tuple[PackageEntry, ...]
    fingerprint: str
    sources: dict[str, str] = Field(min_length=1)
    precision: Precision
    compression: Compression
    compute_units: ComputeUnits = "ALL"
    functions: tuple[FunctionEntry, ...]
    parity: tuple[ParityEntry, ...] = ()

    def function(self, name: str) -> FunctionEntry:
        """The function of this name."""
        return next(f for f in self.functions if f.name == name)

    def package(self, function: str) -> PackageEntry:
        """The package that holds this function."""
        return next(p for p in self.packages if function in p.functions)


class AssetEntry(_Entry):
    """A host file: tokenizer, mel filters, voices."""

    file: str
    sha256: str


class CheckpointEntry(_Entry):
    """Where the weights come from.

    `id` is a hub id, `demo`, or the name of a folder or file; `revision` a commit of the hub. `sha256` is of the
    weights as they were converted. A checkpoint of another `format` than transformers' has its own files in `origin`,
    each with its sha256.
    """

    id: str
    kind: Literal["hub", "folder", "file", "demo"]
    revision: str | None
    sha256: str
    location: str
    format: str = "transformers"
    origin: dict[str, str] = {}


class Manifest(_Entry):
    """All that the host needs to run a bundle. `host` holds the constants that the model's own schema checks."""

    schema_version: Literal[1]
    model: str
    task: Literal["transcription", "alignment", "synthesis"]
    checkpoint: CheckpointEntry
    target: str
    options: dict[str, Any]
    components: tuple[ComponentEntry, ...]
    assets: tuple[AssetEntry, ...]
    host: dict[str, Any]
    versions: dict[str, str]

    @property
    def text(self) -> str:
        """The content of `manifest.json`."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def files(self) -> tuple[str, ...]:
        """The packages and assets that it names."""
        return (*(p.file for c in self.components for p in c.packages), *(a.file for a in self.assets))

    def component(self, name: str) -> ComponentEntry | None:
        """The component of this name, or None."""
        return next((c for c in self.components if c.name == name), None)


def manifest_in(file: Path, step: str) -> Manifest:
    """Read and check a `manifest.json`.

    Args:
        file: its path.
        step: what to do where it cannot be used.

    Raises:
        BundleError: it cannot be read, or is not what the schema says.
    """
    try:
        return Manifest.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{file}: {where}: {first['msg']}", step) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{file} cannot be read: {error}", step) from error
