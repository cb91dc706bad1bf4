"""What the comparisons of several recognisers do alike: mel, encoder windows, flips, divergence, error rates.

Plain functions on a ladder and on the measures; the order of events, and what is fed to which component, is the
model's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.ladder.exhibits import SECONDS, Spectrograms
from parity.ladder.ladder import Ladder
from parity.ladder.packages import CLIPS_EXERCISED
from parity.ladder.rungs import Rung
from parity.ladder.subject import Subject
from parity.measures.flips import Flips
from parity.measures.words import NORMALISER, ErrorRate, character_error_percent, word_error_percent
from toolkit.component import Component
from toolkit.loops.fixed_windows import padded, smallest_window
from toolkit.spec import FunctionSpec

_PERCENT = {"WER": word_error_percent, "CER": character_error_percent}


def compare_mel(
    ladder: Ladder,
    rungs: tuple[Rung, Rung],
    clip: str,
    reference: tuple[np.ndarray, int],
    ours: tuple[np.ndarray, int],
    hop_s: float,
    *,
    frames_axis: int = 0,
) -> None:
    """Compare two mels and their numbers of valid frames, and show the valid frames side by side.

    Args:
        ladder: to fill.
        rungs: of the mel, and of the number of valid frames.
        clip: id of the clip.
        reference: mel and number of valid frames of the reference.
        ours: mel and number of valid frames of the port.
        hop_s: time of one mel frame, in seconds.
        frames_axis: the axis of a mel that counts frames: 0 for [T, M], 1 for [M, T].
    """
    mels = reference[0], ours[0]
    valid = reference[1]
    ladder.compare(rungs[0], *mels)
    ladder.compare(rungs[1], np.array([valid]), np.array([ours[1]]))
    theirs, mine = (np.moveaxis(mel, frames_axis, 1)[:, :valid] for mel in mels)  # [M, T]
    ladder.exhibit("features", "mel", Spectrograms.of(theirs, mine, SECONDS, hop_s), clip)


def mel_frames(function: FunctionSpec) -> int:
    """Mel frames that a function of the encoder takes: T of its first input [1, T, M]."""
    return function.inputs[0].shape[1]


def encoder_windows(subject: Subject, length: int) -> list[FunctionSpec]:
    """The functions of the encoder that a clip is compared at, the shortest first.

    The first clips see all functions; later clips only the smallest one that holds them, else the largest.

    Args:
        subject: its plan names the functions, its clips are counted.
        length: valid mel frames of the clip.
    """
    functions = sorted(subject.plan.component("encoder").functions, key=mel_frames)
    if subject.clips.count > CLIPS_EXERCISED:
        return [smallest_window(functions, length, mel_frames)]
    return functions


def compare_encoder(
    ladder: Ladder, rungs: tuple[Rung, Rung], encoder: Component, mel: np.ndarray, frames: np.ndarray
) -> None:
    """Compare one window of the encoder's wrapper, fed with the reference's own mel.

    Args:
        ladder: to fill.
        rungs: of the encoder frames, and of their number; both have the field `function`.
        encoder: the wrapper at this window: inputs `mel` [1, T, M] and `length` [1].
        mel: [n, M] valid frames of the reference, no more than the window holds.
        frames: [F, D] encoder frames that the reference makes of this mel.
    """
    window = encoder.inputs["mel"].shape[1]
    length = np.array([len(mel)], np.int32)
    outputs = encoder.predict({"mel": padded(mel, window)[None], "length": length})
    count = np.array([len(frames)], np.int32)
    ladder.compare(rungs[0], frames, outputs["encoder"][0, : len(frames)], function=encoder.function)
    ladder.compare(rungs[1], count, outputs["encoder_length"], function=encoder.function)


def mels_for_window(mels: Sequence[np.ndarray], window: int) -> list[np.ndarray]:
    """Mels that exercise one window of the encoder: each clip, cut to the window, and clips in a row that fill it.

    Args:
        mels: [n, M] valid frames of each clip.
        window: mel frames of the window.
    """
    repeats = 1 + window // sum(map(len, mels))
    return [mel[:window] for mel in (*mels, np.concatenate([*mels] * repeats))]


def largest_error(reference: np.ndarray, ours: np.ndarray) -> float:
    """The largest absolute difference of two arrays of logits: the noise that may turn a decision at a near tie."""
    return float(np.abs(reference - ours).max())


def count_forced_flips(flips: Flips, logits: np.ndarray, ours: np.ndarray, noise: float, places: Sequence[str]) -> None:
    """Count the decisions along the reference's path, and those that differ.

    Args:
        flips: to add to.
        logits: [n, V] of the reference.
        ours: [n] the port's decisions, fed with the reference's history.
        noise: largest error of the port's logits.
        places: [n] the clip and the place in it, for a note on a decision that differs.
    """
    flips.decisions += len(logits)
    for index in np.flatnonzero(logits.argmax(1) != ours).tolist():
        flips.add(places[index], logits[index], int(ours[index]), noise)


def first_divergence(reference: Sequence[object], ours: Sequence[object]) -> int | None:
    """The first step at which two free runs decide differently; None while both go on.

    After it the two runs are different utterances. A run that ends earlier does not diverge by that alone.
    """
    pairs = zip(reference, ours, strict=False)
    return next((step for step, (theirs, mine) in enumerate(pairs) if theirs != mine), None)


@dataclass(frozen=True)
class ErrorRates:
    """Error rates of the port and of the reference over the same transcripts, in percent.

    Attributes:
        measure: WER or CER.
        ours: error rate of the port.
        reference: error rate of the reference.
        count: number of transcripts.
    """

    measure: ErrorRate
    ours: float
    reference: float
    count: int

    @property
    def delta_points(self) -> float:
        """By how many percentage points the port is worse."""
        return self.ours - self.reference

    def headline(self, unit: str = "clips") -> str:
        """Both rates in words, with the number of transcripts and how texts were normalised."""
        figures = f"{self.measure} {self.ours:.2f} % ours, {self.reference:.2f} % reference"
        return f"{figures}, over {self.count} {unit} ({NORMALISER})"


def compare_error_rates(
    truths: Sequence[str], reference: Sequence[str], ours: Sequence[str], measure: ErrorRate = "WER"
) -> ErrorRates:
    """Score the texts of both sides on the same transcripts.

    Args:
        truths: transcripts of the corpus, at least one of them not empty.
        reference: texts of the reference.
        ours: texts of the port.
        measure: WER or CER.

    Raises:
        ValueError: there is no transcript.
    """
    percent = _PERCENT[measure]
    return ErrorRates(measure, percent(truths, ours), percent(truths, reference), len(truths))
