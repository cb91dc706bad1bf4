"""Audio and text beyond the model's reach: aligned window by window, the text carried forward.

The decoder is causal: the times of a word do not depend on the words after it. So a window of audio is given more text
than is said in it, and the words that belong to it are those up to the place where the times break: where words run
backwards, into silence or into the end of the window, skip sound, or are much less probable than the words before. The
next window begins in the longest pause among the last of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np

from toolkit.audio.loudness import loudness
from toolkit.contract import Progress
from toolkit.errors import ToolkitError
from toolkit.text.forced_words import monotonic
from toolkit.transcript import Word

# Share of the time classes' reach that a window uses. Qwen's own code gives the model 180 s where the classes reach
# 400 s (qwen-asr 0.0.6, MAX_FORCE_ALIGN_INPUT_SECONDS); further out it loses its place.
REACH_USED = 0.45
# The constants below were set on joined demo clips (tests/models/qwen3_forced_aligner/test_long_audio.py).
_EDGE = 0.1  # share of the window before its end in which no word is accepted: it may be cut, or lack context
_REVISED = 0.4  # share of the accepted words, the last ones, among which the next window may begin
_MORE_WORDS, _SPARE_WORDS = 1.5, 8  # words given to a window, from those that it holds at the text's mean pace
_OVERLAP_S = 0.2  # by which a word may begin before the word before it ends: the model's own blur
_SKIPPED_S = 0.5  # sound that may lie between two words
_LOUD = 0.5  # share of a word that is loud, at least
_PROBABLE = 0.5  # confidence of a word, at least, as a share of the median of all accepted ones
_SURE = 0.8  # confidence of the words at both sides of a new window's start, as a share of the window's median
_BROKEN = 2  # words in a row that break a rule, from which on no word is accepted; a single one is mended
_LEARNT = 5  # words from which on their median confidence counts
_LEAD_S = 0.3  # of silence kept before the first sound of a window
_POOR = 0.5  # share of a window that its words reach, below which beginning again at an earlier word is tried
# Mean confidence of a window's words, as a share of the median of all accepted ones, below which the same is tried, and
# any surer window is taken: where a phrase is said again, words squeezed into the wrong one reach far, but are unsure.
_CREDIBLE = 0.75
_EARLIER = 12  # words to go back by, at most
_EMPTY = 4  # windows in a row without an accepted word, at which alignment is given up


@dataclass(frozen=True)
class Heard:
    """What the model says of the words of one window, before any repair.

    Attributes:
        times_ms: [n, 2] start and end of each word, from the start of the window.
        confidence: [n].
    """

    times_ms: np.ndarray
    confidence: np.ndarray


class Listener(Protocol):
    """The model on one window."""

    def hear(self, audio: np.ndarray, words: Sequence[str]) -> Heard:
        """One pass over [samples] float32 and words that fit."""

    def fitting(self, samples: int, words: Sequence[str]) -> int:
        """How many of the words, the first ones, the longest prompt has room for beside so much audio."""


@dataclass(frozen=True)
class Limits:
    """What is aligned at once.

    Attributes:
        window_s: longest window in seconds.
        words_per_s: more than anybody says.
        sample_rate: in Hz.
    """

    window_s: float
    words_per_s: float
    sample_rate: int


@dataclass(frozen=True)
class LongAlignment:
    """Words with times in seconds from the start of the recording, and how many windows that took."""

    words: tuple[Word, ...]
    windows: int


@dataclass(frozen=True)
class _Attempt:
    """One window: its first word by number, its start and length in seconds, its words, and which of them fit."""

    place: int
    start_s: float
    length_s: float
    given: Sequence[str]
    heard: Heard
    fits: Sequence[bool]
    is_last: bool

    @property
    def confidence(self) -> float:
        """The mean of the words up to the last one that fits."""
        return float(self.heard.confidence[: len(self.fits)].mean()) if self.fits else 0.0

    @property
    def reach(self) -> float:
        """The share of the window up to the end of the last word that fits."""
        if self.is_last:
            return 1.0
        return float(self.heard.times_ms[len(self.fits) - 1, 1]) / 1000 / self.length_s if self.fits else 0.0


@dataclass(frozen=True)
class _Cut:
    """How many words of a window are kept, and where the next one begins, in seconds from the start of this one."""

    words: int
    next_s: float


def align_in_windows(
    listener: Listener, audio: np.ndarray, words: Sequence[str], limits: Limits, progress: Progress
) -> LongAlignment:
    """The times of all words in audio that is too long for one pass.

    Args:
        listener: the model.
        audio: [samples] float32.
        words: as the model reads them.
        limits: of a window.
        progress: called with (seconds done, seconds in all).

    Raises:
        ToolkitError: the text does not follow the audio; the message has the time and the word where it was lost.
    """
    walk = _Walk(listener, audio, words, limits)
    while len(walk.words) < len(words):
        walk.step()
        progress(math.ceil(walk.start_s), math.ceil(walk.duration_s))
    progress(math.ceil(walk.duration_s), math.ceil(walk.duration_s))
    return LongAlignment(tuple(walk.words), walk.windows)


def long_audio_notes(result: LongAlignment, duration_s: float, limits: Limits) -> tuple[str, ...]:
    """What the user should know: that windows were used, and that the text ended long before the audio.

    Args:
        result: of `align_in_windows`.
        duration_s: of the audio.
        limits: of a window.
    """
    windowed = f"{duration_s:.1f} s of audio were aligned in {result.windows} windows of up to {limits.window_s:.1f} s"
    end_s = result.words[-1].end_s
    if duration_s - end_s <= limits.window_s:
        return (windowed,)
    return windowed, f"the text ends at {end_s:.1f} s of {duration_s:.1f} s; check that it is the text of all the audio"


class _Walk:
    """The way through a recording: the words that have their times, and where the next window begins."""

    def __init__(self, listener: Listener, audio: np.ndarray, words: Sequence[str], limits: Limits) -> None:
        self._listener, self._audio, self._texts, self._limits = listener, audio, words, limits
        self._loudness = loudness(audio, limits.sample_rate)
        self.duration_s = len(audio) / limits.sample_rate
        self.words: list[Word] = []
        self.start_s, self.windows, self._empty, self._settled = 0.0, 0, 0, 0

    def step(self) -> None:
        """Align one window, begun at an earlier word where that is surer or reaches further, and move on."""
        attempt = self._attempt(len(self.words), self.start_s)
        if attempt.reach < _POOR or not self._is_credible(attempt):
            attempt = max([attempt, *self._earlier()], key=lambda each: (self._is_credible(each), each.reach))
            self._settled = attempt.place
            del self.words[attempt.place :]
        cut = self._cut(attempt)
        mended_s = _mended_s(attempt.heard, cut.words) + attempt.start_s
        for text, (start_s, end_s), sure in zip(attempt.given, mended_s, attempt.heard.confidence, strict=False):
            self.words.append(Word(text, float(start_s), float(end_s), float(sure)))
        self.windows += 1
        self.start_s = attempt.start_s + cut.next_s

    def _earlier(self) -> list[_Attempt]:
        """Windows that begin behind the last words; never before where it was gone back to already."""
        places = range(max(self._settled + 1, len(self.words) - _EARLIER), len(self.words))
        starts_s = [self._sound_from(self.words[place - 1].end_s) for place in places]
        return [self._heard_from(*start) for start in zip(places, starts_s, strict=True) if self._has_time(*start)]

    def _attempt(self, place: int, start_s: float) -> _Attempt:
        """The window that begins at a word and, but for silence, at a time.

        Raises:
            ToolkitError: the audio behind it is too short for the words that are left.
        """
        start_s = self._sound_from(start_s)
        if not self._has_time(place, start_s):
            rest_s = max(self.duration_s - start_s, 0.0)
            raise self._lost(f"{len(self._texts) - place} words are left for the last {rest_s:.1f} s")
        return self._heard_from(place, start_s)

    def _sound_from(self, start_s: float) -> float:
        """The time itself, or shortly before the next sound."""
        return max(start_s, self._loudness.next_loud(start_s) - _LEAD_S)

    def _has_time(self, place: int, start_s: float) -> bool:
        """Whether the words from one on can be said in the audio from a time on."""
        return len(self._texts) - place <= max(1.0, self._limits.words_per_s * (self.duration_s - start_s))

    def _heard_from(self, place: int, start_s: float) -> _Attempt:
        left, rest_s = self._texts[place:], self.duration_s - start_s
        length_s = min(rest_s, self._limits.window_s)
        window = self._window(start_s, length_s)
        room = self._listener.fitting(len(window), left)
        is_last = rest_s <= self._limits.window_s and room == len(left)
        given = left if is_last else left[: min(room, self._expected(len(left), rest_s))]
        heard = self._listener.hear(window, given)
        fits = [True] * len(given) if is_last else self._belonging(heard, start_s, length_s)
        return _Attempt(place, start_s, length_s, given, heard, fits, is_last)

    def _window(self, start_s: float, length_s: float) -> np.ndarray:
        first = round(start_s * self._limits.sample_rate)
        return self._audio[first : first + max(1, round(length_s * self._limits.sample_rate))]

    def _expected(self, words: int, rest_s: float) -> int:
        """More words than the next window is likely to hold."""
        return math.ceil(_MORE_WORDS * words / rest_s * self._limits.window_s) + _SPARE_WORDS

    def _cut(self, attempt: _Attempt) -> _Cut:
        """What to keep of a window, and where the next one begins."""
        if attempt.is_last:
            return _Cut(len(attempt.given), attempt.length_s)
        if attempt.fits:
            self._empty = 0
            return _cut_in_pause(attempt.heard, attempt.fits)
        self._empty += 1
        if self._empty == _EMPTY:
            raise self._lost(f"{_EMPTY} windows in a row hold no word of it")
        return _Cut(0, attempt.length_s / 2)

    def _belonging(self, heard: Heard, start_s: float, length_s: float) -> list[bool]:
        """`_fits`, without the rules that look at sound where nothing else is left (noise)."""
        limit_s = (1 - _EDGE) * length_s
        return self._fits(heard, start_s, limit_s, by_sound=True) or self._fits(heard, start_s, limit_s, by_sound=False)

    def _fits(self, heard: Heard, window_start_s: float, limit_s: float, *, by_sound: bool) -> list[bool]:
        """For each word that belongs to the window, whether it keeps the rules itself; the last one does."""
        least = _PROBABLE * self._usual()
        fits: list[bool] = []
        reached_s = 0.0
        for (start_s, end_s), confidence in zip(heard.times_ms / 1000, heard.confidence, strict=True):
            in_order = reached_s - _OVERLAP_S <= start_s < end_s <= limit_s
            is_sound = not by_sound or self._is_sound(
                *(window_start_s + time_s for time_s in (start_s, end_s, reached_s))
            )
            fits.append(bool(in_order and is_sound and confidence >= least))
            if fits[-1]:
                reached_s = max(reached_s, end_s)
            elif not any(fits[-_BROKEN:]) and len(fits) >= _BROKEN:
                break
        while fits and not fits[-1]:
            fits.pop()
        return fits

    def _is_credible(self, attempt: _Attempt) -> bool:
        return attempt.confidence >= _CREDIBLE * self._usual()

    def _usual(self) -> float:
        """The median confidence of the words accepted so far; 0 before it counts."""
        known = [word.confidence for word in self.words]
        return median(known) if len(known) >= _LEARNT else 0.0

    def _is_sound(self, start_s: float, end_s: float, reached_s: float) -> bool:
        """Whether a word is loud, and little that is loud lies between it and the word before."""
        is_loud = self._loudness.between(start_s, end_s) >= _LOUD * (end_s - start_s)
        return is_loud and self._loudness.between(reached_s, start_s) <= _SKIPPED_S

    def _lost(self, reason: str) -> ToolkitError:
        word = self._texts[len(self.words)]
        where = f"word {len(self.words) + 1} ('{word}')"
        return ToolkitError(
            f"the text does not follow the audio from {self.start_s:.1f} s and {where} on: {reason}",
            "Check the text there, or cut the audio, and its text, at a pause before it.",
        )


def _mended_s(heard: Heard, count: int) -> np.ndarray:
    """[count, 2] times in seconds that never run backwards, repaired as in one pass."""
    return np.array(monotonic(heard.times_ms[:count].ravel()), np.float64).reshape(-1, 2) / 1000


def _cut_in_pause(heard: Heard, fits: Sequence[bool]) -> _Cut:
    """The cut in the longest pause among the last accepted words, between two that fit and are sure if possible."""
    count = len(fits)
    times_s, confidence = _mended_s(heard, count), heard.confidence[:count]
    if count == 1:
        return _Cut(1, float(times_s[-1, 1]))
    sure = fits & (confidence >= _SURE * median(confidence))
    late = np.arange(count - 1) >= min(int(count * (1 - _REVISED)) - 1, count - 2)
    pauses_s = times_s[1:, 0] - times_s[:-1, 1]
    place = int(np.lexsort((pauses_s, late, sure[:-1] & sure[1:]))[-1])
    return _Cut(place + 1, float(times_s[place, 1] + times_s[place + 1, 0]) / 2)
