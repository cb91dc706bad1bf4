"""The ladder of Parakeet TDT: runs reference and port, and fills the rungs of `models/parakeet_tdt/parity/rungs.py`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from models.parakeet_tdt.parity import rungs
from models.parakeet_tdt.parity.reference import Reference, ReferenceRun
from models.parakeet_tdt.pipeline import STEP_COMPONENTS, Features, Pipeline
from parity.ladder.exhibits import SECONDS, Timeline, error_over
from parity.ladder.judging import judge_margins, judge_nearness, judge_results
from parity.ladder.ladder import Ladder, Row, Status
from parity.ladder.packages import CLIPS_EXERCISED
from parity.ladder.recognition import (
    compare_encoder,
    compare_error_rates,
    compare_mel,
    count_forced_flips,
    encoder_windows,
    first_divergence,
    largest_error,
    mel_frames,
)
from parity.ladder.subject import Clip, Subject
from parity.measures.flips import Flips
from parity.measures.margins import Margins
from parity.measures.nearness import Nearness
from parity.measures.results import HostResults
from parity.measures.totals import Totals
from parity.measures.words import Boundaries, boundary_shifts
from toolkit.component import Runtime
from toolkit.loops.transducer import Emission
from toolkit.transcript import Transcript, Word

_MARGINS = {
    "tokens": rungs.TOKEN_MARGINS,
    "blank or token": rungs.BLANK_MARGINS,
    "durations": rungs.DURATION_MARGINS,
}


HEADS = ("token", "duration")


@dataclass
class _Texts:
    """Texts and words of all clips: of the corpus, of the reference and of the port."""

    truth: list[str] = field(default_factory=list)
    reference: list[str] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    reference_words: list[tuple[Word, ...]] = field(default_factory=list)
    our_words: list[tuple[Word, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class _Noise:
    """Largest error seen on the logits of one utterance."""

    token: float = 0.0
    duration: float = 0.0


class Comparison:
    """Runs all clips through reference and port and fills the ladder.

    Args:
        subject: bundle, runtimes and clips.
        ladder: the ladder to fill.
        reference: the reference of the same checkpoint.
    """

    def __init__(self, subject: Subject, ladder: Ladder, reference: Reference) -> None:
        self._subject, self._ladder, self._reference = subject, ladder, reference
        self._pipeline = Pipeline(subject.bundle, subject.runtime)
        whole = subject.bundle.with_components(c.name for c in subject.plan.components)
        self._loops = {form: Pipeline(whole, subject.eager, step=form) for form in STEP_COMPONENTS}
        self._forced, self._free, self._texts = Flips(), Flips(), _Texts()
        self._margins = {kind: Margins() for kind in _MARGINS}
        self._results, self._nearness = HostResults(), Nearness()
        self._too_long: list[str] = []

    def run(self) -> None:
        """All clips, then what is counted over all of them."""
        for clip in self._subject.clips:
            self._clip(clip)
        judge_nearness(self._ladder, rungs.MEL_ERROR, self._nearness)
        self._finish_decode()
        self._finish_words()
        self._finish_boundaries()
        judge_results(self._ladder, self._results, rungs.SAME_TOKENS, rungs.CONFIDENCE)

    def _clip(self, clip: Clip) -> None:
        features = self._pipeline.features(clip.audio)  # first, since it refuses audio too short for either side
        run = self._reference.run(clip.audio)
        hop_s = self._pipeline.host.mel.hop_length / self._pipeline.sample_rate
        ours = features["mel"], features["length"]
        compare_mel(self._ladder, (rungs.MEL, rungs.LENGTH), clip.id, (run.mel, run.length), ours, hop_s)
        self._nearness.add(self._reference.true_mel(clip.audio), run.mel, features["mel"])
        with self._ladder.attempt("wrappers", clip.id):
            self._encoder_wrapper(run)
            self._decoder_wrappers(run)
        limit = self._pipeline.max_steps(len(features["mel"]))
        self._ladder.compare(rungs.LIMIT, np.array([self._reference.max_length(len(run.mel)) - 1]), np.array([limit]))
        with self._ladder.attempt("decode", f"{clip.id}, loop"):
            self._own_loop(run)
        reference = Transcript(run.text, 0.0, run.words, run.said)
        self._results.add(clip.id, reference, self._pipeline.transcript(_emissions(run), 0.0))
        emissions: list[Emission] | None = None
        with self._ladder.attempt("decode", clip.id):
            emissions = self._decode(clip, features, run)
        if emissions is not None:
            self._keep_texts(clip, run, emissions)

    def _encoder_wrapper(self, run: ReferenceRun) -> None:
        """The reference's own mel, padded to each window or cut where it is longer; later clips run one window only."""
        for function in encoder_windows(self._subject, run.length):
            length = min(run.length, mel_frames(function))
            frames = run.frames if length == run.length else self._reference.encode(run.mel[:length], length)
            encoder = self._subject.eager.load("encoder", function.name)
            compare_encoder(self._ladder, (rungs.ENCODER, rungs.ENCODER_LENGTH), encoder, run.mel[:length], frames)

    def _decoder_wrappers(self, run: ReferenceRun) -> None:
        """Compare each component of the decoder along the reference's path, fed with the reference's tensors."""
        ladder, eager = self._ladder, self._subject.eager
        ladder.compare(rungs.PREDICTION, run.predictions, _predictions(eager, run.spoken))
        token_logits, duration_logits = _logits(eager, run.frames[run.positions], run.predictions[run.fed])
        ladder.compare(rungs.TOKEN_LOGITS, run.token_logits, token_logits)
        ladder.compare(rungs.DURATION_LOGITS, run.duration_logits, duration_logits)
        decision = eager.load("joint_decision")
        outputs = [
            decision.predict(inputs) for inputs in _joint_inputs(run.frames[run.positions], run.predictions[run.fed])
        ]
        self._decisions("joint_decision", run, outputs)
        self._decisions("decoder_step", run, list(_fused_steps(eager, run)))

    def _decisions(self, name: str, run: ReferenceRun, outputs: list[dict[str, np.ndarray]]) -> None:
        ours = {key: np.concatenate([values[key].ravel() for values in outputs]) for key in outputs[0]}
        compare, probability = self._ladder.compare, run.probabilities
        compare(rungs.TOKEN_ID, run.token_logits.argmax(1), ours["token_id"], component=name)
        compare(rungs.DURATION, run.duration_logits.argmax(1), ours["duration"], component=name)
        compare(rungs.TOKEN_PROBABILITY, probability, ours["token_probability"], component=name)

    def _own_loop(self, run: ReferenceRun) -> None:
        """The host's loop where no rounding can hide a state that is kept, or moved, at the wrong step.

        Probabilities show what decisions far from a tie do not. The first clips are enough.
        """
        for form, pipeline in self._loops.items() if self._subject.clips.count <= CLIPS_EXERCISED else ():
            steps = pipeline.decode(run.frames)
            count = len(run.tokens) if run.finished else min(len(run.tokens), len(steps))
            theirs = np.stack([run.tokens[:count], run.durations[:count]])
            ours = np.array([[e.token_id, e.duration] for e in steps[: None if run.finished else count]]).T
            self._ladder.compare(rungs.LOOP_DECISIONS, theirs, ours, form=form)
            probability = np.array([e.probability for e in steps[: ours.shape[1]]])
            self._ladder.compare(rungs.LOOP_PROBABILITY, run.probabilities[:count], probability, form=form)

    def _decode(self, clip: Clip, features: Features, run: ReferenceRun) -> list[Emission]:
        frames = self._pipeline.encode(features["mel"], features["length"])
        emissions = self._pipeline.decode(frames)
        capacity = max(window.mel_frames for window in self._pipeline.host.encoder_windows)
        if features["length"] > capacity:  # joined windows are no longer the reference's frames: the task stage judges
            self._too_long.append(clip.id)
            return emissions
        expected = self._reference.encode(features["mel"], features["length"])
        noise = self._teacher_forced(clip, run, frames, expected)
        self._free_running(clip, run, emissions, noise)
        return emissions

    def _teacher_forced(self, clip: Clip, run: ReferenceRun, frames: np.ndarray, expected: np.ndarray) -> _Noise:
        """Our own frames and predictions along the reference's path: the logits that our decisions are taken from.

        They are compared with what the reference makes of our mel, whose own error the stage `features` judges.
        """
        if not {"prediction", "joint"} <= set(self._subject.precision):
            return _Noise()
        self._ladder.compare(rungs.FRAMES, expected, frames)
        curves = error_over(expected, frames, SECONDS, self._pipeline.host.frame_s)
        self._ladder.exhibit("decode", "error of the encoder over time", curves, clip.id)
        if frames.shape != run.frames.shape:
            return _Noise()
        runtime = self._subject.runtime
        ours = _logits(runtime, frames[run.positions], _predictions(runtime, run.spoken)[run.fed])
        for head, theirs, mine in zip(
            HEADS, self._reference.joint(expected[run.positions], run.predictions[run.fed]), ours, strict=True
        ):
            self._ladder.compare(rungs.FORCED_LOGITS, theirs, mine, head=head)
        errors = []
        for head, theirs, mine in zip(HEADS, (run.token_logits, run.duration_logits), ours, strict=True):
            errors.append(largest_error(theirs, mine))
            places = [f"{clip.id}, step {step}, {head}" for step in range(len(theirs))]
            count_forced_flips(self._forced, theirs, mine.argmax(1), errors[-1], places)
        self._keep_margins(clip, run, *ours)
        return _Noise(*errors)

    def _keep_margins(self, clip: Clip, run: ReferenceRun, tokens: np.ndarray, durations: np.ndarray) -> None:
        margins = self._margins
        margins["tokens"].add(clip.id, run.token_logits, tokens)
        margins["blank or token"].add_against(clip.id, run.token_logits, tokens, self._reference.config.blank_token_id)
        margins["durations"].add(clip.id, run.duration_logits, durations)

    def _free_running(self, clip: Clip, run: ReferenceRun, emissions: list[Emission], noise: _Noise) -> None:
        """Our loop on its own; after the first divergence the paths are different utterances."""
        self._free.decisions += 2 * len(run.tokens)
        theirs = list(zip(run.tokens.tolist(), run.durations.tolist(), strict=True))
        step = first_divergence(theirs, [(emission.token_id, emission.duration) for emission in emissions])
        if step is not None:
            emission = emissions[step]
            where = f"{clip.id}, step {step}, frame {emission.frame}"
            if emission.token_id != run.tokens[step]:
                self._free.add(f"{where}, token", run.token_logits[step], emission.token_id, noise.token)
            else:
                self._free.add(f"{where}, duration", run.duration_logits[step], emission.duration, noise.duration)
        elif len(emissions) != len(run.tokens) and run.finished:  # else both stop at a limit of steps, not at the end
            self._free.add_unexplained(f"{clip.id}: {len(emissions)} steps where the reference takes {len(run.tokens)}")

    def _finish_decode(self) -> None:
        for rung, flips in ((rungs.FORCED, self._forced), (rungs.FREE, self._free)):
            if flips.decisions:
                self._ladder.judge(rung, flips.totals())
        for kind, rung in _MARGINS.items():
            judge_margins(self._ladder, rung, self._margins[kind])
        if not self._forced.decisions and self._free.decisions:
            note = "the bundle lacks prediction and joint: no noise is known, nothing is excused"
            self._ladder.skip(rungs.FORCED, note)
        if self._too_long:
            note = f"longer than the largest window, judged by the task stage alone: {', '.join(self._too_long[:5])}"
            self._ladder.add_row("decode", Row(f"{len(self._too_long)} clips", Status.SKIPPED, note=note))

    def _keep_texts(self, clip: Clip, run: ReferenceRun, emissions: list[Emission]) -> None:
        transcript = self._pipeline.transcript(emissions, len(clip.audio) / self._pipeline.sample_rate)
        self._texts.truth.append(clip.text)
        self._texts.reference.append(run.text)
        self._texts.ours.append(transcript.text)
        self._texts.reference_words.append(run.words)
        self._texts.our_words.append(transcript.words)
        self._ladder.exhibit("task", "word boundaries", Timeline.of(run.words, transcript.words, clip.words), clip.id)

    def _finish_words(self) -> None:
        texts = self._texts
        if not any(texts.truth):
            return self._ladder.skip(rungs.WORDS, "no clip with a transcript was decoded")
        rates = compare_error_rates(texts.truth, texts.reference, texts.ours)
        metrics = {
            "wer_percent": rates.ours,
            "reference_wer_percent": rates.reference,
            "wer_delta_points": rates.delta_points,
        }
        return self._ladder.judge(rungs.WORDS, Totals(metrics, headline=rates.headline()))

    def _finish_boundaries(self) -> None:
        pairs = zip(self._texts.reference_words, self._texts.our_words, strict=True)
        shifts = [boundary_shifts(reference, ours) for reference, ours in pairs]
        joined = Boundaries(tuple(s for b in shifts for s in b.shifts_s))
        if not joined.shifts_s:
            return self._ladder.skip(rungs.BOUNDARIES, "reference and port share no word")
        share = joined.share_within(self._pipeline.host.frame_s)
        metrics = {"boundaries": len(joined.shifts_s), "mean_shift_ms": joined.mean_ms, "share_within_bin": share}
        headline = f"word boundaries {joined.mean_ms:.1f} ms from the reference's, {100 * share:.1f} % within one frame"
        return self._ladder.judge(rungs.BOUNDARIES, Totals(metrics, headline=headline))


def _emissions(run: ReferenceRun) -> list[Emission]:
    """The reference's own steps, as the host's loop hands them on."""
    columns = (run.tokens, run.positions, run.durations, run.probabilities)
    return [Emission(*step) for step in zip(*(column.tolist() for column in columns), strict=True)]


def _predictions(runtime: Runtime, spoken: np.ndarray) -> np.ndarray:
    """Outputs [U, D] of the prediction component for a sequence of tokens, state handed on."""
    component = runtime.load("prediction")
    states = {n: np.zeros(component.inputs[n].shape, np.float32) for n in ("hidden_in", "cell_in")}
    rows = []
    for token in spoken:
        outputs = component.predict({"token": np.array([[token]], np.int32), **states})
        states = {"hidden_in": outputs["hidden_out"], "cell_in": outputs["cell_out"]}
        rows.append(outputs["prediction"][0, 0])
    return np.stack(rows)


def _joint_inputs(frames: np.ndarray, predictions: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for frame, prediction in zip(frames, predictions, strict=True):
        yield {"encoder_frame": frame[None, None], "prediction": prediction[None, None]}


def _logits(runtime: Runtime, frames: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Token logits [S, V] and duration logits [S, N] of the joint component."""
    joint = runtime.load("joint")
    outputs = [joint.predict(inputs) for inputs in _joint_inputs(frames, predictions)]
    return np.stack([o["token_logits"][0, 0] for o in outputs]), np.stack([o["duration_logits"][0, 0] for o in outputs])


def _fused_steps(runtime: Runtime, run: ReferenceRun) -> Iterator[dict[str, np.ndarray]]:
    """The fused step along the reference's path; its state moves on when a token follows, not on a blank."""
    component = runtime.load("decoder_step")
    states = {n: np.zeros(component.inputs[n].shape, np.float32) for n in ("hidden_in", "cell_in")}
    following = np.append(run.fed[1:], run.fed[-1])
    for position, fed, after in zip(run.positions, run.fed, following, strict=True):
        token = np.array([[run.spoken[fed]]], np.int32)
        outputs = component.predict({"token": token, **states, "encoder_frame": run.frames[None, None, position]})
        if after != fed:
            states = {"hidden_in": outputs["hidden_out"], "cell_in": outputs["cell_out"]}
        yield {name: outputs[name] for name in ("token_id", "token_probability", "duration")}


def measure(subject: Subject, ladder: Ladder) -> None:
    """Fill the stages features, wrappers, decode and task."""
    Comparison(subject, ladder, Reference(subject.checkpoint.folder)).run()
