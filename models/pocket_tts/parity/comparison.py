"""The ladder of PocketTTS: says texts with reference and port, and fills the rungs of `rungs.py`."""

import math
from itertools import islice, zip_longest
from typing import TypeVar

import numpy as np

from models.pocket_tts.backbone import Cache
from models.pocket_tts.checkpoint import locate_codec, sha256_of_weights
from models.pocket_tts.codec import encode
from models.pocket_tts.parity import rungs
from models.pocket_tts.parity.control import run_under_noise
from models.pocket_tts.parity.flow_steps_run import FlowStepsRun
from models.pocket_tts.parity.intelligibility import Listener
from models.pocket_tts.parity.long_voice import LongVoice
from models.pocket_tts.parity.noise import compare_noise
from models.pocket_tts.parity.reference import UNREACHABLE_LOGIT, Reference, ReferenceRun
from models.pocket_tts.parity.replayed import Replayed
from models.pocket_tts.parity.several_chunks import ReferenceDrivenPipeline, SeveralChunks
from models.pocket_tts.pipeline import Pipeline, Speech
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice, clone
from parity.ladder.exhibits import SECONDS, Audio, Spectrograms, error_over
from parity.ladder.judging import judge_margins
from parity.ladder.ladder import Ladder, Row, SkipStage, Status
from parity.ladder.recognition import compare_error_rates, largest_error
from parity.ladder.rungs import Rung
from parity.ladder.subject import Clip, Subject
from parity.measures.arrays import compare_arrays, rms
from parity.measures.drift import Drift
from parity.measures.sound import HOP_SAMPLES, log_mel
from parity.measures.totals import Totals
from toolkit.audio.end_on_pause import ended_on_pause
from toolkit.component import Runtime
from toolkit.errors import CheckpointError, ToolkitError
from toolkit.loops.flow import Frame, StopRule, frames

_Kind = TypeVar("_Kind", bound=Pipeline)


class Comparison:
    """Says the texts of all clips with reference and port and fills the ladder.

    Args:
        subject: bundle, runtimes and clips; its options `voice`, `seed` and `flow_steps`.
        ladder: the ladder to fill.
    """

    def __init__(self, subject: Subject, ladder: Ladder) -> None:
        self._subject, self._ladder = subject, ladder
        codec, _ = locate_codec(subject.checkpoint.folder, str(subject.plan.options["audio_tokenizer"]))
        if sha256_of_weights(codec) != subject.bundle.manifest.host["codec_sha256"]:
            raise CheckpointError(f"the codec in {codec} has changed since the bundle was made", "Convert it again.")
        self._reference = Reference(subject.checkpoint.folder, codec)
        self._runs = [flow_run for steps in self._asked() if (flow_run := self._flow_steps_run(steps))]
        if not self._runs:
            raise ToolkitError("the bundle does none of these flow steps", "Give --flow-steps what it holds.")
        self._host = self._runs[0].pipeline.host
        self._stateful = bool(subject.plan.component("backbone").function("step").states)
        self._listener: Listener | None = None
        self._long_run: tuple[Prompt, Voice] | None = None
        self._texts: list[str] = []

    def run(self) -> None:
        """All clips, a run to the cache's end, then what is counted over all of them."""
        try:
            self._listener = Listener(self._subject, self._host.sample_rate)
        except SkipStage as skip:
            self._ladder.skip(rungs.INTELLIGIBILITY, str(skip))
        first = self._runs[0]
        long_voice = LongVoice(self._ladder, self._reference, first.pipeline, first.wrapped)
        other = self._pipeline(self._subject.runtime, first.steps, later=1)
        compare_noise(self._ladder, self._reference, (first.pipeline, other))
        for clip in self._subject.clips:
            long_voice.add_recording(clip.audio)
            self._clone(clip)
            if not clip.text.strip():
                self._skip("decode", clip.id, "the corpus has no text of it")
                continue
            voice = self._voice(clip)
            for flow_run in self._runs:
                flow_run.pipeline.set_voice(voice)
                flow_run.wrapped.set_voice(voice)
                self._clip(clip, flow_run, voice)
        if self._long_run:
            with self._ladder.attempt("decode", "to the cache's end"):
                self._to_the_end(first, *self._long_run)
            self._several_chunks(first).compare(self._long_run[1], float(np.mean(first.errors)))
            long_voice.compare(self._long_run[0].chunk)
        for flow_run in self._runs:
            self._finish(flow_run)

    def _asked(self) -> list[int]:
        text = str(self._subject.options.get("flow_steps", "1"))
        if not all(part.strip().isdecimal() for part in text.split(",")):
            raise ToolkitError(f"--flow-steps needs numbers such as 1,8, got '{text}'", "Give numbers.")
        drifting = self._subject.bundle.manifest.host["flow_type"] == "drifting"
        return [1] if drifting else sorted({int(part) for part in text.split(",")})

    def _flow_steps_run(self, steps: int) -> FlowStepsRun | None:
        subject = self._subject
        try:
            pipeline = self._pipeline(subject.runtime, steps)
        except ToolkitError as error:
            self._skip("decode", f"{steps} flow steps", str(error))
            return None
        return FlowStepsRun(steps, pipeline, self._pipeline(subject.eager, steps))

    def _pipeline(self, runtime: Runtime, steps: int, later: int = 0) -> Pipeline:
        """A pipeline; `later` is added to the seed asked for."""
        return self._pipeline_of(Pipeline, runtime, steps, later)

    def _pipeline_of(self, kind: type[_Kind], runtime: Runtime, steps: int, later: int = 0) -> _Kind:
        subject = self._subject
        bundle = subject.bundle
        if runtime is subject.eager:
            bundle = bundle.with_components(c.name for c in subject.plan.components)
        voice, seed = str(subject.options.get("voice", "")), int(subject.options.get("seed", 0)) + later
        return kind(bundle, runtime, voice=voice, seed=seed, flow_steps=steps)

    def _several_chunks(self, flow_run: FlowStepsRun) -> SeveralChunks:
        runtimes = (self._subject.runtime, self._subject.eager)
        driven, wrapped = (self._pipeline_of(ReferenceDrivenPipeline, runtime, flow_run.steps) for runtime in runtimes)
        own = self._pipeline(self._subject.runtime, flow_run.steps)
        return SeveralChunks(self._ladder, self._reference, own, driven, wrapped, self._texts)

    def _voice(self, clip: Clip) -> Voice:
        """The voice asked for, or the clip's own where the bundle has none; cloned by the reference for both sides."""
        if self._host.voices or self._subject.options.get("voice"):
            return self._runs[0].pipeline.voice
        return Voice(latents=self._reference.encode(clip.audio))

    def _skip(self, stage: str, what: str, why: str) -> None:
        self._ladder.add_row(stage, Row(what, Status.SKIPPED, note=why))

    def _clone(self, clip: Clip) -> None:
        """The clip as a voice: prepared, and through the codec's encoder."""
        compare, host = self._ladder.compare, self._host
        prepared = self._reference.waveform(clip.audio)
        ours = ended_on_pause(clip.audio, host.sample_rate, host.pause)
        compare(rungs.PAUSE, prepared, ours)
        if self._reference.codec.encoder is None:
            return
        latents = self._reference.encode(clip.audio)
        if any(c.name == "codec_encoder" for c in self._subject.plan.components):
            with self._ladder.attempt("wrappers", f"{clip.id}, codec_encoder"):
                compare(rungs.ENCODED, latents, encode(self._subject.eager, host, prepared))
        if "codec_encoder" in self._subject.precision:
            with self._ladder.attempt("decode", f"{clip.id}, cloned voice"):
                cloned = clone(clip.audio, self._subject.bundle, self._subject.runtime, host).latents
                compare(rungs.CLONED, latents, np.asarray(cloned))

    def _clip(self, clip: Clip, flow_run: FlowStepsRun, voice: Voice) -> None:
        split, chunks = flow_run.pipeline.split(clip.text), self._reference.processor.split_text(clip.text)
        same = np.array([theirs == ours for theirs, ours in zip_longest(chunks, split)])
        self._ladder.compare(rungs.CHUNKS, np.ones_like(same), same)
        try:
            for prompt in flow_run.pipeline.prompts(clip.text):  # of which the cache may be too small for the frames
                allowed = self._reference.max_frames(prompt.chunk, voice)
                self._ladder.compare(rungs.BUDGET, np.array([allowed]), np.array([prompt.max_frames]))
            prompts = flow_run.pipeline.chunks(clip.text)
        except ToolkitError as error:
            self._skip("decode", clip.id, error.message)
            return
        self._texts += [clip.text] * (flow_run is self._runs[0])
        for number, prompt in enumerate(prompts):
            self._features(prompt, voice)
            run = self._reference.run(prompt.chunk, voice, flow_run.pipeline.noise(number), flow_steps=flow_run.steps)
            self._long_run = self._long_run or (prompt, voice)
            with self._ladder.attempt("wrappers", clip.id):
                self._wrappers(flow_run, prompt, run)
            with self._ladder.attempt("decode", clip.id):
                self._decode(flow_run, clip.id, number, prompt, run)

    def _features(self, prompt: Prompt, voice: Voice) -> None:
        compare, inputs = self._ladder.compare, self._reference.inputs(prompt.chunk, voice)
        text, count = self._host.text, 0 if voice.latents is None else len(voice.latents)
        # What is projected already has no ids: the reference has it in the cache, with what stands before it.
        before = () if voice.embeds is not None else (*prompt.before_voice, *[text.audio_prompt] * count)
        ids = np.array([*before, *prompt.text, text.audio_bos])
        compare(rungs.IDS, inputs["input_ids"][0].numpy(), ids)
        compare(rungs.FRAMES_AFTER, inputs["frames_after_eos"].numpy(), np.array([prompt.frames_after_eos]))

    def _wrappers(self, flow_run: FlowStepsRun, prompt: Prompt, run: ReferenceRun) -> None:
        """Each component on the reference's own tensors."""
        compare, wrapped, step = self._ladder.compare, flow_run.wrapped, self._step
        cache = wrapped.condition(prompt)
        compare(rungs.KEYS, run.keys, cache.keys)
        compare(rungs.VALUES, run.values, cache.values)
        hidden, logits = self._forced(wrapped, Cache(run.keys, run.values), run)
        compare(step(rungs.HIDDEN), run.hidden, hidden)
        compare(step(rungs.EOS_LOGIT), run.eos_logits, logits)
        latents = [wrapped.flow.sample(h, z) for h, z in zip(run.hidden, run.noise, strict=True)]
        compare(rungs.LATENT, run.latents, np.stack(latents), steps=flow_run.steps)
        if "step" in self._host.flow_functions:
            self._velocities(flow_run, run)
        compare(rungs.AUDIO, run.audio, self._decoded(wrapped, run.latents))

    def _step(self, rung: Rung) -> Rung:
        """The rung of a backbone's step, or the one in its place where it has states."""
        return rungs.STATEFUL[rung.output] if self._stateful else rung

    def _velocities(self, flow_run: FlowStepsRun, run: ReferenceRun) -> None:
        component = self._subject.eager.load("flow", "step")
        for latents, start, end, velocities in self._reference.velocities(run, flow_run.steps):
            times = {"s": np.full((1, 1), start, np.float32), "t": np.full((1, 1), end, np.float32)}
            pairs = zip(run.hidden, latents, strict=True)
            ours = [component.predict({"hidden": h[None], "latent": x[None], **times})["velocity"] for h, x in pairs]
            self._ladder.compare(rungs.VELOCITY, velocities, np.concatenate(ours))

    def _decode(self, flow_run: FlowStepsRun, where: str, number: int, prompt: Prompt, run: ReferenceRun) -> None:
        """The whole chain on its own: along the reference's latents, then free."""
        compare, pipeline, steps = self._ladder.compare, flow_run.pipeline, flow_run.steps
        cache = pipeline.condition(prompt)
        compare(rungs.CACHE_KEYS, run.keys, cache.keys)
        compare(rungs.CACHE_VALUES, run.values, cache.values)
        hidden, logits = self._forced(pipeline, cache, run)
        compare(rungs.FORCED_HIDDEN, run.hidden, hidden, steps=steps)
        compare(rungs.FORCED_EOS, run.eos_logits, logits, steps=steps)
        rule = pipeline.stop_rule(prompt)
        decided = slice(rule.min_frames_before_eos, None)  # before it, no logit ends the speech
        flow_run.end_margins.add_threshold(where, run.eos_logits[decided], logits[decided], rule.eos_threshold)
        latents = [pipeline.flow.sample(h, z) for h, z in zip(hidden, run.noise, strict=True)]
        compare(rungs.FORCED_LATENTS, run.latents, np.stack(latents), steps=steps)
        pcm = self._decoded(pipeline, run.latents)
        compare(rungs.PCM, run.audio, pcm, steps=steps)
        replayed = pipeline.drive(Replayed(run), prompt, pipeline.noise(number))
        count = sum(1 for _ in islice(replayed, len(run.latents) + 1))
        compare(rungs.COUNT, np.array([len(run.latents)]), np.array([count]))
        spoken = list(pipeline.frames(prompt, pipeline.noise(number)))
        control, parted = self._control(flow_run, run, np.stack(latents))
        noise = largest_error(run.eos_logits, logits)
        self._same_end(flow_run, f"{where}, chunk {number}", prompt, run, spoken, parted, noise)
        free = np.stack([frame.latent for frame in spoken])
        audio = self._decoded(pipeline, free)
        self._drift(flow_run, run, control, (free, audio), max(min(parted, len(spoken)), 1), _rel(run.audio, pcm))
        self._understood(flow_run, prompt, run, audio)
        self._show(flow_run, f"{where}, chunk {number}", run, np.stack(latents), (free, audio))

    def _same_end(
        self,
        flow_run: FlowStepsRun,
        where: str,
        prompt: Prompt,
        run: ReferenceRun,
        spoken: list[Frame],
        parted: int,
        noise: float,
    ) -> None:
        """Count the end of speech where it differs, up to where the paths have parted."""
        rule = flow_run.pipeline.stop_rule(prompt)
        flow_run.ends.decisions += len(run.latents)
        for index, (theirs, frame) in enumerate(zip(run.eos_logits[:parted], spoken, strict=False)):
            ours, ends = frame.eos_logit > rule.eos_threshold, theirs > rule.eos_threshold
            if index >= rule.min_frames_before_eos and ours != ends:
                candidates = np.array([rule.eos_threshold, theirs], np.float32)  # speech goes on, speech ends
                flow_run.ends.add(f"{where}, frame {index}", candidates, int(ours), noise)
                return
        if len(spoken) != len(run.latents):
            note = f"{where}: {len(spoken)} frames where the reference has {len(run.latents)}"
            if parted < len(run.latents):
                flow_run.ends.flips += 1
                flow_run.ends.notes.append(f"{note}, whose own path parts at frame {parted} under noise of this size")
            else:
                flow_run.ends.add_unexplained(note)

    def _control(self, flow_run: FlowStepsRun, run: ReferenceRun, forced: np.ndarray) -> tuple[ReferenceRun, int]:
        """The reference under noise of the size of the teacher-forced error, and the frames before it parts."""
        flow_run.errors.append(rms(forced - run.latents))
        voice = flow_run.pipeline.voice
        return run_under_noise(self._reference, run, voice, flow_steps=flow_run.steps, error=flow_run.errors[-1])

    def _drift(
        self,
        flow_run: FlowStepsRun,
        run: ReferenceRun,
        control: ReferenceRun,
        free: tuple[np.ndarray, np.ndarray],
        count: int,
        noise: float,
    ) -> None:
        """Latents and audio of the free run against the reference's, up to where the paths part."""
        latents, audio = free
        samples, of = count * self._host.frame_samples, len(run.latents)
        ours = audio[:samples]
        flow_run.latents.add(run.latents[:count], control.latents[:count], latents[:count], of)
        theirs, moved, framed = (side[:samples].reshape(count, -1) for side in (run.audio, control.audio, ours))
        flow_run.audio.add(theirs, moved, framed, of, noise)
        spectra = [log_mel(side[:samples], self._host.sample_rate) for side in (run.audio, ours)]
        flow_run.log_mel_cosines.append(compare_arrays(*spectra).cosine)
        flow_run.snrs_db.append(-20 * math.log10(max(_rel(run.audio[:samples], ours), 1e-9)))

    def _understood(self, flow_run: FlowStepsRun, prompt: Prompt, run: ReferenceRun, audio: np.ndarray) -> None:
        if self._listener is not None:
            theirs, ours = (self._listener.transcribe(side) for side in (run.audio, audio))
            flow_run.texts.append((prompt.chunk, theirs, ours))

    def _show(
        self,
        flow_run: FlowStepsRun,
        where: str,
        run: ReferenceRun,
        forced: np.ndarray,
        free: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """For a report: the errors of the latents over time, and the speech of both sides, to see and to hear."""
        show, rate = self._ladder.exhibit, self._host.sample_rate
        speech = f"free-running speech, {flow_run.steps} flow steps"
        if not self._ladder.wants("task", speech):
            return
        spoken, ours = free
        frame_s = self._host.frame_samples / rate
        for name, latents in (("teacher-forced", forced), ("free-running", spoken)):
            title = f"error of the {name} latents over time, {flow_run.steps} flow steps"
            show("decode", title, error_over(run.latents, latents, SECONDS, frame_s), where)
        theirs, port = (log_mel(audio, rate) for audio in (run.audio, ours))
        show("task", speech, Audio.of(run.audio, ours, rate), where)
        show("task", f"spectra of the {speech}", Spectrograms.of(theirs, port, SECONDS, HOP_SAMPLES / rate), where)

    def _to_the_end(self, flow_run: FlowStepsRun, prompt: Prompt, voice: Voice) -> None:
        """A text that never ends, until the cache is full: late positions, far beyond the codec's window."""
        for pipeline in (flow_run.pipeline, flow_run.wrapped):
            pipeline.set_voice(voice)
        cache = flow_run.pipeline.condition(prompt)
        room = self._host.backbone.slots - cache.length
        noise = list(islice(flow_run.pipeline.noise(0), room))
        run = self._reference.run(
            prompt.chunk,
            voice,
            iter(noise),
            flow_steps=flow_run.steps,
            eos_threshold=UNREACHABLE_LOGIT,
            max_frames=room,
        )
        compare = self._ladder.compare
        hidden, logits = self._forced(flow_run.wrapped, Cache(run.keys, run.values), run)
        compare(self._step(rungs.LONG_HIDDEN), run.hidden, hidden, room=room)
        compare(rungs.LONG_AUDIO, run.audio, self._decoded(flow_run.wrapped, run.latents), room=room)
        hidden, logits = self._forced(flow_run.pipeline, cache, run)
        compare(rungs.LONG_FORCED_HIDDEN, run.hidden, hidden, room=room)
        compare(rungs.LONG_FORCED_EOS, run.eos_logits, logits, room=room)
        compare(rungs.LONG_PCM, run.audio, self._decoded(flow_run.pipeline, run.latents), room=room)
        latents = [flow_run.pipeline.flow.sample(h, z) for h, z in zip(hidden, run.noise, strict=True)]
        control, count = self._control(flow_run, run, np.stack(latents))
        speech = Speech(flow_run.pipeline.backbone.start(cache), flow_run.pipeline.flow)
        endless = StopRule(UNREACHABLE_LOGIT, 0, 0, room)
        spoken = np.stack([frame.latent for frame in frames(speech, iter(noise), endless)])
        drift = Drift()
        drift.add(run.latents[:count], control.latents[:count], spoken[:count], room)
        self._ladder.judge(rungs.LONG_FREE, drift.totals(), room=room)

    def _forced(self, pipeline: Pipeline, cache: Cache, run: ReferenceRun) -> tuple[np.ndarray, np.ndarray]:
        """hidden [n, D] and logits of the end [n] along the reference's latents."""
        utterance = pipeline.backbone.start(cache)
        found = [utterance.step(latent) for latent in (None, *run.latents[:-1])]
        return np.stack([hidden for hidden, _ in found]), np.array([logit for _, logit in found], np.float32)

    def _decoded(self, pipeline: Pipeline, latents: np.ndarray) -> np.ndarray:
        """Latents [n, Z] normalised to samples, streamed frame by frame."""
        decoder = pipeline.decoder()
        return np.concatenate([decoder.decode(latent) for latent in latents])

    def _finish(self, flow_run: FlowStepsRun) -> None:
        judge, steps = self._ladder.judge, flow_run.steps
        if flow_run.ends.decisions:
            judge(rungs.FREE_LATENTS, flow_run.latents.totals(), steps=steps)
            judge(rungs.FREE_PCM, flow_run.audio.totals(), steps=steps)
            judge(rungs.END, flow_run.ends.totals(), steps=steps)
            judge_margins(self._ladder, rungs.END_MARGINS, flow_run.end_margins, steps=steps)
        if not flow_run.log_mel_cosines:
            self._ladder.skip(rungs.HEARD, "no text was said to the same end", steps=steps)
            return
        cosine, snr_db = min(flow_run.log_mel_cosines), min(flow_run.snrs_db)
        metrics = {"texts": len(flow_run.snrs_db), "log_mel_cosine": cosine, "snr_db": snr_db}
        headline = f"{steps} flow steps: log-mel cosine {cosine:.5f}, SNR {snr_db:.1f} dB at the least"
        judge(rungs.HEARD, Totals(metrics, headline=headline), steps=steps)
        if flow_run.texts:
            judge(rungs.INTELLIGIBILITY, self._errors(flow_run), steps=steps)

    def _errors(self, flow_run: FlowStepsRun) -> Totals:
        said, of_theirs, of_ours = ([text[i] for text in flow_run.texts] for i in range(3))
        rates = compare_error_rates(said, of_theirs, of_ours)
        metrics = {
            "texts": rates.count,
            "wer_percent": rates.ours,
            "reference_wer_percent": rates.reference,
            "delta_points": rates.delta_points,
        }
        judge = f"{flow_run.steps} flow steps, as the demo recogniser understands it"
        return Totals(metrics, headline=f"{judge}: {rates.headline('texts')}")


def _rel(reference: np.ndarray, ours: np.ndarray) -> float:
    return compare_arrays(reference, ours).rel_l2


def measure(subject: Subject, ladder: Ladder) -> None:
    """Fill the stages features, wrappers, decode and task."""
    Comparison(subject, ladder).run()
