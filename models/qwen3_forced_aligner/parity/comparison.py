"""The ladder of Qwen3-ForcedAligner: runs reference and port, and fills the rungs of `rungs.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.qwen3_forced_aligner import export
from models.qwen3_forced_aligner.parity import rungs
from models.qwen3_forced_aligner.parity.reference import Reference, ReferenceRun
from models.qwen3_forced_aligner.pipeline import ENCODER_COMPONENTS, EncoderForm, MarkerOutputs, Pipeline
from parity.ladder.exhibits import Axis, Timeline, error_over
from parity.ladder.judging import judge_margins, judge_nearness, judge_results
from parity.ladder.ladder import Ladder, Row, Status
from parity.ladder.recognition import compare_mel, count_forced_flips, largest_error
from parity.ladder.subject import Clip, Subject
from parity.measures.flips import Flips
from parity.measures.margins import Margins, softmax
from parity.measures.nearness import Nearness
from parity.measures.results import HostResults
from parity.measures.totals import Totals
from parity.measures.words import Boundaries, boundary_shifts
from toolkit.component import Component, Runtime
from toolkit.errors import ToolkitError
from toolkit.loops.fixed_windows import fitting_window, padded
from toolkit.runtimes.eager import EagerRuntime
from toolkit.transcript import Transcript, Word

LIMITS_MS = (20, 80, 160)
# Two classes a word, as a clip rarely has them: one, two and more out of order, at either end and within; all of them.
BACKWARDS = (
    (9, 1, 2, 3, 4, 5),
    (1, 2, 3, 4, 5, 0),
    (2, 9, 4, 6),
    (2, 9, 8, 5, 6, 7, 8, 8),
    (0, 20, 19, 18, 5, 6, 7, 8),
    (0, 20, 19, 18, 17, 16, 7, 8, 9, 10, 11, 12),
    (9, 8, 7, 1, 2, 3, 4, 5),
    (1, 2, 3, 4, 5, 0, 0, 0),
    (9, 8, 7, 6, 5, 4),
)


@dataclass
class _Form:
    """The pipeline and runtime of one form of the encoder, and its decisions and boundaries over all clips."""

    pipeline: Pipeline
    runtime: str
    flips: Flips = field(default_factory=Flips)
    margins: Margins = field(default_factory=Margins)
    from_reference: list[float] = field(default_factory=list)
    from_truth: list[float] = field(default_factory=list)


class Comparison:
    """Runs all clips through reference and port and fills the ladder.

    Args:
        subject: bundle, runtimes and clips.
        ladder: the ladder to fill.
        reference: the reference of the same checkpoint, with the bundle's audio attention.
    """

    def __init__(self, subject: Subject, ladder: Ladder, reference: Reference) -> None:
        self._subject, self._ladder, self._reference = subject, ladder, reference
        self._pipeline = Pipeline(subject.bundle, subject.runtime)
        self._host = self._pipeline.host
        # Both encoders are shown side by side; the one that the bundle lacks runs as its wrapper.
        self._plan = export.plan(subject.checkpoint.folder, {**subject.bundle.manifest.options, "encoder": "both"})
        self._eager = EagerRuntime(self._plan)
        self._forms = {form: self._form(form) for form in ENCODER_COMPONENTS}
        self._wrapped = {n: Pipeline(f.pipeline.bundle, self._eager, encoder=n) for n, f in self._forms.items()}
        self._reference_from_truth: list[float] = []
        self._results, self._nearness = HostResults(), Nearness()

    def run(self) -> None:
        """All clips, then what is counted over all of them."""
        for clip in self._subject.clips:
            self._clip(clip)
        judge_nearness(self._ladder, rungs.MEL_ERROR, self._nearness)
        for name, form in self._forms.items():
            self._finish(name, form)
        judge_results(self._ladder, self._results, rungs.SAME_CLASSES, rungs.CONFIDENCE)
        if self._results.clips:
            self._ladder.judge(rungs.BACKWARDS, self._backwards().totals("sequences"))

    def _form(self, form: EncoderForm) -> _Form:
        components, names = ENCODER_COMPONENTS[form], set(self._subject.precision)
        if set(components) <= names:
            pipeline = Pipeline(self._subject.bundle, self._subject.runtime, encoder=form)
            return _Form(pipeline, self._subject.runtime.name)
        whole = self._subject.bundle.with_components(c.name for c in self._plan.components)
        return _Form(Pipeline(whole, _Mixed(self._subject.runtime, self._eager, components), encoder=form), "eager")

    def _clip(self, clip: Clip) -> None:
        try:  # first, since it refuses what the reference would silently place
            words = self._pipeline.words(clip.text, None, len(clip.audio) / self._host.sample_rate)
            for form in self._forms.values():
                form.pipeline.check_room(len(clip.audio), words)
        except ToolkitError as error:
            self._ladder.add_row("decode", Row(clip.id, Status.SKIPPED, note=error.message))
            return
        run = self._reference.run(clip.audio, clip.text)
        theirs, features = (run.mel, run.length), self._pipeline.features(clip.audio)
        hop_s = self._host.mel.hop_length / self._host.sample_rate
        compare_mel(self._ladder, (rungs.MEL, rungs.LENGTH), clip.id, theirs, features, hop_s, frames_axis=1)
        self._nearness.add(self._reference.true_mel(clip.audio, clip.text), run.mel, features[0], frames_axis=1)
        with self._ladder.attempt("wrappers", clip.id):
            self._audio_wrappers(run)
            self._decoder_wrappers(run)
        truth = [Word(w.text, w.start_s, w.end_s, 1.0) for w in clip.words]
        self._reference_from_truth += boundary_shifts(truth, run.words).shifts_s
        outputs = MarkerOutputs(run.logits.argmax(1), softmax(run.logits).max(1), run.logits)
        ours = self._pipeline.words_with_times(words, outputs)
        self._results.add(clip.id, _transcript(run.words), _transcript(ours))
        for name, form in self._forms.items():
            with self._ladder.attempt("decode", f"{clip.id}, {name} encoder"):
                self._decode(name, form, clip, words, run, truth)

    def _backwards(self) -> HostResults:
        """The repair of times, which classes in order never ask for."""
        results = HostResults()
        for classes in BACKWARDS:
            theirs = self._reference.words_from_classes(classes)
            certain, no_logits = np.ones(len(classes), np.float32), np.empty((len(classes), 0))
            outputs = MarkerOutputs(np.array(classes, np.int32), certain, no_logits)
            ours = self._pipeline.words_with_times([word.text for word in theirs], outputs)
            results.add(" ".join(map(str, classes)), _transcript(theirs), _transcript(ours))
        return results

    def _audio_wrappers(self, run: ReferenceRun) -> None:
        """Each encoder component, fed with the reference's own tensors; the transformer at the shortest length that
        fits, since the longer ones compute the same windows."""
        compare, h, n = self._ladder.compare, self._host, len(run.frames)
        chunks = range(run.mel.shape[1] // h.chunk_mel_frames)
        frames = np.concatenate([self._wrapped["split"].convolve(run.mel, chunk) for chunk in chunks])
        compare(rungs.CONV, run.frames, frames[:n])
        if function := fitting_window(h.audio_functions, n, lambda each: each.frames):
            component = self._eager.load("audio_transformer", function.function)
            rows = padded(run.frames, function.frames)[None]
            audio = component.predict({"frames": rows, "length": np.array([n], np.int32)})["audio"][0]
            name, behind = function.function, np.array([np.count_nonzero(audio[n:])])
            compare(rungs.TRANSFORMER, run.audio, audio[:n], function=name)
            compare(rungs.PADDING, np.zeros(1, np.int32), behind, function=name)
        if h.audio_attention == "windowed":
            compare(rungs.ENCODER, run.audio, self._wrapped["monolithic"].encode(run.mel, run.length))

    def _decoder_wrappers(self, run: ReferenceRun) -> None:
        compare, prompt_length = self._ladder.compare, len(run.ids)
        pipeline = self._wrapped[self._pipeline.encoder_form]
        prompt = pipeline.prompt([w.text for w in run.words], len(run.audio))
        compare(rungs.IDS, run.ids, prompt.ids)
        embeddings = pipeline.embed(prompt, run.audio)
        compare(rungs.EMBEDDINGS, run.embeddings, embeddings[:prompt_length])
        embeddings[:prompt_length] = run.embeddings
        hidden = pipeline.prefill(embeddings)
        compare(rungs.HIDDEN, run.hidden, hidden[:prompt_length])
        outputs = pipeline.classify(run.hidden[run.markers])
        compare(rungs.LOGITS, run.logits, outputs.logits)
        compare(rungs.TIME_CLASS, run.logits.argmax(1), outputs.time_class)
        compare(rungs.PROBABILITY, softmax(run.logits).max(1), outputs.probability)

    def _decode(
        self, name: str, form: _Form, clip: Clip, words: Sequence[str], run: ReferenceRun, truth: Sequence[Word]
    ) -> None:
        """The whole chain on its own, from audio to classes and times."""
        outputs = form.pipeline.marker_outputs(clip.audio, words)
        if name == self._pipeline.encoder_form:
            self._ladder.compare(rungs.CHAIN, run.logits, outputs.logits)
            curves = error_over(run.logits, outputs.logits, Axis("time marker"))
            self._ladder.exhibit("decode", "error of the logits over the markers", curves, clip.id)
        noise = largest_error(run.logits, outputs.logits)
        form.margins.add(clip.id, run.logits, outputs.logits)
        places = [f"{clip.id}, {word} {side}" for word in words for side in ("start", "end")]
        count_forced_flips(form.flips, run.logits, outputs.time_class, noise, places)
        ours = form.pipeline.words_with_times(words, outputs)
        form.from_reference += boundary_shifts(run.words, ours).shifts_s
        form.from_truth += boundary_shifts(truth, ours).shifts_s
        lanes = Timeline.of(run.words, ours, truth)
        self._ladder.exhibit("task", f"word boundaries, {name} encoder", lanes, clip.id)

    def _finish(self, name: EncoderForm, form: _Form) -> None:
        label = f"{name} encoder" + ("" if form.runtime == self._subject.runtime.name else f" ({form.runtime} wrapper)")
        lossy = name == "monolithic" and self._host.audio_attention == "full"
        if not form.from_reference:
            self._ladder.add_row("task", Row(label, Status.SKIPPED, note="no clip was aligned"))
            return
        if not lossy:
            self._ladder.judge(rungs.CLASSES, form.flips.totals(), encoder=label)
            judge_margins(self._ladder, rungs.MARGINS, form.margins, encoder=label)
        boundaries = rungs.BOUNDARIES_LOSSY if lossy else rungs.BOUNDARIES
        self._ladder.judge(boundaries, self._from_reference(label, form, lossy), encoder=label)
        if form.from_truth:
            known = rungs.KNOWN_LOSSY if lossy else rungs.KNOWN
            self._ladder.judge(known, self._from_truth(label, form), encoder=label)

    def _from_reference(self, label: str, form: _Form, lossy: bool) -> Totals:
        metrics = _figures(form.from_reference, self._bin_s)
        note = "one window at a time: attention across windows is lost" if lossy else ""
        headline = f"{label}: {_sentence(metrics)} of the reference's {int(metrics['boundaries'])} boundaries"
        return Totals(metrics, note, headline)

    def _from_truth(self, label: str, form: _Form) -> Totals:
        metrics = _figures(form.from_truth, self._bin_s)
        theirs = _figures(self._reference_from_truth, self._bin_s)
        metrics |= {"reference_aas_ms": theirs["aas_ms"], "reference_within_80_ms": theirs["within_80_ms"]}
        metrics["delta_bins"] = (metrics["aas_ms"] - theirs["aas_ms"]) / (1000 * self._bin_s)
        headline = f"{label}: {_sentence(metrics)} of the corpus's boundaries; the reference {_sentence(theirs)}"
        return Totals(metrics, headline=headline)

    @property
    def _bin_s(self) -> float:
        return self._host.bin_ms / 1000


class _Mixed(Runtime):
    """Some components on one runtime, the others on another: an encoder that the bundle lacks, before its decoder."""

    def __init__(self, runtime: Runtime, eager: Runtime, from_eager: Sequence[str]) -> None:
        self.name = runtime.name
        self._runtime, self._eager, self._from_eager = runtime, eager, from_eager

    def load(self, component: str, function: str = "main") -> Component:
        """A component of the runtime that has it."""
        return (self._eager if component in self._from_eager else self._runtime).load(component, function)


def _transcript(words: tuple[Word, ...]) -> Transcript:
    return Transcript("", 0.0, words, ())


def _figures(shifts_s: Sequence[float], bin_s: float) -> dict[str, float]:
    """AAS (mean absolute shift), the largest, and shares within limits."""
    boundaries = Boundaries(tuple(shifts_s))
    shares = {f"within_{ms}_ms": boundaries.share_within(ms / 1000) for ms in LIMITS_MS}
    return {
        "boundaries": len(shifts_s),
        "aas_ms": boundaries.mean_ms,
        "max_ms": 1000 * max(shifts_s),
        "share_within_bin": boundaries.share_within(bin_s),
        **shares,
    }


def _sentence(figures: dict[str, float]) -> str:
    shares = " / ".join(f"{100 * figures[f'within_{ms}_ms']:.1f}" for ms in LIMITS_MS)
    limits = "/".join(map(str, LIMITS_MS))
    return f"AAS {figures['aas_ms']:.1f} ms, max {figures['max_ms']:.0f} ms, {shares} % within {limits} ms"


def measure(subject: Subject, ladder: Ladder) -> None:
    """Fill the stages features, wrappers, decode and task."""
    full = subject.bundle.manifest.host["audio_attention"] == "full"
    Comparison(subject, ladder, Reference(subject.checkpoint.folder, full_attention=full)).run()
