"""What others published as the results of the published checkpoints, and how a result of ours differs from it."""

import json
from pathlib import Path

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text(encoding="utf-8"))
FRAME_S = 0.08
_SAME_S = 1e-6  # times are multiples of a frame: they differ by one, or by the last bits of a float


def token_differences(expected, transcript, pad_id=2):
    """Text, token ids, start times and durations of a transcript by Parakeet that are not as published.

    Args:
        expected: one entry of `librispeech`.
        transcript: ours.
        pad_id: of the tokens behind the end, which a batch has.
    """
    tokens = [token for token in transcript.tokens if token.id != pad_id]
    durations = [round((token.end_s - token.start_s) / FRAME_S) for token in tokens]
    found = {
        "text": expected["text"] != transcript.text,
        "token ids": expected["token_ids"] != [token.id for token in tokens],
        "start times": not _equal(expected["start_s"], [token.start_s for token in tokens]),
        "durations": expected["duration_frames"] != durations,
    }
    return [name for name, differs in found.items() if differs]


def word_differences(expected, transcript):
    """Words of an alignment that are not as published: (word, published times, ours)."""
    ours = [(word.text, word.start_s, word.end_s) for word in transcript.words]
    published = [tuple(word) for word in expected["words"]]
    if [word[0] for word in ours] != [word[0] for word in published]:
        return [(("words", published, ours))]
    return [(p[0], p[1:], o[1:]) for p, o in zip(published, ours, strict=True) if not _equal(p[1:], o[1:])]


def _equal(published, ours):
    return len(published) == len(ours) and all(abs(p - o) < _SAME_S for p, o in zip(published, ours, strict=True))
