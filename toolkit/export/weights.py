"""Weight files, judged by their headers before a model is made of them."""

import posixpath
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from toolkit.errors import CheckpointError
from toolkit.export.source import Source, read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_AGAIN = "Download it again, for example with `hf download`."


def weight_files(source: Source, folder: str = "") -> list[str]:
    """The weight files of one model: a single one, or all shards of its index.

    Args:
        source: lists the files.
        folder: of the model within the source; empty for the top.

    Returns:
        Relative names; empty where there is neither.

    Raises:
        CheckpointError: a shard that the index names is missing, or shards have no index.
    """
    index = posixpath.join(folder, INDEX)
    if index in source.files:
        named = read_json(source, index).get("weight_map")
        if not isinstance(named, dict) or not named or not all(isinstance(v, str) for v in named.values()):
            raise CheckpointError(f"{source.name}: {index} has no weight_map", _AGAIN)
        shards = sorted({posixpath.join(folder, file) for file in named.values()})
        if missing := [file for file in shards if file not in source.files]:
            raise CheckpointError(
                f"{source.name} lacks {len(missing)} of {len(shards)} weight files, {missing[0]} for one", _AGAIN
            )
        return shards
    single = posixpath.join(folder, WEIGHTS)
    if single in source.files:
        return [single]
    here = [file for file in source.files if posixpath.dirname(file) == folder and file.endswith(".safetensors")]
    if any("-of-" in file for file in here):
        raise CheckpointError(f"{source.name} has shards of weights but no {index}", _AGAIN)
    return []


def fetch_weights(source: Source) -> dict[str, Path]:
    """Have the weight files of a model on this machine, whole.

    Returns:
        Each file's path by its name: a single file, or shards behind their index.

    Raises:
        CheckpointError: there are none in safetensors, or one is missing or damaged.
    """
    weights = weight_files(source)
    if not weights:
        raise _no_weights(source)
    index = [INDEX] if INDEX in source.files else []
    folder = source.fetch([*index, *weights])
    check_weight_files(source.name, folder, weights)
    return {name: folder / name for name in (*index, *weights)}


def _no_weights(source: Source) -> CheckpointError:
    if pickles := [file for file in source.files if file.endswith(_PICKLES)]:
        return CheckpointError(
            f"{source.name} has no .safetensors weights ({pickles[0]} is a pickle)",
            "Load it where it was trained, and `model.save_pretrained(folder)`; pickles are not read.",
        )
    return CheckpointError(
        f"{source.name} has no .safetensors weights, model.safetensors or shards with their index",
        "Save it with `model.save_pretrained(folder)`, or download it again; pickles are not read.",
    )


def check_weight_files(name: str, folder: Path, files: Iterable[str]) -> None:
    """Check that files are whole safetensors; only their headers are read.

    Raises:
        CheckpointError: one is empty, cut short, or something else.
    """
    for file in files:
        path = folder / file
        if not path.stat().st_size:
            raise CheckpointError(f"{name}: {file} is empty", _AGAIN)
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{name}: {file} is damaged or incomplete ({path.stat().st_size:,} bytes)", _AGAIN
            ) from error
