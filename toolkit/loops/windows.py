"""Long audio: windows on the encoder's frame grid, joined into one sequence of encoder frames.

Windows overlap; each overlap is cut at its middle, so that every frame kept has context on both sides. The sequence
then goes through one decoding loop: no tokens are merged, and each frame of the whole is there exactly once.
"""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Window:
    """One call of the encoder.

    Attributes:
        mel_start: first mel frame; a multiple of the subsampling factor.
        mel_frames: valid mel frames.
        keep_start: first encoder frame to keep, counted from the start of the window.
        keep_stop: encoder frame to stop before, counted from the start of the window.
    """

    mel_start: int
    mel_frames: int
    keep_start: int
    keep_stop: int


def plan_windows(length: int, capacity: int, factor: int, overlap: int) -> tuple[Window, ...]:
    """Windows that cover `length` mel frames, evenly spread, all of them full.

    Args:
        length: valid mel frames of the whole.
        capacity: mel frames that the encoder takes at once.
        factor: mel frames an encoder frame; the grid.
        overlap: encoder frames that neighbours share at least; half a window at most is used.

    Returns:
        The windows in order; their kept frames are those of the whole, `ceil(length / factor)`, each once.
    """
    total = _ceil(length, factor)
    last = max(0, _ceil(length - capacity, factor))  # start of the last window in encoder frames
    full = capacity // factor  # encoder frames that a window in the middle yields whole
    stride = full - min(overlap, full // 2)
    count = 1 + _ceil(last, stride)
    starts = [last * k // max(1, count - 1) for k in range(count)]
    cuts = [0, *((b + a + full) // 2 for a, b in pairwise(starts)), total]
    return tuple(
        Window(start * factor, min(capacity, length - start * factor), cuts[k] - start, cuts[k + 1] - start)
        for k, start in enumerate(starts)
    )


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
