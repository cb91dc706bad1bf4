"""LibriSpeech test-clean."""

from collections.abc import Iterator

from toolkit.corpora.example import Example
from toolkit.corpora.hub import decoded, streamed

DATASET = "openslr/librispeech_asr"
CONFIG, SPLIT = "clean", "test"


def librispeech_examples(source: str = DATASET) -> Iterator[Example]:
    """Utterances of test-clean in the order of the data set.

    Args:
        source: hub id, or a local folder in the data set's layout.

    Raises:
        ToolkitError: the hub cannot be reached.
    """
    for row in streamed("LibriSpeech test-clean", source, CONFIG, SPLIT):
        yield Example(str(row["id"]), row["text"], *decoded(row["audio"]), language="en")
