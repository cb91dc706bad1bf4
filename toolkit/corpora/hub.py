"""Rows of a data set, streamed from the hub: nothing but what is asked for is fetched."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from toolkit.errors import ToolkitError

_NEXT_STEP = "Check the network, or score on --dataset demo or a folder of your own."


def streamed(what: str, source: str, config: str, split: str, revision: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows in the order of the data set, with the audio as it is stored.

    Args:
        what: its name, for messages.
        source: hub id, or a local folder in the data set's layout.
        config: configuration.
        split: e.g. `test`.
        revision: branch or commit of a hub id.

    Raises:
        ToolkitError: the hub cannot be reached, or the data set is empty.
    """
    # The errors of a streamed data set come from httpx, fsspec, huggingface_hub and datasets, at the first item too.
    # They share these bases.
    faults = (OSError, ValueError, RuntimeError)
    try:
        rows = iter(load(source, config, split, revision))
        first = next(rows, None)
    except faults as error:
        raise ToolkitError(f"cannot stream {what} ({type(error).__name__})", _NEXT_STEP) from error
    if first is None:
        raise ToolkitError(f"{source} contains no utterances", _NEXT_STEP)
    yield first
    try:
        yield from rows
    except faults as error:
        raise ToolkitError(f"{what} broke off ({type(error).__name__})", _NEXT_STEP) from error


def load(source: str, config: str, split: str, revision: str | None = None) -> Any:
    """The streamed data set itself."""
    import datasets

    datasets.disable_progress_bars()
    # The hub's client logs each retry; we say once that it cannot be reached.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    rows = datasets.load_dataset(source, config, split=split, revision=revision, streaming=True)
    # Decoding is left to soundfile: `datasets` would need torchcodec and ffmpeg's libraries.
    return rows.cast_column("audio", datasets.Audio(decode=False))


def decoded(audio: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Samples [N] or [N, channels] float32 and their rate in Hz, of a row's audio."""
    content = io.BytesIO(audio["bytes"]) if audio.get("bytes") else audio["path"]
    samples, sample_rate = soundfile.read(content, dtype="float32")
    return samples, int(sample_rate)
