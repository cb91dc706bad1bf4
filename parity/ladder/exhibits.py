"""What a report shows beside numbers: curves, spectrograms, words in time, sound.

A comparison hands them to `Ladder.exhibit` where it holds the arrays anyway; the ladder keeps `reduced` ones only.
NaN and infinite values are data too: what draws them shows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from toolkit.transcript import Word

if TYPE_CHECKING:
    from toolkit.corpora.example import WordTime

CURVE_POINTS = 480  # of one series: a point a pixel or so
IMAGE_FRAMES, IMAGE_BINS = 400, 128
MAX_AUDIO_S = 12.0
MAX_WORDS = 200


@dataclass(frozen=True)
class Axis:
    """What runs along one side, and its unit; empty where it has none."""

    label: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


SECONDS = Axis("time", "s")


@dataclass(frozen=True)
class Series:
    """One line of a plot: [n] float values."""

    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Curves:
    """Lines over one axis, such as an error over frames or over layers.

    Attributes:
        x: what runs along the bottom.
        y: what the values are.
        series: the lines, of any lengths.
        x_step: what one place along the bottom stands for, in the unit of `x`.
        ticks: names of the places along the bottom, such as layers, in place of numbers.
        log: draw the values by their decade; what is not above zero then lies on the bottom.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    x_step: float = 1.0
    ticks: tuple[str, ...] = ()
    log: bool = False

    def reduced(self) -> "Curves":
        """At most `CURVE_POINTS` places: of each stretch the largest, and not finite where one value is not."""
        longest = max((len(s.values) for s in self.series), default=0)
        if self.ticks or longest <= CURVE_POINTS:
            return self
        by = -(-longest // CURVE_POINTS)
        series = tuple(Series(s.name, _largest_of_each(s.values, by)) for s in self.series)
        return replace(self, series=series, x_step=self.x_step * by)


@dataclass(frozen=True)
class Spectrograms:
    """Reference and ours side by side, with their absolute difference over the frames that both have.

    Attributes:
        reference: [bins, frames] float, a log-mel or log-magnitude spectrogram; the lowest bin first.
        ours: [bins, frames], of any number of frames.
        difference: [bins, frames].
        x: what runs along the bottom.
        x_step: what one frame stands for, in the unit of `x`.
        y: what runs along the side.
        frames_each, bins_each: how many of them one dot of a reduced image stands for.
    """

    reference: np.ndarray
    ours: np.ndarray
    difference: np.ndarray
    x: Axis = Axis("frame")
    x_step: float = 1.0
    y: Axis = Axis("mel bin")
    frames_each: int = 1
    bins_each: int = 1

    @classmethod
    def of(
        cls, reference: np.ndarray, ours: np.ndarray, x: Axis = x, x_step: float = x_step, y: Axis = y
    ) -> "Spectrograms":
        """From the two sides."""
        bins, frames = (min(a, b) for a, b in zip(reference.shape, ours.shape, strict=True))
        with np.errstate(invalid="ignore"):
            difference = np.abs(reference[:bins, :frames] - ours[:bins, :frames])
        return cls(reference, ours, difference, x, x_step, y)

    def reduced(self) -> "Spectrograms":
        """Three images of at most `IMAGE_BINS` by `IMAGE_FRAMES`: means of the two sides, but the largest difference
        of a block, so that one wrong frame is seen."""
        bins = _steps(max(self.reference.shape[0], self.ours.shape[0]), IMAGE_BINS)
        frames = _steps(max(self.reference.shape[1], self.ours.shape[1]), IMAGE_FRAMES)
        return replace(
            self,
            reference=_block_mean(self.reference, bins, frames),
            ours=_block_mean(self.ours, bins, frames),
            difference=_block_max(self.difference, bins, frames),
            x_step=self.x_step * frames,
            frames_each=self.frames_each * frames,
            bins_each=self.bins_each * bins,
        )


@dataclass(frozen=True)
class Timeline:
    """The words of reference and ours, and of the corpus where it knows them, with start and end."""

    reference: tuple[Word, ...]
    ours: tuple[Word, ...]
    truth: tuple[Word, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, reference: Sequence[Word], ours: Sequence[Word], truth: "Sequence[Word | WordTime]" = ()) -> "Timeline":
        """From any sequences."""
        return cls(tuple(reference), tuple(ours), tuple(Word(w.text, w.start_s, w.end_s, 1.0) for w in truth))

    def reduced(self) -> "Timeline":
        """The first `MAX_WORDS` words."""
        left_out = max(0, len(self.reference) - MAX_WORDS)
        lanes = [words[:MAX_WORDS] for words in (self.reference, self.ours, self.truth)]
        return Timeline(lanes[0], lanes[1], lanes[2], self.left_out + left_out)


@dataclass(frozen=True)
class Recording:
    """Something to listen to: [n] float32, full scale is 1; `cut_from_s` is its whole length where it was cut."""

    title: str
    samples: np.ndarray
    rate: int
    cut_from_s: float | None = None


@dataclass(frozen=True)
class Audio:
    """Recordings to compare by ear, the reference's first."""

    recordings: tuple[Recording, ...]

    @classmethod
    def of(cls, reference: np.ndarray, ours: np.ndarray, rate: int) -> "Audio":
        """Reference and ours, [n] float32 each, of one rate in Hz."""
        return cls((Recording("reference", reference, rate), Recording("ours", ours, rate)))

    def reduced(self) -> "Audio":
        """The first `MAX_AUDIO_S` of each."""
        return Audio(tuple(_cut(recording) for recording in self.recordings))


Exhibit = Curves | Spectrograms | Timeline | Audio


@dataclass(frozen=True)
class KeptExhibit:
    """An exhibit as a ladder keeps it: under its stage, with what it shows and the clip that it shows it of."""

    stage: str
    title: str
    exhibit: Exhibit
    clip: str = ""


def error_over(reference: np.ndarray, ours: np.ndarray, x: Axis, x_step: float = 1.0) -> Curves:
    """How an error runs along the first axis, beside the size of the reference.

    Args:
        reference: [n, ...] floats.
        ours: [m, ...] of the same further shape; what one side alone has is left out.
        x: the first axis.
        x_step: what one place of it stands for, in the unit of `x`.
    """
    count = min(len(reference), len(ours))
    if not count or reference.shape[1:] != ours.shape[1:] or not reference[0].size:
        return Curves(x, Axis("absolute error"), (), x_step, log=True)
    theirs, mine = (values[:count].reshape(count, -1).astype(np.float64) for values in (reference, ours))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(theirs - mine)
        series = (
            Series("largest error", error.max(1)),
            Series("RMS error", np.sqrt((error**2).mean(1))),
            Series("RMS of the reference", np.sqrt((theirs**2).mean(1))),
        )
    return Curves(x, Axis("absolute error"), series, x_step, log=True)


def _largest_of_each(values: np.ndarray, by: int) -> np.ndarray:
    starts = np.arange(0, len(values), by)
    largest: np.ndarray = np.maximum.reduceat(values, starts) if len(values) else values  # hands NaN on
    return largest


def _steps(size: int, most: int) -> int:
    return max(1, -(-size // most))


def _block_mean(values: np.ndarray, bins: int, frames: int) -> np.ndarray:
    """Mean of each block of [bins, frames]; the last blocks may be smaller."""
    counts = np.outer(_block_sizes(values.shape[0], bins), _block_sizes(values.shape[1], frames))
    with np.errstate(invalid="ignore", over="ignore"):
        mean: np.ndarray = _reduce(np.add, values, bins, frames) / counts
    return mean.astype(np.float32)


def _block_max(values: np.ndarray, bins: int, frames: int) -> np.ndarray:
    largest: np.ndarray = _reduce(np.maximum, values, bins, frames).astype(np.float32)
    return largest


def _reduce(how: np.ufunc, values: np.ndarray, bins: int, frames: int) -> np.ndarray:
    if not values.size:
        return values.astype(np.float64)
    rows: np.ndarray = how.reduceat(values.astype(np.float64), np.arange(0, values.shape[0], bins), axis=0)
    blocks: np.ndarray = how.reduceat(rows, np.arange(0, values.shape[1], frames), axis=1)
    return blocks


def _block_sizes(size: int, by: int) -> np.ndarray:
    sizes: np.ndarray = np.minimum(by, size - np.arange(0, size, by))
    return sizes


def _cut(recording: Recording) -> Recording:
    most = int(MAX_AUDIO_S * recording.rate)
    if len(recording.samples) <= most:
        return recording
    return replace(recording, samples=recording.samples[:most], cut_from_s=len(recording.samples) / recording.rate)
