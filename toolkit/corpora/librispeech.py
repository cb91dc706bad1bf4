"""LibriSpeech test-clean, streamed from the hub: nothing but the utterances asked for is fetched."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import soundfile

from toolkit.corpora.example import Example
from toolkit.errors import ToolkitError

DATASET = "openslr/librispeech_asr"
CONFIG, SPLIT = "clean", "test"
_NEXT_STEP = "Check the network, or score on --dataset demo or a folder of your own."


def librispeech_examples(source: str = DATASET) -> Iterator[Example]:
    """Utterances of test-clean in the order of the data set.

    Args:
        source: hub id, or a local folder in the data set's layout.

    Raises:
        ToolkitError: the hub cannot be reached.
    """
    # The errors of a streamed data set come from httpx, fsspec, huggingface_hub and datasets, at the first item too.
    # They share these bases.
    faults = (OSError, ValueError, RuntimeError)
    try:
        rows = iter(_rows(source))
        first = next(rows, None)
    except faults as error:
        raise ToolkitError(f"cannot stream LibriSpeech test-clean ({type(error).__name__})", _NEXT_STEP) from error
    if first is None:
        raise ToolkitError(f"{source} holds no utterances", _NEXT_STEP)
    yield _example(first)
    try:
        for row in rows:
            yield _example(row)
    except faults as error:
        raise ToolkitError(f"LibriSpeech broke off ({type(error).__name__})", _NEXT_STEP) from error


def _rows(source: str) -> Any:
    import datasets

    datasets.disable_progress_bars()
    # The hub's client logs each retry; we say once that it cannot be reached.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    rows = datasets.load_dataset(source, CONFIG, split=SPLIT, streaming=True)
    # Decoding is left to soundfile: `datasets` would need torchcodec and ffmpeg's libraries.
    return rows.cast_column("audio", datasets.Audio(decode=False))


def _example(row: dict[str, Any]) -> Example:
    audio = row["audio"]
    content = io.BytesIO(audio["bytes"]) if audio.get("bytes") else audio["path"]
    samples, sample_rate = soundfile.read(content, dtype="float32")
    return Example(str(row["id"]), row["text"], samples, sample_rate)
