"""Loading a model of transformers so that what it computes with is what the checkpoint holds, or an error.

`from_pretrained` fills a tensor that the checkpoint lacks with random numbers, and prints a table.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import CheckpointError
from toolkit.export.layout import shown_name
from toolkit.export.tensors import refuse_not_finite, refuse_tensors
from toolkit.mac_files import is_clutter
from toolkit.quiet import quiet

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_EXTRACTOR = ("processor_config.json", "preprocessor_config.json")
# What is read by a part of a checkpoint: one file of each group.
_NEEDED = {
    "tokenizer": (_TOKENIZER,),
    "feature extractor": (_EXTRACTOR,),
    "processor": (_EXTRACTOR, _TOKENIZER),
}


def load_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """A model in eval mode and float32, from safetensors only, every tensor of it from the checkpoint.

    Args:
        kind: the class of transformers.
        folder: checkpoint in transformers' layout.
        options: further arguments of `from_pretrained`.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape or not finite; a file is damaged; or the class
            refuses the configuration.
    """
    import torch

    with (
        reading(folder, "cannot be loaded", "Download it again, or save it with `save_pretrained(folder)`."),
        _silent(),
    ):
        model, report = kind.from_pretrained(
            folder,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            **options,
        )
    state = model.state_dict()
    refuse_tensors(
        shown_name(folder),
        len(state),
        missing=report["missing_keys"],
        left=report["unexpected_keys"],
        shapes={tensor: (found, wanted) for tensor, found, wanted in report["mismatched_keys"]},
    )
    refuse_not_finite(shown_name(folder), state)
    return model.eval().requires_grad_(False)


def load_config(kind: Any, folder: Path) -> Any:
    """The configuration of a class, checked by the class itself; no weight is read.

    Raises:
        CheckpointError: the class refuses it.
    """
    step = f"Give a checkpoint whose config.json {kind.__name__}.from_pretrained takes."
    with reading(folder, "has a config.json that transformers refuses", step), _silent():
        config = kind.config_class.from_pretrained(folder, local_files_only=True)
    if quantised := getattr(config, "quantization_config", None):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else type(quantised).__name__
        raise CheckpointError(
            f"{shown_name(folder)} holds quantised weights ({method})", "Give the checkpoint that it was made from."
        )
    _check_heads(folder, config)
    return config


def _check_heads(folder: Path, config: Any) -> None:
    """The classes take any number of key-value heads, and fail when they run."""
    heads, keys = (getattr(config, f"num_{kind}_heads", None) for kind in ("attention", "key_value"))
    if isinstance(heads, int) and isinstance(keys, int) and (not keys or heads % keys):
        raise CheckpointError(
            f"{shown_name(folder)}: config.json has {heads} query heads, which {keys} key-value heads do not divide",
            "Give the config.json that was saved with the weights.",
        )
    for part in vars(config).values():
        if hasattr(part, "model_type"):
            _check_heads(folder, part)


def load_part(kind: Any, folder: Path, what: str, **options: Any) -> Any:
    """A tokenizer, feature extractor or processor of transformers.

    Args:
        kind: its class, or one of the Auto classes.
        folder: checkpoint in transformers' layout.
        what: its name, for the message.
        options: further arguments of `from_pretrained`.

    Raises:
        CheckpointError: it is missing, or cannot be read.
    """
    step = f"Download the checkpoint again with its {what}, or save it there with `save_pretrained(folder)`."
    for group in _NEEDED.get(what, ()):
        if not any((folder / file).is_file() for file in group):
            raise CheckpointError(f"{shown_name(folder)} has no {' or '.join(group)}, which its {what} needs", step)
    _check_json(folder)
    with reading(folder, f"has no readable {what}", step), _silent():
        return kind.from_pretrained(folder, local_files_only=True, **options)


@contextmanager
def reading(path: Path, problem: str, step: str) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into one line.

    Raises:
        CheckpointError: the block failed in one of the ways that damaged or foreign files make libraries fail.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    known = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError, ArithmeticError)
    try:
        yield
    except (*known, SafetensorError, StrictDataclassError) as error:
        raise CheckpointError(f"{shown_name(path)} {problem}: {_reason(error)}", step) from error
    except Exception as error:
        if type(error) is not Exception:  # the tokenizers library raises bare ones, and only those are meant here
            raise
        raise CheckpointError(f"{shown_name(path)} {problem}: {_reason(error)}", step) from error


@contextmanager
def _silent() -> Iterator[None]:
    """No table, remark or progress bar of transformers: what matters of them is in our errors."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(level)


def _check_json(folder: Path) -> None:
    """What transformers says of such a file names other reasons first."""
    for file in sorted(file for file in folder.glob("*.json") if not is_clutter(Path(file.name))):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            empty = "is empty" if not file.stat().st_size else "is damaged or incomplete: it is not JSON"
            raise CheckpointError(f"{shown_name(folder)}: {file.name} {empty}", "Download it again.") from error


def _reason(error: Exception) -> str:
    """The first sentence of what a library says, without its advice."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    lines = [re.sub(r"^\w+Error: ", "", line.strip()) for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = lines[-1] if lines[0].endswith(":") else lines[0]  # a heading without its list says nothing
    return said[:200].rstrip(".:")
