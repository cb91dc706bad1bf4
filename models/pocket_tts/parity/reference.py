"""The reference: `PocketTTSForConditionalGeneration`, its processor and codec, run as transformers 5.23 documents them.

`generate` draws its own noise from torch, one row a frame, inside `sample_latent`'s caller; the reference is given ours
instead, so that both sides sample under the same noise. Nothing else of `generate` is touched.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.utils import logging

from models.pocket_tts.checkpoint import load_codec, load_model, load_processor
from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice, clone
from parity.ladder.ladder import Ladder
from parity.ladder.subject import Clip, Subject
from parity.measures.drift import together
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.runtimes.recording import Call
from toolkit.spec import ExportPlan

NEVER = float("inf")  # a threshold that no logit passes
CONTROLS = 3  # runs under noise: how far one moves is chance
FRAMES_EXERCISED = 24  # frames of each clip's text: the parity at conversion wants real states, not a whole text


@dataclass(frozen=True)
class ReferenceRun:
    """One chunk of text through the reference. P prompt positions, n frames.

    Attributes:
        text: the chunk.
        keys: [L, K, P, d] of voice and text, the start of audio not included.
        values: likewise.
        hidden: [n, D] that each latent was sampled under.
        eos_logits: [n].
        noise: [n, Z] scaled.
        latents: [n, Z] normalised.
        audio: [n * frame_samples] as the processor decodes it, faded in.
    """

    text: str
    keys: np.ndarray
    values: np.ndarray
    hidden: np.ndarray
    eos_logits: np.ndarray
    noise: np.ndarray
    latents: np.ndarray
    audio: np.ndarray


class Replayed:
    """A run of the reference as what drives the loop; behind its end the last frame again.

    Args:
        run: of one chunk.
    """

    def __init__(self, run: ReferenceRun) -> None:
        self._run, self._index = run, -1

    def step(self, latent: np.ndarray | None) -> tuple[np.ndarray, float]:
        """hidden [D] and logit of the end, whatever the latent."""
        self._index = min(self._index + 1, len(self._run.latents) - 1)
        return self._run.hidden[self._index], float(self._run.eos_logits[self._index])

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The latent [Z] of this step."""
        latent: np.ndarray = self._run.latents[self._index]
        return latent


class Reference:
    """The model in float32 with plain attention.

    Args:
        folder: checkpoint in the hub's layout.
        codec_folder: of its codec.
    """

    def __init__(self, folder: Path, codec_folder: Path) -> None:
        logging.disable_progress_bar()
        self.model, self.codec = load_model(folder), load_codec(codec_folder)
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # else a remark that the flow head has no attention
        self.model.set_attn_implementation("eager")
        self.codec.set_attn_implementation("eager")
        logging.set_verbosity(level)
        self.processor = load_processor(folder)
        self.processor.audio_tokenizer = self.codec
        self.config = self.model.config

    @property
    def noise_scale(self) -> float:
        """What `generate` multiplies its noise by."""
        generation = self.model.generation_config
        return math.sqrt(generation.temperature) if generation.do_sample else 0.0

    def inputs(self, text: str, voice: Voice) -> dict[str, Any]:
        """What the processor makes of one chunk of text and a voice."""
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if voice.latents is not None:
            content.insert(0, {"type": "audio"})
        prompt = self.processor.apply_chat_template([{"role": "user", "content": content}])
        latents = None if voice.latents is None else [torch.from_numpy(voice.latents)]
        return dict(self.processor(text=prompt, audio_prompt_latents=latents, return_tensors="pt"))

    @torch.no_grad()
    def run(
        self,
        text: str,
        voice: Voice,
        noise: Iterator[np.ndarray],
        *,
        flow_steps: int,
        eos_threshold: float | None = None,
        most_frames: int | None = None,
        nudge: float = 0.0,
        nudge_seed: int = 0,
    ) -> ReferenceRun:
        """Say one chunk of text.

        Args:
            text: one chunk.
            voice: latents, or a cache.
            noise: [Z] a frame, scaled.
            flow_steps: a frame.
            eos_threshold: logit that ends the text; the checkpoint's own when left out.
            most_frames: the class's own budget when left out.
            nudge: deviation of noise that is added to each latent once it is sampled.
            nudge_seed: of that noise.
        """
        inputs = self.inputs(text, voice)
        inputs["past_key_values"] = None if voice.cache is None else self._cache(voice)
        with self._given(noise, nudge, nudge_seed) as seen:
            generated = self.model.generate(
                **inputs,
                do_sample=False,  # the noise is ours, scaled already
                num_flow_steps=flow_steps,
                eos_threshold=eos_threshold,
                max_new_tokens=most_frames,
                output_scores=True,
                return_dict_in_generate=True,
            )
        latents = torch.cat([latent for _, _, latent in seen])
        count, layers = len(latents), generated.past_key_values.layers
        prompt = layers[0].keys.shape[2] - count  # the start of audio stands in the place of the frame not fed back
        keys, values = (torch.cat([getattr(layer, side) for layer in layers]) for side in ("keys", "values"))
        return ReferenceRun(
            text=text,
            keys=keys[:, :, :prompt].numpy(),
            values=values[:, :, :prompt].numpy(),
            hidden=torch.cat([condition for condition, _, _ in seen]).numpy(),
            eos_logits=torch.cat(generated.scores).numpy(),
            noise=torch.cat([given for _, given, _ in seen]).numpy(),
            latents=latents.numpy(),
            audio=self.processor.decode(generated.audio_latents[0]).numpy(),
        )

    @torch.no_grad()
    def most_frames(self, text: str, voice: Voice) -> int:
        """What `generate` allows one chunk of text in a voice, as it settles it; the speech is ended at once."""
        found: list[int] = []
        prepare = self.model._prepare_generation_config

        def prepared(*arguments: Any, **settings: Any) -> Any:
            made = prepare(*arguments, **settings)
            found.append(made[0].max_new_tokens)
            return made

        self.model._prepare_generation_config = prepared
        inputs = self.inputs(text, voice)
        inputs["past_key_values"] = None if voice.cache is None else self._cache(voice)
        try:
            self.model.generate(**inputs, do_sample=False, eos_threshold=-NEVER, min_frames_before_eos=0)
        finally:
            del self.model._prepare_generation_config
        return found[-1]

    def under_noise(
        self, run: ReferenceRun, voice: Voice, *, flow_steps: int, error: float
    ) -> tuple[ReferenceRun, int]:
        """A run again, with noise in its latents: the one of several that moved most.

        Args:
            run: of one chunk.
            voice: of the run.
            flow_steps: of the run.
            error: deviation of that noise.

        Returns:
            That run, and the frames before the first of all parts from the given one.
        """
        controls = [
            self.run(
                run.text,
                voice,
                iter(run.noise),
                flow_steps=flow_steps,
                eos_threshold=NEVER,
                most_frames=len(run.latents),
                nudge=error,
                nudge_seed=seed,
            )
            for seed in range(CONTROLS)
        ]
        parted = min(together(run.latents, control.latents) for control in controls)
        moved = [rms((control.latents - run.latents)[: max(parted, 1)]) for control in controls]
        return controls[int(np.argmax(moved))], parted

    @torch.no_grad()
    def velocities(self, run: ReferenceRun, flow_steps: int) -> list[tuple[np.ndarray, float, float, np.ndarray]]:
        """(latent [n, Z], s, t, velocity [n, Z]) of each flow step over a run's frames, under its own hidden states."""
        hidden, latents = torch.from_numpy(run.hidden), torch.from_numpy(run.noise)
        found = []
        for step in range(flow_steps):
            s, t = step / flow_steps, (step + 1) / flow_steps
            times = [torch.full((len(hidden), 1), time) for time in (s, t)]
            velocity = self.model.flow_head(latents, hidden, times=times)
            found.append((latents.numpy(), s, t, velocity.numpy()))
            latents = latents + velocity / flow_steps
        return found

    @torch.no_grad()
    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Latents [n, Z] in the codec's space -> samples, the whole at once, not faded in."""
        return self.codec.decode(torch.from_numpy(latents)[None]).audio_values[0, 0].numpy()

    @torch.no_grad()
    def encode(self, samples: np.ndarray) -> np.ndarray:
        """A recording as the processor prepares it for cloning -> latents [n, Z] in the codec's space."""
        prepared = self.waveform(samples)
        return self.codec.encode(torch.from_numpy(prepared)[None, None]).latents[0].numpy()

    def waveform(self, samples: np.ndarray) -> np.ndarray:
        """A recording as the feature extractor prepares it: ended on a pause, padded to whole frames."""
        extractor = self.processor.feature_extractor
        return extractor(samples, sampling_rate=extractor.sampling_rate)["input_values"][0, 0].numpy()

    def _cache(self, voice: Voice) -> DynamicCache:
        cache = DynamicCache(config=self.config)
        for layer in range(self.config.num_hidden_layers):
            pair = (getattr(voice.cache, side)[layer : layer + 1] for side in ("keys", "values"))
            cache.update(*(torch.from_numpy(np.ascontiguousarray(rows)) for rows in pair), layer)
        return cache

    @contextmanager
    def _given(
        self, noise: Iterator[np.ndarray], nudge: float, nudge_seed: int
    ) -> Iterator[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        """Let `generate` sample under our noise; yields what it saw: (condition, noise, latent) a frame."""
        generator = torch.Generator().manual_seed(nudge_seed)
        seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        sample = type(self.model).sample_latent

        def given(condition: torch.Tensor, _: torch.Tensor, num_flow_steps: int) -> torch.Tensor:
            ours = torch.from_numpy(next(noise))[None]
            latent = sample(self.model, condition, ours, num_flow_steps)
            latent = latent + nudge * torch.randn(latent.shape, generator=generator)
            seen.append((condition, ours, latent))
            return latent

        self.model.sample_latent = given
        try:
            yield seen
        finally:
            del self.model.sample_latent


def rms(error: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt((error.astype(np.float64) ** 2).mean()))


def exercise(plan: ExportPlan, bundle: Bundle, runtime: Runtime, clips: Sequence[Clip]) -> None:
    """Run the host side on real texts and voices, so that each function of each component is called.

    Each clip's text is said for some frames in the bundle's first voice, or the clip's own where there is none; the
    clip is cloned where there is an encoder; every way that the plan's flow can sample is taken. A cache too small for
    a whole text is filled.

    Args:
        plan: names the components and the flow's functions.
        bundle: constants and host files; which packages it holds does not matter here.
        runtime: usually a recording one.
        clips: real audio with its text, at the model's rate.
    """
    whole = bundle.with_components(c.name for c in plan.components)
    steps = sorted(sampled_steps(plan.host["flow_functions"]))
    for clip in clips:
        cloned = None
        if whole.manifest.component("codec_encoder") is not None:
            cloned = clone(clip.audio, whole, runtime, Pipeline(whole, runtime).host)
        for flow_steps in steps:
            pipeline = Pipeline(whole, runtime, flow_steps=flow_steps)
            if not pipeline.host.voices:
                pipeline.use(cloned)
            prompt = pipeline.prompts(clip.text)[0]
            say(pipeline, prompt, min(FRAMES_EXERCISED, max(pipeline.room(prompt), 1)))


def say(pipeline: Pipeline, prompt: Prompt, most_frames: int) -> np.ndarray:
    """The first frames of a chunk as audio."""
    decoder = pipeline.decoder()
    frames = islice(pipeline.frames(prompt, pipeline.noise(0)), most_frames)
    return np.concatenate([decoder.decode(frame.latent) for frame in frames])


def sampled_steps(functions: Sequence[str]) -> set[int]:
    """Numbers of flow steps that take every function once: the fused ones, and another for `step`."""
    fused = {int(name.removeprefix("steps_")) for name in functions if name != "step"}
    return fused | ({next(n for n in range(2, len(fused) + 3) if n not in fused)} if "step" in functions else set())


def decision_logits(call: Call, runtime: Runtime) -> Mapping[str, np.ndarray]:
    """No component decides: the host compares the logit of the end, which has a gate of its own."""
    return {}


def measure(subject: Subject, ladder: Ladder) -> None:
    """Fill the stages features, wrappers, decode and task."""
    from models.pocket_tts.parity.comparison import Comparison

    Comparison(subject, ladder).run()
