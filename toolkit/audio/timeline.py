"""The time line of a container: where a track starts late or has a hole, there is silence.

A packet's time stamp is rounded to the container's tick, and codecs stamp a packet up to one packet early or late
(block switching in Vorbis, the look-ahead of WMA). Two packets, or two ticks, are therefore jitter; what is longer is a
hole.
Samples are counted, not stamped, so jitter never adds up. FLAC numbers its samples exactly. Other streams without a
container have no time line: FFmpeg makes up their time stamps.
"""

from fractions import Fraction

from toolkit.audio.whole.link import DamagedError
from toolkit.audio.whole.links import FLAC, MATROSKA, MP4, MPEG_TS, OGG

_FROM_ZERO = (MATROSKA, MP4)  # their time starts at 0; that of the others, where the first track starts
_TIMED = (*_FROM_ZERO, MPEG_TS, OGG, "avi", "asf", "flv", "mpeg", "mxf", "nut")
_JITTER = 2
_LONGEST_HOLE_S = 86400  # longer ones are no pauses but broken time stamps


class Timeline:
    """Compares the time stamps of one track with the samples that came before.

    Args:
        container: FFmpeg's name of it.
        start_s: where its earliest track starts.

    Attributes:
        holes: start and length of the holes so far, in seconds.
        jumped_back_s: where time stamps went back for the first time; None where they never did.
    """

    def __init__(self, container: str, start_s: Fraction) -> None:
        self.holes: list[tuple[float, float]] = []
        self.jumped_back_s: float | None = None
        self._timed, self._numbered = container in _TIMED, container == FLAC
        self._origin_s = Fraction(0) if container in _FROM_ZERO else start_s
        self._position_s = Fraction(0)
        self._longest_s = Fraction(0)

    def silence_before(self, start_s: Fraction | None, tick_s: Fraction, samples: int, rate: int) -> int:
        """Samples of silence that belong before a packet.

        Args:
            start_s: its time stamp; None where it has none.
            tick_s: what time stamps are multiples of.
            samples: of the packet, per channel.
            rate: in Hz.

        Raises:
            DamagedError: a hole of more than a day, or samples that are numbered and missing.
        """
        self._longest_s = max(self._longest_s, Fraction(samples, rate))
        silence = 0
        if start_s is not None and self._numbered:
            self._check_number(start_s)
        elif start_s is not None and self._timed:
            silence = self._hole(start_s, tick_s, rate)
        self._position_s += Fraction(silence + samples, rate)
        return silence

    def _check_number(self, start_s: Fraction) -> None:
        if not self._position_s:  # a part of a longer stream begins with another number
            self._origin_s = start_s
        if start_s - self._origin_s != self._position_s:
            raise DamagedError(f"samples are missing before {float(start_s - self._origin_s):.2f} s")

    def _hole(self, start_s: Fraction, tick_s: Fraction, rate: int) -> int:
        late_s = start_s - self._origin_s - self._position_s
        if abs(late_s) <= _JITTER * max(self._longest_s, tick_s):
            return 0
        if late_s < 0:
            if self.jumped_back_s is None:
                self.jumped_back_s = float(self._position_s)
            self._origin_s += late_s
            return 0
        if late_s > _LONGEST_HOLE_S:
            raise DamagedError(f"its time stamps jump by {float(late_s) / 3600:.0f} hours")
        self.holes.append((float(self._position_s), float(late_s)))
        return round(late_s * rate)

    def notes(self) -> list[str]:
        """What to tell the user."""
        lines = []
        if self.holes:
            first, total_s = self.holes[0][0], sum(length for _, length in self.holes)
            places = f"in {len(self.holes)} places, from " if len(self.holes) > 1 else "at "
            lines.append(f"it has no sound {places}{first:.2f} s, {total_s:.2f} s in all, which is read as silence")
        if self.jumped_back_s is not None:
            lines.append(f"its time stamps jump back at {self.jumped_back_s:.2f} s, and times count on from there")
        return lines
