"""What was counted over all clips."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Totals:
    """Figures over all clips, for the gate of a rung.

    Attributes:
        metrics: name -> number.
        note: what was excused, or where something stands.
        headline: a line for the summary under the table.
    """

    metrics: Mapping[str, float]
    note: str = ""
    headline: str = ""
