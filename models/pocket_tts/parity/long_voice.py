"""A voice longer than one call of the prefill, from a recording and from files, against the reference.

The demo's voice, and that of most clips, goes through the prefill in one call, and is handed to the comparison as
latents.
"""

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from models.pocket_tts.backbone import Cache
from models.pocket_tts.codec import encode
from models.pocket_tts.parity import rungs
from models.pocket_tts.parity.reference import Reference, ReferenceRun
from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice, clone, open_voice
from parity.ladder.ladder import Ladder, SkipStage
from parity.ladder.rungs import Rung


class LongVoice:
    """A voice of more frames than one call of the prefill takes, from a recording and from files.

    Args:
        ladder: the ladder to fill.
        reference: the reference to compare with.
        pipeline: the pipeline on the runtime under test.
        wrapped: the pipeline on the eager wrappers.
    """

    def __init__(self, ladder: Ladder, reference: Reference, pipeline: Pipeline, wrapped: Pipeline) -> None:
        self._ladder, self._reference, self._pipeline, self._wrapped = ladder, reference, pipeline, wrapped
        tokens = pipeline.host.backbone.prefill_tokens
        self._frames = tokens + tokens // 4  # what is cut at a silent end still leaves more than one call
        self._recordings: list[np.ndarray] = []

    def add_recording(self, samples: np.ndarray) -> None:
        """Keep a recording until the voice is long enough."""
        if sum(map(len, self._recordings)) < self._frames * self._pipeline.frame_size:
            self._recordings.append(samples)

    def compare(self, chunk: str) -> None:
        """Recording to cache, and files to cache, behind which a chunk of text stands.

        Args:
            chunk: one chunk of text.
        """
        ladder = self._ladder
        try:
            samples, voice = self._voice()
            self._pipeline.set_voice(voice)
            prompt = self._pipeline.prompts(chunk)[0]
            if (room := self._pipeline.room(prompt)) < 1:
                raise SkipStage(f"a cache of {self._pipeline.host.backbone.slots} slots is {1 - room} too small for it")
        except SkipStage as skip:
            for rung in rungs.LONG_VOICE:
                ladder.skip(rung, str(skip))
            return
        run = self._run(prompt, voice)
        with ladder.attempt("wrappers", "voice longer than a prefill"):
            latents = voice
            if samples is not None and self._held(self._wrapped):
                prepared = self._reference.waveform(samples)  # what the host cuts and fades itself is another row's
                latents = Voice(latents=encode(self._wrapped.runtime, self._wrapped.host, prepared))
            self._conditioned(self._wrapped, latents, prompt, run, (rungs.LONG_KEYS, rungs.LONG_VALUES))
        with ladder.attempt("decode", "voice longer than a prefill"):
            pipeline, cloned = self._pipeline, voice
            if samples is not None and self._held(pipeline):
                cloned = clone(samples, pipeline.bundle, pipeline.runtime, pipeline.host)
            chained = (rungs.LONG_CACHE_KEYS, rungs.LONG_CACHE_VALUES)
            self._conditioned(pipeline, cloned, prompt, run, chained)
            self._from_files(voice, prompt, run)

    def _held(self, pipeline: Pipeline) -> bool:
        """Whether the bundle of a pipeline has the codec's encoder."""
        return pipeline.bundle.manifest.component("codec_encoder") is not None

    def _voice(self) -> tuple[np.ndarray | None, Voice]:
        """A recording and the reference's latents of it; where nothing clones the voice in use, again and again.

        Raises:
            SkipStage: there is no such voice.
        """
        if self._reference.codec.encoder is not None and self._pipeline.host.clones:
            samples = np.resize(np.concatenate(self._recordings), self._frames * self._pipeline.frame_size)
            voice = Voice(latents=self._reference.encode(samples))
            if voice.length <= (tokens := self._pipeline.host.backbone.prefill_tokens):
                raise SkipStage(f"the clips end in silence: no more than {tokens} frames are left of them")
            return samples, voice
        if (latents := self._pipeline.voice.latents) is None:
            raise SkipStage("the codec has no encoder, and the voice does not come as latents")
        return None, Voice(latents=np.resize(latents, (self._frames, latents.shape[1])))

    def _run(self, prompt: Prompt, voice: Voice) -> ReferenceRun:
        """The reference up to its first frame."""
        pipeline = self._pipeline
        return self._reference.run(prompt.chunk, voice, pipeline.noise(0), flow_steps=pipeline.flow.steps, max_frames=1)

    def _conditioned(
        self, pipeline: Pipeline, voice: Voice, prompt: Prompt, run: ReferenceRun, pair: tuple[Rung, Rung]
    ) -> None:
        pipeline.set_voice(voice)
        cache = pipeline.condition(prompt)
        self._ladder.compare(pair[0], run.keys, cache.keys)
        self._ladder.compare(pair[1], run.values, cache.values)

    def _from_files(self, voice: Voice, prompt: Prompt, run: ReferenceRun) -> None:
        """The same voice saved as latents and as what the reference made of them, and read again."""
        pipeline, compare = self._pipeline, self._ladder.compare
        length = len(prompt.before_voice) + voice.length
        cache = {side: getattr(run, side)[:, :, :length] for side in ("keys", "values")}
        latents = self._read({"audio_prompt_latents": np.asarray(voice.latents)}).latents
        compare(rungs.FILE_LATENTS, np.asarray(voice.latents), np.asarray(latents))
        read = self._read(cache)
        sides = read.cache or pipeline.backbone.empty()
        compare(rungs.FILE_KEYS, cache["keys"], sides.keys)
        compare(rungs.FILE_VALUES, cache["values"], sides.values)
        pipeline.set_voice(read)
        prompt = pipeline.prompts(prompt.chunk)[0]
        run = self._run(prompt, Voice(cache=Cache(**cache)))
        ours = pipeline.condition(prompt)
        compare(rungs.FILE_CACHE_KEYS, run.keys, ours.keys)
        compare(rungs.FILE_CACHE_VALUES, run.values, ours.values)

    def _read(self, arrays: dict[str, np.ndarray]) -> Voice:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "voice.safetensors"
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)  # saves views wrong
            return open_voice(str(file), self._pipeline.bundle, self._pipeline.runtime, self._pipeline.host)
