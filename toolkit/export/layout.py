"""The forms in which checkpoints are published beside transformers' own, and how one is brought into that.

A model declares its further forms in `models/<model>/published.py` as `LAYOUTS`. What such a checkpoint becomes, a
folder in transformers' layout, is kept in a cache, so that conversion, reference and comparison all read the same one.
"""

import contextlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from toolkit.bundle.checksums import sha256_of_json
from toolkit.bundle.sources import source_digests
from toolkit.bundle.writer import writing_to
from toolkit.cache import cache_folder, made_once
from toolkit.export.source import Source
from toolkit.model import ModelInfo

_COMPLETE = "translated.json"  # the last file of a folder in the cache


class Foreign(Protocol):
    """A checkpoint of another layout, all its files on this machine and judged."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Every file that decides the result, by a name that does not depend on this machine."""

    def write(self, folder: Path) -> None:
        """Write the checkpoint in transformers' layout: config.json, model.safetensors, tokenizer and processor.

        Args:
            folder: exists and is empty.

        Raises:
            CheckpointError: a tensor is missing or left over, or the files do not fit together.
        """


class Layout(Protocol):
    """One form in which checkpoints of a model are published."""

    @property
    def name(self) -> str:
        """What the manifest calls it, e.g. `nemo`."""

    def open(self, source: Source, options: Mapping[str, Any]) -> Foreign | None:
        """Recognise, judge the small files, then fetch the weights.

        Args:
            source: lists the files.
            options: the model's own of `convert`.

        Returns:
            None where the source is of another form.

        Raises:
            CheckpointError: it is of this form, and cannot be used: damaged, or with what the model's class lacks.
            OptionError: an option that does not fit it.
        """


def layouts_of(model: ModelInfo) -> tuple[Layout, ...]:
    """The further forms of a model's checkpoints; none where it has no module `published`."""
    if importlib.util.find_spec(f"{model.package}.published") is None:
        return ()
    return cast(tuple[Layout, ...], model.module("published").LAYOUTS)


def translated(model: ModelInfo, digests: Mapping[str, str], foreign: Foreign, name: str = "") -> Path:
    """The folder in transformers' layout that a foreign checkpoint becomes, from the cache or made now.

    Args:
        model: its family.
        digests: sha256 of each of the checkpoint's files.
        foreign: the checkpoint.
        name: as the user gave it, for messages about what it became.

    Raises:
        CheckpointError: it cannot be translated.
        OutputError: the cache cannot be written.
    """
    key = sha256_of_json({"files": dict(digests), "by": source_digests([f"{model.package}.published"])})
    folder = cache_folder("checkpoints") / model.id / key[:24]

    def make(fresh: Path) -> None:
        foreign.write(fresh)
        (fresh / _COMPLETE).write_text(json.dumps({"of": name}), encoding="utf-8")

    with writing_to(folder):
        made_once(folder, _is_whole, make)
    return folder


def shown_name(folder: Path) -> str:
    """What the user calls a checkpoint: folders in the caches have hashes for names."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    with contextlib.suppress(OSError, ValueError):
        return Path(json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))["of"]).name or folder.name
    return folder.name


def _is_whole(folder: Path) -> bool:
    """Whether it was finished, and no file that it links to has gone."""
    return (folder / _COMPLETE).is_file() and all(file.exists() for file in folder.rglob("*"))
