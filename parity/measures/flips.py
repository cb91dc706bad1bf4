"""Decisions (tokens, durations, classes) that differ from the reference's, and which of them noise explains."""

from dataclasses import dataclass, field

import numpy as np

from parity.measures.margins import is_near_tie, top_two
from parity.measures.totals import Totals

_NOTES_SHOWN = 3


@dataclass
class Flips:
    """Totals over all clips; `decisions` is how many were taken."""

    decisions: int = 0
    flips: int = 0
    unexplained: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, where: str, logits: np.ndarray, ours: int, noise: float) -> None:
        """Count one decision that differs.

        Args:
            where: the clip and the place in it.
            logits: the reference's, of this one decision.
            ours: what was taken in place of its best.
            noise: largest error measured on logits of this kind.
        """
        top = top_two(logits)
        explained = is_near_tie(top.margin, noise)
        self.flips += 1
        self.unexplained += not explained
        self.notes.append(
            f"{where}: {ours} for {top.best} (reference's second {top.second}), margin {top.margin:.3g}, "
            f"logit error up to {noise:.3g}: {'near tie' if explained else 'no near tie'}"
        )

    def add_unexplained(self, note: str) -> None:
        """Count a difference that no margin can excuse."""
        self.flips += 1
        self.unexplained += 1
        self.notes.append(note)

    def totals(self) -> Totals:
        """For the rung of these decisions; the first divergences are shown."""
        metrics = {"decisions": self.decisions, "flips": self.flips, "unexplained": self.unexplained}
        more = [f"and {len(self.notes) - _NOTES_SHOWN} more"] if len(self.notes) > _NOTES_SHOWN else []
        return Totals(metrics, "; ".join(self.notes[:_NOTES_SHOWN] + more))
