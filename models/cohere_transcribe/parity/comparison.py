"""The ladder of Cohere Transcribe: runs reference and port, and fills the rungs of `rungs.py`."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from models.cohere_transcribe.parity import rungs
from models.cohere_transcribe.parity.exercise import decoder_forms
from models.cohere_transcribe.parity.kept_texts import ClipTexts, KeptTexts
from models.cohere_transcribe.parity.reference import Reference, ReferencePiece, ReferenceRun
from models.cohere_transcribe.pipeline import EncodedAudio, Pipeline
from parity.ladder.exhibits import Axis, error_over
from parity.ladder.judging import judge_margins, judge_nearness, judge_results
from parity.ladder.ladder import Ladder, Row, SkipStage, Status
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
from parity.measures.words import ErrorRate, error_rates
from toolkit.bundle.bundle import rebuild_step
from toolkit.component import Runtime
from toolkit.errors import BundleError
from toolkit.loops.cached_decoder import COMPONENTS, DecoderForm, StatefulDecoder
from toolkit.loops.fixed_windows import padded
from toolkit.transcript import Transcript, join_segments


@dataclass
class _Form:
    """The pipeline of one form of the decoder, and its flips and margins over all clips."""

    pipeline: Pipeline
    forced: Flips = field(default_factory=Flips)
    free: Flips = field(default_factory=Flips)
    tokens: Margins = field(default_factory=Margins)
    end: Margins = field(default_factory=Margins)


class ReplayedDecoder:
    """A decoder that returns the reference's logits row by row, whatever token it is given.

    Args:
        logits: [U, V] of the reference, in the form that the bundle's head returns.
    """

    def __init__(self, logits: np.ndarray) -> None:
        self._logits, self._next = logits, 0

    @property
    def room(self) -> int:
        """Rows of logits that are left."""
        return len(self._logits) - self._next

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """The first row of logits [V]; the prompt is ignored."""
        return self.step(int(ids[-1]))

    def step(self, token: int) -> np.ndarray:
        """The next row of logits [V]; the token is ignored."""
        self._next += 1
        row: np.ndarray = self._logits[self._next - 1]
        return row


@dataclass(frozen=True)
class _Heard:
    """What the port hears of one piece of audio, and what the reference makes of that.

    Attributes:
        mel: [T, M] of the port, whose own error the stage `features` judges.
        length: valid frames of it.
        logits: [U, V] of the reference on this mel, along its own tokens.
    """

    mel: np.ndarray
    length: int
    logits: np.ndarray


class Comparison:
    """Runs all clips through reference and port and fills the ladder.

    Args:
        subject: bundle, runtimes and clips; its options `decoder` and `language` choose the form, and the language of
            clips that do not say theirs.
        ladder: the ladder to fill.
        reference: the reference of the same checkpoint.
    """

    def __init__(self, subject: Subject, ladder: Ladder, reference: Reference) -> None:
        self._subject, self._ladder, self._reference = subject, ladder, reference
        chosen = subject.options.get("decoder", "all")
        held = [form for form, name in COMPONENTS.items() if name in subject.precision]
        forms = [form for form in held if chosen in ("all", form)]
        if not forms:
            lacking = "decoder" if chosen == "all" else f"{chosen} decoder"
            bundle = subject.bundle
            raise BundleError(f"{bundle.path} has no {lacking}", rebuild_step(bundle.manifest, bundle.path))
        self._forms = {form: _Form(self._pipeline(subject.runtime, form)) for form in forms}
        self._first = self._forms[forms[0]].pipeline
        self._wrapped = {form: self._pipeline(subject.eager, form) for form in decoder_forms(subject.plan)}
        only = str(subject.options.get("language", "all"))
        self._only = only if only == "all" else self._first.language_code(only)
        self._kept = KeptTexts(subject.options.get("resume"), subject.bundle.manifest)
        self._resumed = 0
        self._faulty = False
        self._dither_due = True
        self._results, self._nearness = HostResults(), Nearness()
        self._by_language: dict[str, list[ClipTexts]] = defaultdict(list)

    def run(self) -> None:
        """All clips, then what is counted over all of them."""
        for clip in self._subject.clips:
            language = clip.language or (self._only if self._only != "all" else "en")
            if self._only not in ("all", language):
                continue
            if language in self._first.host.prompts:
                self._clip(clip, language)
            else:
                self._skip("decode", clip.id, f"the checkpoint has no language '{language}'")
        judge_nearness(self._ladder, rungs.MEL_ERROR, self._nearness)
        for name, form in self._forms.items():
            if form.forced.decisions:
                self._ladder.judge(rungs.FORCED, form.forced.totals(), form=name)
                self._ladder.judge(rungs.FREE, form.free.totals(), form=name)
                judge_margins(self._ladder, rungs.TOKEN_MARGINS, form.tokens, form=name)
                judge_margins(self._ladder, rungs.END_MARGINS, form.end, form=name)
        for stage in ("features", "wrappers", "decode") if self._resumed else ():
            self._skip(stage, f"{self._resumed} clips resumed", "ran in the run that broke off; its texts count below")
        judge_results(self._ladder, self._results, rungs.SAME_TOKENS, rungs.CONFIDENCE)
        with self._ladder.attempt("task", "error rates"):
            self._finish_task()

    def _pipeline(self, runtime: Runtime, form: DecoderForm) -> Pipeline:
        bundle = self._subject.bundle
        if runtime is self._subject.eager:
            bundle = bundle.with_components(c.name for c in self._subject.plan.components)
        return Pipeline(bundle, runtime, decoder=form, dither=False)

    def _clip(self, clip: Clip, language: str) -> None:
        if (kept := self._kept.get(clip.id)) and set(self._forms) <= set(kept.ours):
            self._resumed += 1
            self._count(kept)
            return
        for form in self._forms.values():
            form.pipeline.language = language
        self._faulty = False
        texts = ClipTexts(clip.id, language, clip.text, *self._texts(clip, language))
        if not self._faulty:  # else a resumed run would not show the fault
            self._kept.add(texts)
        self._count(texts)

    def _texts(self, clip: Clip, language: str) -> tuple[str, dict[str, str]]:
        """One clip through the stages features, wrappers and decode; the reference's text, and ours by form."""
        cuts = self._first.cuts(clip.audio)
        max_piece_s = self._first.longest_s
        features = [self._first.features(clip.audio[cut]) for cut in cuts]  # refuses audio too short for either side
        run = self._reference.run(clip.audio, language)
        own_cuts = len(cuts) > 1 and max_piece_s < self._first.host.longest_s
        if not own_cuts:
            self._ladder.compare(rungs.PIECES, np.array([len(run.pieces)]), np.array([len(cuts)]))
        if own_cuts or len(run.pieces) != len(cuts):
            note = f"in {len(cuts)} pieces of {max_piece_s:g} s at most, {len(run.pieces)} of the reference"
            self._skip("decode", clip.id, note)
            return run.text, {name: self._text(name, form, clip) for name, form in self._forms.items()}
        true_mels = self._reference.true_mels(clip.audio)
        for (mel, length), piece, truth in zip(features, run.pieces, true_mels, strict=True):
            hop_s = self._first.host.mel.hop_length / self._first.sample_rate
            theirs = piece.mel[: piece.length], piece.length
            compare_mel(self._ladder, (rungs.MEL, rungs.LENGTH), clip.id, theirs, (mel[:length], length), hop_s)
            self._nearness.add(truth, theirs[0], mel[:length])
            with self._ladder.attempt("wrappers", clip.id):
                self._wrappers(piece)
        if self._dither_due:
            self._dithered(clip.audio, cuts[0])
        said = Transcript(run.text, 0.0, (), self._reference.tokens(run.pieces))
        self._results.add(clip.id, said, self._replayed(run, language))
        pairs = [
            (_Heard(*heard, self._reference.logits(replace(piece, mel=heard[0], length=heard[1]), piece.tokens)), piece)
            for heard, piece in zip(features, run.pieces, strict=True)
        ]
        ours: dict[str, str] = {}
        for name, form in self._forms.items():
            texts = []
            with self._ladder.attempt("decode", f"{clip.id}, {name}"):
                for index, (heard, piece) in enumerate(pairs):
                    texts.append(self._decode(name, form, f"{clip.id}, piece {index}", heard, piece))
            self._faulty |= len(texts) < len(run.pieces)
            ours[name] = join_segments(texts, language)
        return run.text, ours

    def _dithered(self, audio: np.ndarray, first: slice) -> None:
        """The one row with the noise that `infer` adds; everything else is compared without."""
        self._dither_due = False
        bundle, form = self._subject.bundle, self._first.decoder_form
        mel, length = Pipeline(bundle, self._subject.runtime, decoder=form).features(audio[first])
        reference, nearness = self._reference.dithered_mel(audio), Nearness()
        self._ladder.compare(rungs.DITHERED, reference, mel[:length])
        nearness.add(self._reference.true_dithered_mel(audio), reference, mel[:length])
        judge_nearness(self._ladder, rungs.DITHERED_ERROR, nearness)

    def _replayed(self, run: ReferenceRun, language: str) -> Transcript:
        """The host's loop and text on the reference's own logits."""
        decoders = [ReplayedDecoder(self._as_head_output(piece.logits)) for piece in run.pieces]
        decoded = [self._first.decode_with(decoder) for decoder in decoders]
        texts = [self._first.segment(piece, slice(0, 0)).text for piece in decoded]
        tokens = tuple(token for piece in decoded for token in self._first.tokens(piece))
        return Transcript(join_segments(texts, language), 0.0, (), tokens)

    def _text(self, name: DecoderForm, form: _Form, clip: Clip) -> str:
        """The port's text of a clip that the reference cuts at other places."""
        text = ""
        with self._ladder.attempt("decode", f"{clip.id}, {name}"):
            text = form.pipeline.transcribe(clip.audio).text
        return text

    def _skip(self, stage: str, what: str, why: str) -> None:
        self._ladder.add_row(stage, Row(what, Status.SKIPPED, note=why))

    def _wrappers(self, piece: ReferencePiece) -> None:
        """Each component, fed with the reference's own tensors; after the first clips one encoder length only."""
        compare, eager, n = self._ladder.compare, self._subject.eager, len(piece.frames)
        for function in encoder_windows(self._subject, piece.length):
            if mel_frames(function) >= piece.length:
                encoder, mel = eager.load("encoder", function.name), piece.mel[: piece.length]
                compare_encoder(self._ladder, (rungs.ENCODER, rungs.ENCODER_LENGTH), encoder, mel, piece.frames)
        keys_values = eager.load("cross_kv").predict({"encoder": self._padded(piece.frames[None], 1)})
        compare(rungs.CROSS_KEY, piece.cross_key, keys_values["cross_key"][:, :, :n])
        compare(rungs.CROSS_VALUE, piece.cross_value, keys_values["cross_value"][:, :, :n])
        encoded, theirs = self._encoded_by_reference(piece), self._as_head_output(piece.logits)
        for form, pipeline in self._wrapped.items():
            ours = self._forced(pipeline, encoded, piece)
            compare(rungs.DECODERS[form], theirs, ours)
            if form == "stateful":
                compare(rungs.PREFILL, theirs[:1], ours[:1])
        if "stateful" in self._wrapped and self._subject.clips.count <= CLIPS_EXERCISED:
            compare(rungs.STEPS, theirs, self._stepped(self._wrapped["stateful"], encoded, piece))

    def _decode(self, name: DecoderForm, form: _Form, where: str, heard: _Heard, piece: ReferencePiece) -> str:
        """The whole chain on its own: along the reference's tokens, then free; returns the text of the free run."""
        encoded = form.pipeline.encode(heard.mel, heard.length)
        prompt = np.array(form.pipeline.prompt)
        self._ladder.compare(rungs.PROMPT, piece.prompt, prompt)
        logits = self._forced(form.pipeline, encoded, piece)
        theirs = self._as_head_output(piece.logits)
        self._ladder.compare(rungs.FORCED_LOGITS, self._as_head_output(heard.logits), logits, form=name)
        curves = error_over(theirs, logits, Axis("token"))
        self._ladder.exhibit("decode", f"error of the logits over the tokens, {name}", curves, where)
        noise = largest_error(theirs, logits)
        places = [f"{where}, step {step}" for step in range(len(theirs))]
        count_forced_flips(form.forced, theirs, logits.argmax(1), noise, places)
        form.tokens.add(where, theirs, logits)
        form.end.add_against(where, theirs, logits, form.pipeline.host.eos_id)
        decoded = form.pipeline.decode(encoded)
        form.free.decisions += len(piece.tokens)
        ours = [choice.token_id for choice in decoded.choices]
        parted = first_divergence(piece.tokens.tolist(), ours)
        if parted is not None:
            form.free.add(f"{where}, step {parted}", theirs[parted], ours[parted], noise)
        elif len(ours) != len(piece.tokens):
            form.free.add_unexplained(f"{where}: {len(ours)} tokens where the reference has {len(piece.tokens)}")
        return form.pipeline.segment(decoded, slice(0, 0)).text

    def _forced(self, pipeline: Pipeline, encoded: EncodedAudio, piece: ReferencePiece) -> np.ndarray:
        """Logits [U, V] along the reference's tokens."""
        decoder = pipeline.start(encoded)
        rows = [decoder.prefill(piece.prompt.astype(np.int32))]
        rows += [decoder.step(int(token)) for token in piece.tokens[:-1]]
        return np.stack(rows)

    def _stepped(self, pipeline: Pipeline, encoded: EncodedAudio, piece: ReferencePiece) -> np.ndarray:
        """Logits [U, V] along the reference's tokens, the prompt token by token too, from an empty state.

        No value of the prompt passes through float16 on its way into the state.
        """
        decoder = StatefulDecoder(pipeline.runtime, encoded.inputs(), pipeline.host.cache_tokens)
        decoder.begin()
        rows = [decoder.step(int(token)) for token in (*piece.prompt, *piece.tokens[:-1])]
        return np.stack(rows[len(piece.prompt) - 1 :])

    def _encoded_by_reference(self, piece: ReferencePiece) -> EncodedAudio:
        length = np.array([len(piece.frames)], np.int32)
        cross = (self._padded(piece.cross_key, 2), self._padded(piece.cross_value, 2))
        return EncodedAudio(self._padded(piece.frames[None], 1), length, *cross)

    def _padded(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Zeros behind, up to the decoder's length of the audio."""
        return padded(values, max(w.encoder_frames for w in self._first.host.encoder_windows), axis)

    def _as_head_output(self, logits: np.ndarray) -> np.ndarray:
        """The reference's raw logits in the form that the bundle's head returns: raw, or their log-softmax."""
        if self._first.host.head == "raw":
            return logits
        shifted: np.ndarray = logits - logits.max(axis=-1, keepdims=True)
        log_softmax: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return log_softmax

    def _count(self, texts: ClipTexts) -> None:
        if texts.truth:
            self._by_language[texts.language].append(texts)

    def _finish_task(self) -> None:
        if not self._by_language:
            raise SkipStage("no clip with a transcript was decoded")
        for language, clips in self._by_language.items():
            for name in self._forms:
                for measure in error_rates(language):
                    counted = self._errors(language, name, measure, clips)
                    self._ladder.judge(rungs.ERRORS, counted, language=language, measure=measure, form=name)

    def _errors(self, language: str, name: str, measure: ErrorRate, clips: list[ClipTexts]) -> Totals:
        ours = [c.ours[name] for c in clips]
        rates = compare_error_rates([c.truth for c in clips], [c.reference for c in clips], ours, measure)
        metrics = {
            "clips": len(clips),
            "error_percent": rates.ours,
            "reference_error_percent": rates.reference,
            "delta_points": rates.delta_points,
        }
        return Totals(metrics, headline=f"{language}, {name}: {rates.headline()}")


def measure(subject: Subject, ladder: Ladder) -> None:
    """Fill the stages features, wrappers, decode and task."""
    cache = int(subject.bundle.manifest.host["cache_tokens"])
    Comparison(subject, ladder, Reference(subject.checkpoint.folder, cache)).run()
