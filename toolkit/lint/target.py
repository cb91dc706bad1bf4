"""The Mac that a forecast is for, and the limits that differ between chips and systems."""

from dataclasses import dataclass
from typing import Literal

Chip = Literal["M1", "M2", "M3", "M4", "M5"]
MacOS = Literal["macOS14", "macOS15", "macOS26", "macOS27"]

GIB = 1 << 30
# From this chip on -> limit. ANEForge _targets.py: measured on M1, M2 and M5; M3 as M2, M4 as M5 by its own ladder.
_EXTENT = {1: 16_384, 4: 65_536}
_KERNEL_WIDTH = {1: 13, 4: 15}
# From this macOS on -> bytes of a compiled model. eeANE 1.6.1 ne_limits.py: bisected on an M2.
_MODEL_BYTES = {14: 2 * GIB, 27: 1 * GIB}


@dataclass(frozen=True)
class Target:
    """A chip and a system; None is any, which means the strictest limit among them.

    Attributes:
        chip: M1 to M5.
        macos: the system.
    """

    chip: Chip | None = None
    macos: MacOS | None = None

    @property
    def generation(self) -> int:
        """1 of M1; any chip counts as the oldest."""
        return int((self.chip or "M1").removeprefix("M"))

    @property
    def system(self) -> int:
        """15 of macOS15; any system counts as the newest, whose size limit is the lowest."""
        return int((self.macos or "macOS27").removeprefix("macOS"))

    @property
    def extent(self) -> int:
        """Largest size of a dimension other than the channels, in elements."""
        return _limit(_EXTENT, self.generation)

    @property
    def kernel_width(self) -> int:
        """Widest kernel of a convolution, in elements."""
        return _limit(_KERNEL_WIDTH, self.generation)

    @property
    def model_bytes(self) -> int:
        """Largest model that is placed on the Neural Engine, in bytes."""
        return _limit(_MODEL_BYTES, self.system)

    def __str__(self) -> str:
        chip = self.chip or "any chip (limits of the M1)"
        system = self.macos or "any macOS (size limit of macOS 27)"
        return f"{chip}, {system}"


def _limit(steps: dict[int, int], reached: int) -> int:
    return steps[max(start for start in steps if start <= reached)]
