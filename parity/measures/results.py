"""What the host makes of the reference's own decisions: text, words with their times, confidences.

On the way to the result nothing is rounded, so nothing may differ; what runs the model has no part in it. Rows over
free-running decisions cannot say this: they leave room for a bin, and skip a clip whose decisions differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from parity.measures.totals import Totals
from toolkit.transcript import Transcript

_ROUNDING_S = 1e-6
_SHOWN = 5


@dataclass
class HostResults:
    """Over all clips: those whose result is another one, and the errors of all confidences of the others."""

    clips: int = 0
    differing: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, clip: str, reference: Transcript, ours: Transcript) -> None:
        """Count one clip.

        Args:
            clip: its name.
            reference: what the reference's own processor makes of its decisions.
            ours: what the host makes of the same.
        """
        self.clips += 1
        if _same(reference, ours):
            pairs = zip(_confidences(reference), _confidences(ours), strict=True)
            self.errors += [abs(theirs - mine) for theirs, mine in pairs]
        else:
            self.differing.append(clip)

    def totals(self, what: str = "clips") -> Totals:
        """How many of them differ, and the first of these."""
        return Totals({what: self.clips, "differing": len(self.differing)}, note=", ".join(self.differing[:_SHOWN]))


def _same(reference: Transcript, ours: Transcript) -> bool:
    return _said(reference) == _said(ours) and np.allclose(_times(reference), _times(ours), rtol=0, atol=_ROUNDING_S)


def _said(transcript: Transcript) -> tuple[str, list[int], list[str]]:
    return transcript.text, [token.id for token in transcript.tokens], [word.text for word in transcript.words]


def _times(transcript: Transcript) -> list[float]:
    return [seconds for word in transcript.words for seconds in (word.start_s, word.end_s)]


def _confidences(transcript: Transcript) -> Iterator[float]:
    yield from (token.confidence for token in transcript.tokens)
    yield from (word.confidence for word in transcript.words)
