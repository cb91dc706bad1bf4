"""From the name of a data set to its first N utterances."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from toolkit.corpora.example import Example
from toolkit.corpora.folder import folder_examples
from toolkit.corpora.librispeech import librispeech_examples
from toolkit.errors import ToolkitError

DEMO_CLIPS = Path(__file__).resolve().parents[2] / "demo" / "clips"


def open_corpus(name: str, num_files: int | None = None) -> Iterator[Example]:
    """The first utterances of a corpus, lazily, in its stable order. Fewer than asked for is said on stderr.

    Args:
        name: `demo`, `librispeech`, or a folder.
        num_files: how many; all of them when left out.

    Raises:
        ToolkitError: no such corpus, or none of it can be used.
    """
    count = 0
    for example in islice(_examples(name), num_files):
        count += 1
        yield example
    if count == 0:
        raise ToolkitError(f"{name} holds no utterances", "Give --dataset demo, librispeech or a folder.")
    if num_files is not None and count < num_files:
        print(f"{name} holds {count} utterances, fewer than the {num_files} asked for", file=sys.stderr)  # noqa: T201


def _examples(name: str) -> Iterator[Example]:
    if name == "librispeech":
        return librispeech_examples()
    if name == "demo":
        return folder_examples(DEMO_CLIPS)
    folder = Path(name)
    if not folder.exists():
        raise ToolkitError(f"no data set '{name}'", "Give --dataset demo, librispeech or a folder.")
    return folder_examples(folder)
