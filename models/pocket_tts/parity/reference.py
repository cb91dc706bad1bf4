"""The reference: `PocketTTSForConditionalGeneration`, its processor and codec, run as transformers 5.23 documents them.

`generate` draws its own noise from torch, one row a frame, inside `sample_latent`'s caller; the reference is given ours
instead, so that both sides sample under the same noise. Nothing else of `generate` is touched.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    DynamicCache,
    PocketTTSAudioTokenizerModel,
    PocketTTSFeatureExtractor,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
)

from toolkit.export.pretrained import load_pretrained

UNREACHABLE_LOGIT = float("inf")  # a threshold that no logit passes


@dataclass(frozen=True)
class ReferenceRun:
    """One chunk of text through the reference. P prompt positions, n frames.

    Attributes:
        text: the chunk.
        keys: [L, K, P, d] of voice and text, the start of audio not included.
        values: [L, K, P, d] of voice and text, the start of audio not included.
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


class KeysValues(Protocol):
    """Keys and values [L, K, T, d] float32 of a prefix of T positions."""

    @property
    def keys(self) -> np.ndarray:
        """Keys of every layer."""

    @property
    def values(self) -> np.ndarray:
        """Values of every layer."""


class VoicePrompt(Protocol):
    """A voice as `generate` takes it, in one of three forms; the other two are None."""

    @property
    def latents(self) -> np.ndarray | None:
        """[T, Z] float32 in the codec's space."""

    @property
    def embeds(self) -> np.ndarray | None:
        """[T, D] float32: the latents projected to the backbone's width."""

    @property
    def cache(self) -> KeysValues | None:
        """Keys and values that the backbone made of them."""


class Reference:
    """The model in float32 with plain attention.

    Args:
        folder: checkpoint in the hub's layout.
        codec_folder: checkpoint of its codec.
    """

    def __init__(self, folder: Path, codec_folder: Path) -> None:
        self.model = load_pretrained(PocketTTSForConditionalGeneration, folder, attn_implementation="eager")
        self.codec = load_pretrained(PocketTTSAudioTokenizerModel, codec_folder, attn_implementation="eager")
        self.processor = _processor(folder, self.codec)
        self.config = self.model.config

    @property
    def noise_scale(self) -> float:
        """The factor by which `generate` multiplies its noise."""
        generation = self.model.generation_config
        return math.sqrt(generation.temperature) if generation.do_sample else 0.0

    def inputs(self, text: str, voice: VoicePrompt) -> dict[str, Any]:
        """The processor's inputs for `generate`, of one chunk of text and a voice."""
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
        voice: VoicePrompt,
        noise: Iterator[np.ndarray],
        *,
        flow_steps: int,
        eos_threshold: float | None = None,
        max_frames: int | None = None,
        nudge: float = 0.0,
        nudge_seed: int = 0,
    ) -> ReferenceRun:
        """Say one chunk of text.

        Args:
            text: one chunk.
            voice: latents, or a cache.
            noise: [Z] per frame, scaled.
            flow_steps: flow steps per frame.
            eos_threshold: logit that ends the text; the checkpoint's own when left out.
            max_frames: largest number of frames; the class's own budget when left out.
            nudge: deviation of noise that is added to each latent once it is sampled.
            nudge_seed: seed of that added noise.
        """
        inputs = self.inputs(text, voice)
        inputs["past_key_values"] = self._past(voice)
        with self._given(noise, nudge, nudge_seed) as seen:
            generated = self.model.generate(
                **inputs,
                do_sample=False,  # the noise is ours, scaled already
                num_flow_steps=flow_steps,
                eos_threshold=eos_threshold,
                max_new_tokens=max_frames,
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
    def max_frames(self, text: str, voice: VoicePrompt) -> int:
        """The budget of frames that `generate` sets for one chunk of text in a voice; the speech is ended at once."""
        found: list[int] = []
        prepare = self.model._prepare_generation_config

        def prepared(*arguments: Any, **settings: Any) -> Any:
            made = prepare(*arguments, **settings)
            found.append(made[0].max_new_tokens)
            return made

        inputs = self.inputs(text, voice)
        inputs["past_key_values"] = self._past(voice)
        with self._replaced("_prepare_generation_config", prepared):
            self.model.generate(**inputs, do_sample=False, eos_threshold=-UNREACHABLE_LOGIT, min_frames_before_eos=0)
        return found[-1]

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
        result: np.ndarray = self.codec.decode(torch.from_numpy(latents)[None]).audio_values[0, 0].numpy()
        return result

    @torch.no_grad()
    def encode(self, samples: np.ndarray) -> np.ndarray:
        """A recording as the processor prepares it for cloning -> latents [n, Z] in the codec's space."""
        prepared = self.waveform(samples)
        result: np.ndarray = self.codec.encode(torch.from_numpy(prepared)[None, None]).latents[0].numpy()
        return result

    def waveform(self, samples: np.ndarray) -> np.ndarray:
        """A recording as the feature extractor prepares it: ended on a pause, padded to whole frames."""
        extractor = self.processor.feature_extractor
        result: np.ndarray = extractor(samples, sampling_rate=extractor.sampling_rate)["input_values"][0, 0].numpy()
        return result

    def _past(self, voice: VoicePrompt) -> DynamicCache | None:
        """What stands in the cache before the prompt; nothing where the voice is part of the prompt."""
        if voice.embeds is not None:
            return self._projected(voice.embeds)
        return None if voice.cache is None else self._cache(voice)

    @torch.no_grad()
    def _projected(self, embeds: np.ndarray) -> DynamicCache:
        """The cache of a voice that is projected already, behind what the template writes before a voice."""
        prompt = self.processor.apply_chat_template([{"role": "user", "content": [{"type": "audio"}]}])
        ids = self.processor.tokenizer(prompt.partition(self.processor.audio_token)[0], add_special_tokens=False)
        before = self.model.model.embed_tokens(torch.tensor([ids["input_ids"]], dtype=torch.long))
        both = torch.cat([before, torch.from_numpy(embeds)[None]], 1)
        return self.model.model(inputs_embeds=both, use_cache=True).past_key_values

    def _cache(self, voice: VoicePrompt) -> DynamicCache:
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
            result: torch.Tensor = latent
            return result

        with self._replaced("sample_latent", given):
            yield seen

    @contextmanager
    def _replaced(self, name: str, method: Callable[..., Any]) -> Iterator[None]:
        """Put another method in the place of one of the model's, on this instance and for the time of the context."""
        setattr(self.model, name, method)
        try:
            yield
        finally:
            delattr(self.model, name)


def _processor(folder: Path, codec: Any) -> Any:
    """The processor with a codec that is loaded already; `from_pretrained` would look for it by its recorded name."""
    recorded = PocketTTSProcessor.get_processor_dict(folder)[0]
    names = ("short_text_max_words", "frames_after_eos_short_text", "frames_after_eos", "fade_in_duration")
    return PocketTTSProcessor(
        PocketTTSFeatureExtractor.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        audio_tokenizer=codec,
        chat_template=recorded["chat_template"],
        **{name: recorded[name] for name in names if name in recorded},
    )
