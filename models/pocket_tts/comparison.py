"""The ladder of PocketTTS: what is held against what, and within which gates."""

import math
from dataclasses import dataclass, field
from itertools import islice, zip_longest

import numpy as np

from models.pocket_tts.backbone import Cache
from models.pocket_tts.checkpoint import locate_codec, sha256_of_weights
from models.pocket_tts.codec import encode
from models.pocket_tts.intelligibility import Listener
from models.pocket_tts.pipeline import Pipeline, Speech
from models.pocket_tts.reference import Reference, ReferenceRun, Replayed
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice, clone
from toolkit.audio.end_on_pause import ended_on_pause
from toolkit.decoding.flow import Frame, StopRule, frames, gaussian_noise
from toolkit.errors import CheckpointError, ToolkitError
from toolkit.parity.drift import Drift, together
from toolkit.parity.exhibits import SECONDS, Audio, Spectrograms, error_over
from toolkit.parity.flips import Flips
from toolkit.parity.gates import EXACT, Gate, chain_gate, wrapper_gate
from toolkit.parity.ladder import Ladder, Row, SkipStage, Status, row_from_metrics
from toolkit.parity.margins import Margins, add_margin_rows
from toolkit.parity.metrics import compare_arrays
from toolkit.parity.speech import HOP_SAMPLES, log_mel
from toolkit.parity.subject import Clip, Subject
from toolkit.parity.words import NORMALISER, word_error_percent
from toolkit.runtimes.base import Runtime

NEVER = float("inf")  # a threshold that no logit passes
PAUSE = Gate(
    "float32 on both sides; a fade is counted up in another order", at_most={"max_abs": 1e-6}, measured="max abs 6e-8"
)
NOISE = Gate("the same numbers times the same root, rounded once", at_most={"max_abs": 1e-6}, measured="equal")
WRAPPERS = wrapper_gate("")
STATEFUL = Gate(
    "as above, but the keys and values of voice and text pass into a float16 state: they are rounded once",
    at_most={"rel_l2": 2e-3},
    at_least={"psnr_db": 60, "cosine": 0.9999},
    measured="",
)
CHAIN_MEASURED = ""
HEARD = Gate(
    "what a listener hears: spectra of the free-running speech", at_least={"log_mel_cosine": 0.99}, measured=""
)
ERRORS = Gate(f"the port may not be understood worse than its model; {NORMALISER}", at_most={"delta_points": 0.10})


@dataclass
class _Way:
    """One number of flow steps: the port on the runtime under test, the port on the eager wrappers, what they said."""

    steps: int
    pipeline: Pipeline
    wrapped: Pipeline
    ends: Flips = field(default_factory=Flips)
    end_margins: Margins = field(default_factory=Margins)
    latents: Drift = field(default_factory=Drift)
    audio: Drift = field(default_factory=Drift)
    texts: list[tuple[str, str, str]] = field(default_factory=list)  # said, understood of the reference, of ours
    log_mel_cosines: list[float] = field(default_factory=list)
    snrs_db: list[float] = field(default_factory=list)


class Comparison:
    """Says the texts of all clips with reference and port and fills the ladder.

    Args:
        subject: bundle, runtimes and clips; its options `voice`, `seed` and `flow_steps`.
        ladder: to fill.
    """

    def __init__(self, subject: Subject, ladder: Ladder) -> None:
        self._subject, self._ladder = subject, ladder
        codec, _ = locate_codec(subject.checkpoint.folder, str(subject.plan.options["audio_tokenizer"]))
        if sha256_of_weights(codec) != subject.bundle.manifest.host["codec_sha256"]:
            raise CheckpointError(f"the codec in {codec} has changed since the bundle was made", "Convert it again.")
        self._reference = Reference(subject.checkpoint.folder, codec)
        self._ways = [way for steps in self._asked() if (way := self._way(steps))]
        if not self._ways:
            raise ToolkitError("the bundle does none of these flow steps", "Give --flow-steps what it holds.")
        self._host = self._ways[0].pipeline.host
        self._chain = chain_gate(subject.decodes_in, CHAIN_MEASURED, subject.decodes_compressed)
        self._step = STATEFUL if subject.plan.component("backbone").function("step").states else WRAPPERS
        self._listener: Listener | None = None
        self._long_run: tuple[Prompt, Voice] | None = None

    def run(self) -> None:
        """All clips, a run to the cache's end, then what is counted over all of them."""
        try:
            self._listener = Listener(self._subject.bundle, self._host.sample_rate)
        except SkipStage as skip:
            self._skip("task", "intelligibility", str(skip))
        for clip in self._subject.clips:
            self._clone(clip)
            if not clip.text.strip():
                self._skip("decode", clip.id, "the corpus has no text of it")
                continue
            voice = self._voice(clip)
            for way in self._ways:
                way.pipeline.use(voice)
                way.wrapped.use(voice)
                self._clip(clip, way, voice)
        if self._long_run:
            with self._ladder.attempt("decode", "to the cache's end"):
                self._to_the_end(self._ways[0], *self._long_run)
        for way in self._ways:
            self._finish(way)

    def _asked(self) -> list[int]:
        text = str(self._subject.options.get("flow_steps", "1"))
        if not all(part.strip().isdecimal() for part in text.split(",")):
            raise ToolkitError(f"--flow-steps wants numbers such as 1,8, got '{text}'", "Give numbers.")
        drifting = self._subject.bundle.manifest.host["flow_type"] == "drifting"
        return [1] if drifting else sorted({int(part) for part in text.split(",")})

    def _way(self, steps: int) -> _Way | None:
        subject = self._subject
        try:
            pipeline = self._pipeline(subject.runtime, steps)
        except ToolkitError as error:
            self._skip("decode", f"{steps} flow steps", str(error))
            return None
        return _Way(steps, pipeline, self._pipeline(subject.eager, steps))

    def _pipeline(self, runtime: Runtime, steps: int) -> Pipeline:
        subject = self._subject
        bundle = subject.bundle
        if runtime is subject.eager:
            bundle = bundle.with_components(c.name for c in subject.plan.components)
        voice, seed = str(subject.options.get("voice", "")), int(subject.options.get("seed", 0))
        return Pipeline(bundle, runtime, voice=voice, seed=seed, flow_steps=steps)

    def _voice(self, clip: Clip) -> Voice:
        """The voice asked for, or the clip's own where the bundle has none; cloned by the reference for both sides."""
        if self._host.voices or self._subject.options.get("voice"):
            return self._ways[0].pipeline.voice
        return Voice(latents=self._reference.encode(clip.audio))

    def _skip(self, stage: str, what: str, why: str) -> None:
        self._ladder.add_row(stage, Row(what, Status.SKIPPED, note=why))

    def _clone(self, clip: Clip) -> None:
        """The clip as a voice: prepared, and through the codec's encoder."""
        add, host = self._ladder.add, self._host
        prepared = self._reference.waveform(clip.audio)
        ours = ended_on_pause(clip.audio, host.sample_rate, host.pause)
        add("features", "voice, ended on a pause", prepared, ours, PAUSE)
        if self._reference.codec.encoder is None:
            return
        latents = self._reference.encode(clip.audio)
        if any(c.name == "codec_encoder" for c in self._subject.plan.components):
            with self._ladder.attempt("wrappers", f"{clip.id}, codec_encoder"):
                eager = encode(self._subject.eager, host, prepared)
                add("wrappers", "codec_encoder: latents", latents, eager, WRAPPERS)
        if "codec_encoder" in self._subject.precision:
            with self._ladder.attempt("decode", f"{clip.id}, cloned voice"):
                cloned = clone(clip.audio, self._subject.bundle, self._subject.runtime, host).latents
                add("decode", "cloned voice: latents", latents, cloned, self._chain)

    def _clip(self, clip: Clip, way: _Way, voice: Voice) -> None:
        split, chunks = way.pipeline.split(clip.text), self._reference.processor.split_text(clip.text)
        same = np.array([theirs == ours for theirs, ours in zip_longest(chunks, split)])
        self._ladder.add("features", "chunks of text", np.ones_like(same), same, EXACT)
        for number, prompt in enumerate(way.pipeline.chunks(clip.text)):
            self._features(prompt, voice)
            run = self._reference.run(
                prompt.chunk,
                voice,
                way.pipeline.noise(number),
                flow_steps=way.steps,
            )
            unit = gaussian_noise(way.pipeline.seed, number, run.noise.shape[1], 1.0)
            scaled = np.stack(list(islice(unit, len(run.noise)))) * self._reference.noise_scale
            self._ladder.add("features", "noise, scaled by the temperature", scaled, run.noise, NOISE)
            self._long_run = self._long_run or (prompt, voice)
            with self._ladder.attempt("wrappers", clip.id):
                self._wrappers(way, prompt, run)
            with self._ladder.attempt("decode", clip.id):
                self._decode(way, clip.id, number, prompt, run)

    def _features(self, prompt: Prompt, voice: Voice) -> None:
        add, inputs = self._ladder.add, self._reference.inputs(prompt.chunk, voice)
        text, count = self._host.text, 0 if voice.latents is None else len(voice.latents)
        ids = np.array([*prompt.before_voice, *[text.audio_prompt] * count, *prompt.text, text.audio_bos])
        add("features", "ids, voice before text", inputs["input_ids"][0].numpy(), ids, EXACT)
        after = inputs["frames_after_eos"].numpy()
        add("features", "frames after the end", after, np.array([prompt.frames_after_eos]), EXACT)

    def _wrappers(self, way: _Way, prompt: Prompt, run: ReferenceRun) -> None:
        """Each component on the reference's own tensors."""
        add, wrapped = self._ladder.add, way.wrapped
        cache = wrapped.condition(prompt)
        add("wrappers", "backbone prefill: key_out", run.keys, cache.keys, WRAPPERS)
        add("wrappers", "backbone prefill: value_out", run.values, cache.values, WRAPPERS)
        hidden, logits = self._forced(wrapped, Cache(run.keys, run.values), run)
        add("wrappers", "backbone step: hidden", run.hidden, hidden, self._step)
        add("wrappers", "backbone step: eos_logit", run.eos_logits, logits, self._step)
        latents = [wrapped.flow.sample(h, z) for h, z in zip(run.hidden, run.noise, strict=True)]
        add("wrappers", f"flow, {way.steps} steps: latent", run.latents, np.stack(latents), WRAPPERS)
        if "step" in self._host.flow_functions:
            self._velocities(way, run)
        add("wrappers", "codec_decoder: audio", run.audio, self._decoded(wrapped, run.latents), WRAPPERS)

    def _velocities(self, way: _Way, run: ReferenceRun) -> None:
        component = self._subject.eager.load("flow", "step")
        for latents, start, end, velocities in self._reference.velocities(run, way.steps):
            times = {"s": np.full((1, 1), start, np.float32), "t": np.full((1, 1), end, np.float32)}
            pairs = zip(run.hidden, latents, strict=True)
            ours = [component.predict({"hidden": h[None], "latent": x[None], **times})["velocity"] for h, x in pairs]
            self._ladder.add("wrappers", "flow step: velocity", velocities, np.concatenate(ours), WRAPPERS)

    def _decode(self, way: _Way, where: str, number: int, prompt: Prompt, run: ReferenceRun) -> None:
        """The whole chain on its own: along the reference's latents, then free."""
        add, pipeline, steps = self._ladder.add, way.pipeline, f"{way.steps} flow steps"
        cache = pipeline.condition(prompt)
        add("decode", "conditioning cache: keys", run.keys, cache.keys, self._chain)
        add("decode", "conditioning cache: values", run.values, cache.values, self._chain)
        hidden, logits = self._forced(pipeline, cache, run)
        add("decode", f"teacher-forced hidden, {steps}", run.hidden, hidden, self._chain)
        add("decode", f"teacher-forced eos_logit, {steps}", run.eos_logits, logits, self._chain)
        rule = pipeline.rule(prompt)
        decided = slice(rule.min_frames_before_eos, None)  # before it, no logit ends the speech
        way.end_margins.add_threshold(where, run.eos_logits[decided], logits[decided], rule.eos_threshold)
        latents = [pipeline.flow.sample(h, z) for h, z in zip(hidden, run.noise, strict=True)]
        add("decode", f"teacher-forced latents, {steps}", run.latents, np.stack(latents), self._chain)
        pcm = self._decoded(pipeline, run.latents)
        add("decode", f"PCM of the reference's latents, {steps}", run.audio, pcm, self._chain)
        replayed = pipeline.drive(Replayed(run), prompt, pipeline.noise(number))
        count = sum(1 for _ in islice(replayed, len(run.latents) + 1))
        add("decode", "frames by the reference's logits", np.array([len(run.latents)]), np.array([count]), EXACT)
        spoken = list(pipeline.frames(prompt, pipeline.noise(number)))
        control = self._reference.run(
            prompt.chunk,
            pipeline.voice,
            iter(run.noise),
            flow_steps=way.steps,
            eos_threshold=NEVER,
            most_frames=len(run.latents),
            nudge=_rms(np.stack(latents) - run.latents),
        )
        parted = together(run.latents, control.latents)
        self._same_end(
            way, f"{where}, chunk {number}", prompt, run, spoken, parted, float(np.abs(logits - run.eos_logits).max())
        )
        self._drift(
            way,
            run,
            control,
            np.stack([frame.latent for frame in spoken]),
            max(min(parted, len(spoken)), 1),
            _rel(run.audio, pcm),
        )
        self._understood(way, prompt, run, spoken)
        self._show(way, f"{where}, chunk {number}", run, np.stack(latents), spoken)

    def _same_end(
        self, way: _Way, where: str, prompt: Prompt, run: ReferenceRun, spoken: list[Frame], parted: int, noise: float
    ) -> None:
        """Count the end of speech where it differs, up to where the paths have parted."""
        rule = way.pipeline.rule(prompt)
        way.ends.decisions += len(run.latents)
        for index, (theirs, frame) in enumerate(zip(run.eos_logits[:parted], spoken, strict=False)):
            ours, ends = frame.eos_logit > rule.eos_threshold, theirs > rule.eos_threshold
            if index >= rule.min_frames_before_eos and ours != ends:
                candidates = np.array([rule.eos_threshold, theirs], np.float32)  # speech goes on, speech ends
                way.ends.add(f"{where}, frame {index}", candidates, int(ours), noise)
                return
        if len(spoken) != len(run.latents):
            note = f"{where}: {len(spoken)} frames where the reference has {len(run.latents)}"
            if parted < len(run.latents):
                way.ends.flips += 1
                way.ends.notes.append(f"{note}, whose own path parts at frame {parted} under noise of this size")
            else:
                way.ends.add_unexplained(note)

    def _drift(
        self, way: _Way, run: ReferenceRun, control: ReferenceRun, latents: np.ndarray, count: int, noise: float
    ) -> None:
        """Latents and audio of the free run against the reference's, up to where the paths part."""
        samples, of = count * self._host.frame_samples, len(run.latents)
        ours = self._decoded(way.pipeline, latents[:count])
        way.latents.add(run.latents[:count], control.latents[:count], latents[:count], of)
        framed = (audio[:samples].reshape(count, -1) for audio in (run.audio, control.audio, ours))
        way.audio.add(*framed, of, noise)
        spectra = [log_mel(audio[:samples], self._host.sample_rate) for audio in (run.audio, ours)]
        way.log_mel_cosines.append(compare_arrays(*spectra).cosine)
        way.snrs_db.append(-20 * math.log10(max(_rel(run.audio[:samples], ours), 1e-9)))

    def _understood(self, way: _Way, prompt: Prompt, run: ReferenceRun, spoken: list[Frame]) -> None:
        if self._listener is None:
            return
        ours = self._decoded(way.pipeline, np.stack([frame.latent for frame in spoken]))
        way.texts.append((prompt.chunk, *(self._listener.transcribe(audio) for audio in (run.audio, ours))))

    def _show(self, way: _Way, where: str, run: ReferenceRun, forced: np.ndarray, spoken: list[Frame]) -> None:
        """For a report: the errors of the latents over time, and the speech of both sides, to see and to hear."""
        show, heard, rate = self._ladder.exhibit, f"free-running speech, {way.steps} flow steps", self._host.sample_rate
        if not self._ladder.wants("task", heard):
            return
        free, frame_s = np.stack([frame.latent for frame in spoken]), self._host.frame_samples / rate
        for name, latents in (("teacher-forced", forced), ("free-running", free)):
            title = f"error of the {name} latents over time, {way.steps} flow steps"
            show("decode", title, error_over(run.latents, latents, SECONDS, frame_s), where)
        ours = self._decoded(way.pipeline, free)
        spectra = (log_mel(audio, rate) for audio in (run.audio, ours))
        show("task", heard, Audio.of(run.audio, ours, rate), where)
        show("task", f"spectra of the {heard}", Spectrograms.of(*spectra, SECONDS, HOP_SAMPLES / rate), where)

    def _to_the_end(self, way: _Way, prompt: Prompt, voice: Voice) -> None:
        """A text that never ends, until the cache is full: late positions, far beyond the codec's window."""
        for pipeline in (way.pipeline, way.wrapped):
            pipeline.use(voice)
        cache = way.pipeline.condition(prompt)
        room = self._host.backbone.slots - cache.length
        noise = list(islice(way.pipeline.noise(0), room))
        run = self._reference.run(
            prompt.chunk, voice, iter(noise), flow_steps=way.steps, eos_threshold=NEVER, most_frames=room
        )
        add, name = self._ladder.add, f"to the cache's end, {room} frames"
        hidden, logits = self._forced(way.wrapped, Cache(run.keys, run.values), run)
        add("wrappers", f"{name}: hidden", run.hidden, hidden, self._step)
        add("wrappers", f"{name}: audio", run.audio, self._decoded(way.wrapped, run.latents), WRAPPERS)
        hidden, logits = self._forced(way.pipeline, cache, run)
        add("decode", f"{name}: teacher-forced hidden", run.hidden, hidden, self._chain)
        add("decode", f"{name}: teacher-forced eos_logit", run.eos_logits, logits, self._chain)
        add(
            "decode",
            f"{name}: PCM of the reference's latents",
            run.audio,
            self._decoded(way.pipeline, run.latents),
            self._chain,
        )
        latents = [way.pipeline.flow.sample(h, z) for h, z in zip(hidden, run.noise, strict=True)]
        control = self._reference.run(
            prompt.chunk,
            voice,
            iter(noise),
            flow_steps=way.steps,
            eos_threshold=NEVER,
            most_frames=room,
            nudge=_rms(np.stack(latents) - run.latents),
        )
        speech = Speech(way.pipeline.backbone.start(cache), way.pipeline.flow)
        spoken = np.stack([frame.latent for frame in frames(speech, iter(noise), StopRule(NEVER, 0, 0, room))])
        count, drift = together(run.latents, control.latents), Drift()
        drift.add(run.latents[:count], control.latents[:count], spoken[:count], room)
        self._ladder.add_row("decode", drift.row(f"{name}: free-running latents"))

    def _forced(self, pipeline: Pipeline, cache: Cache, run: ReferenceRun) -> tuple[np.ndarray, np.ndarray]:
        """hidden [n, D] and logits of the end [n] along the reference's latents."""
        utterance = pipeline.backbone.start(cache)
        found = [utterance.step(latent) for latent in (None, *run.latents[:-1])]
        return np.stack([hidden for hidden, _ in found]), np.array([logit for _, logit in found], np.float32)

    def _decoded(self, pipeline: Pipeline, latents: np.ndarray) -> np.ndarray:
        """Latents [n, Z] normalised to samples, streamed frame by frame."""
        decoder = pipeline.decoder()
        return np.concatenate([decoder.decode(latent) for latent in latents])

    def _finish(self, way: _Way) -> None:
        add_row, steps = self._ladder.add_row, f"{way.steps} flow steps"
        if way.ends.decisions:
            add_row("decode", way.latents.row(f"free-running latents, {steps}"))
            add_row("decode", way.audio.row(f"free-running PCM, {steps}"))
            add_row("decode", way.ends.row(f"end of speech, {steps}"))
            add_margin_rows(add_row, {f"the end of speech, {steps}": way.end_margins})
        if not way.log_mel_cosines:
            self._skip("task", f"what is heard, {steps}", "no text was said to the same end")
            return
        cosine, snr_db = min(way.log_mel_cosines), min(way.snrs_db)
        metrics = {"texts": len(way.snrs_db), "log_mel_cosine": cosine, "snr_db": snr_db}
        headline = f"{steps}: log-mel cosine {cosine:.5f}, SNR {snr_db:.1f} dB at the least"
        add_row("task", row_from_metrics(f"what is heard, {steps}", metrics, HEARD, headline=headline))
        if way.texts:
            add_row("task", self._errors(way))

    def _errors(self, way: _Way) -> Row:
        said, of_theirs, of_ours = ([text[i] for text in way.texts] for i in range(3))
        ours, theirs = word_error_percent(said, of_ours), word_error_percent(said, of_theirs)
        metrics = {
            "texts": len(said),
            "wer_percent": ours,
            "reference_wer_percent": theirs,
            "delta_points": ours - theirs,
        }
        steps = f"{way.steps} flow steps"
        figures = f"WER {ours:.2f} % ours, {theirs:.2f} % reference"
        headline = f"{steps}, as the demo recogniser understands it: {figures}, over {len(said)} texts ({NORMALISER})"
        return row_from_metrics(f"intelligibility, {steps}", metrics, ERRORS, headline=headline)


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt((error.astype(np.float64) ** 2).mean()))


def _rel(reference: np.ndarray, ours: np.ndarray) -> float:
    return compare_arrays(reference, ours).rel_l2
