"""Margins: how near a decision was to another one, and how many decisions noise of the size measured will turn.

A run in which nothing flips is no proof when its margins are as small as its errors: it passed by luck. So the margins
along the utterances are kept, with the error of the difference that each was taken from (the reference's best against
its second), and

    expected flips = sum over decisions of Q(margin / RMS error of the differences)

where Q is the upper tail of the normal distribution. It counts the runner-up alone; a third candidate
as near adds to it.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from parity.measures.totals import Totals

SHOWN_ABOVE = 0.5  # expected flips: from here on the summary under the tables says so


@dataclass(frozen=True)
class TopTwo:
    """The two best candidates of one decision; `margin` is the difference of their logits."""

    best: int
    second: int
    margin: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def top_two(logits: np.ndarray) -> TopTwo:
    """The best and the second best of one decision.

    Args:
        logits: float array, any shape, read flat; at least two elements.

    Returns:
        Indices and margin. At a tie the lower index is best, as argmax has it.
    """
    flat = logits.ravel()
    best = int(np.argmax(flat))
    rest = flat.copy()
    rest[best] = -np.inf
    second = int(np.argmax(rest))
    return TopTwo(best, second, float(flat[best]) - float(flat[second]))


def is_near_tie(margin: float, noise: float) -> bool:
    """Whether noise alone can turn a decision: both candidates may move by `noise`, one up and one down.

    Args:
        margin: top-1 minus top-2 logit of the reference.
        noise: largest absolute error measured on logits of this kind; the caller's gate has to bound it.
    """
    return margin <= 2 * noise


@dataclass
class Margins:
    """The margins of one kind of decision (tokens, durations, ...), collected over all clips.

    Attributes:
        margins: of the reference, one a decision, >= 0.
        errors: what the port adds to each of them: its own difference of the same two candidates, less the margin.
        smallest_ours: the package's own smallest margin, between its own best two.
        flips: decisions that differ.
        non_finite: decisions with a logit that is NaN or infinite, which no margin can be given for.
        where: of the reference's smallest margin.
    """

    margins: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    smallest_ours: float = math.inf
    flips: int = 0
    non_finite: int = 0
    where: str = ""

    def add(self, where: str, reference: np.ndarray, ours: np.ndarray) -> None:
        """Decisions that take the best of several candidates.

        Args:
            where: the clip.
            reference: logits [decisions, candidates], at least two candidates.
            ours: likewise, on the same path.
        """
        rows = np.arange(len(reference))
        order = np.argsort(-np.nan_to_num(reference, nan=-np.inf), axis=-1, kind="stable")
        best, second = order[:, 0], order[:, 1]
        a, b = reference.astype(np.float64), ours.astype(np.float64)
        with np.errstate(invalid="ignore"):
            theirs, mine = a[rows, best] - a[rows, second], b[rows, best] - b[rows, second]
            theirs[np.isnan(a).any(-1)] = np.nan
            own = np.sort(b, axis=-1)  # NaN last
            self._count(where, theirs, mine, own[:, -1] - own[:, -2], b.argmax(-1) != best)

    def add_against(self, where: str, reference: np.ndarray, ours: np.ndarray, candidate: int) -> None:
        """Decisions whether one candidate (a blank, the end) beats all others, whichever of those it is.

        Args:
            where: the clip.
            reference: logits [decisions, candidates].
            ours: likewise.
            candidate: index of the one.
        """
        rest = np.delete(reference, candidate, axis=-1)
        rows, rival = np.arange(len(reference)), np.nan_to_num(rest, nan=-np.inf).argmax(-1)

        def pair(logits: np.ndarray) -> np.ndarray:
            others = np.delete(logits, candidate, axis=-1)
            return np.stack([logits[:, candidate], others[rows, rival]], -1).astype(np.float64)

        with np.errstate(invalid="ignore"):
            wins = reference[:, candidate] > rest.max(-1)
            flipped = wins != (ours[:, candidate] > np.delete(ours, candidate, -1).max(-1))
            self._sides(where, pair(reference), pair(ours), flipped)

    def add_threshold(self, where: str, reference: np.ndarray, ours: np.ndarray, threshold: float) -> None:
        """Decisions that hold one logit against a threshold.

        Args:
            where: the clip.
            reference: logits [decisions].
            ours: likewise.
            threshold: above it the answer is yes.
        """
        theirs, mine = (np.stack([x, np.full_like(x, threshold)], -1).astype(np.float64) for x in (reference, ours))
        self._sides(where, theirs, mine, (ours > threshold) != (reference > threshold))

    def totals(self, kind: str) -> Totals:
        """For a rung that informs: it has no gate, the flips themselves have one."""
        metrics = {
            "decisions": len(self.margins) + self.non_finite,
            "smallest_margin": min(self.margins, default=math.nan),
            "smallest_of_ours": self.smallest_ours,
            "noise_rms": self.noise_rms,
            "expected_flips": self.expected_flips,
            "flips": self.flips,
        }
        note = f"smallest margin at {self.where}" if self.where else ""
        if self.non_finite:
            note = f"{self.non_finite} decisions on NaN or infinite logits are left out" + (note and f"; {note}")
        return Totals(metrics, note, self._headline(kind))

    @property
    def noise_rms(self) -> float:
        """RMS error of the differences between the two candidates."""
        return math.sqrt(math.fsum(e * e for e in self.errors) / len(self.errors)) if self.errors else 0.0

    @property
    def expected_flips(self) -> float:
        """Decisions that noise of this size turns on average."""
        noise = self.noise_rms
        if noise == 0:
            return 0.5 * sum(margin == 0 for margin in self.margins)
        return math.fsum(0.5 * math.erfc(margin / noise / math.sqrt(2)) for margin in self.margins)

    def _headline(self, kind: str) -> str:
        if self.expected_flips <= SHOWN_ABOVE:
            return ""
        chance = f"none seen, as in {100 * math.exp(-self.expected_flips):.0f} % of such runs by chance"
        seen = f"{self.flips} seen" if self.flips else chance
        return (
            f"{kind}: {self.expected_flips:.1f} flips of {len(self.margins)} are to be expected at the noise measured "
            f"(RMS {self.noise_rms:.3g} between two candidates, smallest margin {min(self.margins):.3g}): {seen}"
        )

    def _sides(self, where: str, reference: np.ndarray, ours: np.ndarray, flipped: np.ndarray) -> None:
        """Two candidates a decision, [decisions, 2]: the reference's winner first."""
        theirs, mine = reference[:, 0] - reference[:, 1], ours[:, 0] - ours[:, 1]
        sign = np.where(theirs < 0, -1.0, 1.0)
        self._count(where, sign * theirs, sign * mine, np.abs(mine), flipped)

    def _count(self, where: str, theirs: np.ndarray, mine: np.ndarray, own: np.ndarray, flipped: np.ndarray) -> None:
        finite = np.isfinite(theirs) & np.isfinite(mine) & np.isfinite(own)
        self.non_finite += int((~finite).sum())
        self.flips += int(flipped[finite].sum())
        if not finite.any():
            return
        steps, margins = np.flatnonzero(finite), theirs[finite]
        if not self.margins or margins.min() < min(self.margins):
            self.where = f"{where}, step {steps[margins.argmin()]}"
        self.margins += margins.tolist()
        self.errors += (mine - theirs)[finite].tolist()
        self.smallest_ours = min(self.smallest_ours, float(own[finite].min()))
