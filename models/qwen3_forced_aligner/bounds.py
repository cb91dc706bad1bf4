"""Times within the audio: the model pads it to whole chunks, and may place words in the padding."""

from collections.abc import Sequence
from dataclasses import replace

from toolkit.transcript import Word


def within(words: Sequence[Word], duration_s: float) -> tuple[Word, ...]:
    """The words, with no time behind the end of the audio."""
    return tuple(
        replace(word, start_s=min(word.start_s, duration_s), end_s=min(word.end_s, duration_s)) for word in words
    )


def behind_the_end(words: Sequence[Word], duration_s: float, bin_s: float) -> tuple[str, ...]:
    """A note on the words that end behind the end of the audio by more than a time class; none for none.

    Args:
        words: as the model placed them.
        duration_s: of the audio.
        bin_s: length of a time class. The last word of a recording often ends in a class that the audio fills in part.
    """
    behind = [word for word in words if word.end_s > duration_s + bin_s]
    if not behind:
        return ()
    return (
        f"{len(behind)} of {len(words)} words were placed behind the end of the audio and are cut there, from "
        f"'{behind[0].text}' on; check that the text is what is said",
    )
