"""From the name of a data set to its first N utterances."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path

from toolkit.audio.read import check_source
from toolkit.corpora.example import Example
from toolkit.corpora.fleurs import check_language, fleurs_examples
from toolkit.corpora.folder import folder_examples
from toolkit.corpora.librispeech import librispeech_examples
from toolkit.errors import ToolkitError

_NEXT_STEP = "Give --dataset demo, librispeech, fleurs:LANGUAGE or a folder."
DEMO_CLIPS = Path(__file__).resolve().parents[2] / "demo" / "clips"


def check_corpus(name: str, num_files: int | None = None) -> None:
    """Refuse a corpus that could not be run, before any work is done; no audio is read, no network asked.

    Args:
        name: as `open_corpus` takes it.
        num_files: how many of its utterances to look for.

    Raises:
        ToolkitError: no such corpus or language, a folder without utterances, or a broken manifest.
        AudioError: audio that a manifest names is not there.
    """
    corpus, _, language = name.partition(":")
    if corpus == "fleurs":
        check_language(language)
    elif name not in ("demo", "librispeech"):
        for example in islice(_examples(name, ()), num_files):
            if isinstance(example.audio, Path):
                check_source(example.audio)


def open_corpus(
    name: str, num_files: int | None = None, demo: Sequence[str] = (".",), *, quiet: bool = False
) -> Iterator[Example]:
    """The first utterances of a corpus, lazily, in its stable order. Fewer than asked for is said on stderr.

    Args:
        name: `demo`, `librispeech`, `fleurs:LANGUAGE`, `fleurs:all`, or a folder.
        num_files: how many, of FLEURS in each language; all of them when left out.
        demo: folders of the demo clips, taken in turn.
        quiet: do not say that there are fewer; for who reads a corpus again.

    Raises:
        ToolkitError: no such corpus, or none of it can be used.
    """
    count = 0
    corpus, _, language = name.partition(":")
    if corpus == "fleurs":
        yield from fleurs_examples(language, num_files)
        return
    for example in islice(_examples(name, demo), num_files):
        count += 1
        yield example
    if count == 0:
        raise ToolkitError(f"{name} contains no utterances", _NEXT_STEP)
    if num_files is not None and count < num_files and not quiet:
        print(f"{name} holds {count} utterances, fewer than the {num_files} asked for", file=sys.stderr)  # noqa: T201


def _examples(name: str, demo: Sequence[str]) -> Iterator[Example]:
    if name == "librispeech":
        return librispeech_examples()
    if name == "demo":
        in_turn = zip_longest(*(folder_examples(DEMO_CLIPS / folder) for folder in demo))
        return (example for examples in in_turn for example in examples if example is not None)
    folder = Path(name)
    if not folder.exists():
        raise ToolkitError(f"no data set '{name}'", _NEXT_STEP)
    return folder_examples(folder)
