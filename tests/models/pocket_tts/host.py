"""What the tests run on: checkpoints that speak calmly, pipelines on the wrappers, and the class without our code."""

import math
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
from transformers import (
    PocketTTSAudioTokenizerModel,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
)

from models.pocket_tts import MODEL, export
from models.pocket_tts.parity.reference import Reference
from models.pocket_tts.pipeline import Pipeline
from tests.models.bundles import host_bundle
from tests.models.pocket_tts.tiny import save_tiny_checkpoint, set_end_of_speech
from toolkit.runtimes.eager import EagerRuntime

FORMS = ("stateful", "external")
SLOTS = 512
OPTIONS = {"flow_steps": "step,1", "cache_slots": SLOTS, "codec_encoder": True, "audio_tokenizer": ""}
CALM = 0.1


def save_calm_checkpoint(folder, **sizes):
    """A tiny checkpoint whose latents depend less on the hidden states; returns the folder.

    A random one amplifies a rounding tenfold every few frames, so that after 40 of them nothing could be compared.
    """
    model = save_tiny_checkpoint(folder, **sizes)
    model.flow_head.cond_proj.weight.mul_(CALM)
    torch.manual_seed(0)
    set_end_of_speech(model)
    model.save_pretrained(folder)
    return folder


def planned(checkpoint, form="external", **options):
    """The plan of a checkpoint."""
    return export.plan(checkpoint, OPTIONS | {"state": form} | options)


def opened(folder, plan, runtime=None, *, host=None, **options):
    """The pipeline on the eager runtime, or another."""
    return Pipeline(host_bundle(folder, MODEL, plan, host), runtime or EagerRuntime(plan), **options)


def referred(checkpoint):
    return Reference(checkpoint, checkpoint / "audio_tokenizer")


@dataclass(frozen=True)
class Said:
    """Frames of one chunk: latents [n, Z] normalised, hidden [n, D], logits [n], samples, and why it ended."""

    latents: np.ndarray
    hidden: np.ndarray
    logits: np.ndarray
    audio: np.ndarray
    stop: str


def say(pipeline, prompt, noise=None):
    """One chunk through the pipeline."""
    decoder, frames = pipeline.decoder(), list(pipeline.frames(prompt, noise or pipeline.noise(0)))
    return Said(
        latents=np.stack([frame.latent for frame in frames]),
        hidden=np.stack([frame.hidden for frame in frames]),
        logits=np.array([frame.eos_logit for frame in frames]),
        audio=np.concatenate([decoder.decode(frame.latent) for frame in frames]),
        stop=frames[-1].stop,
    )


class Stock:
    """The class, its processor and its codec as transformers documents them.

    Args:
        checkpoint: with its codec in the folder `audio_tokenizer`.
    """

    def __init__(self, checkpoint):
        self.model = PocketTTSForConditionalGeneration.from_pretrained(checkpoint).eval()
        self.codec = PocketTTSAudioTokenizerModel.from_pretrained(checkpoint / "audio_tokenizer").eval()
        self.processor = PocketTTSProcessor.from_pretrained(checkpoint)
        self.processor.audio_tokenizer = self.codec

    def inputs(self, text, **voice):
        """Of the processor for one chunk; voice: `audio` samples or `audio_prompt_latents` [T, Z], or neither."""
        spoken = [{"type": "audio"}] * bool(voice) + [{"type": "text", "text": text}]
        prompt = self.processor.apply_chat_template([{"role": "user", "content": spoken}])
        rate = {"sampling_rate": self.processor.feature_extractor.sampling_rate} if "audio" in voice else {}
        return self.processor(
            text=prompt,
            **{k: [v if k == "audio" else torch.from_numpy(v)] for k, v in voice.items()},
            **rate,
            return_tensors="pt",
        )

    @torch.no_grad()
    def generate(self, text, *, noise=None, seed=0, temperature=0.0, past=None, voice=None, **settings):
        """Latents [n, Z] in the codec's space, and samples.

        Args:
            text: one chunk.
            noise: [Z] a frame, scaled, in the place of torch's.
            seed: of torch, where no noise is given.
            temperature: likewise.
            past: cache of a voice.
            voice: `audio` or `audio_prompt_latents`.
            settings: of `generate`.
        """
        inputs, torch_randn = self.inputs(text, **(voice or {})), torch.randn
        sampling = {"do_sample": noise is not None or temperature > 0}
        if sampling["do_sample"]:
            sampling["temperature"] = 1.0 if noise is not None else temperature

        def given(*shape, **kwargs):
            return torch_randn(*shape, **kwargs) if noise is None else torch.from_numpy(next(noise))[None]

        torch.manual_seed(seed)
        with patch("torch.randn", given):
            output = self.model.generate(**inputs, past_key_values=past, **sampling, **settings)
        latents = output.audio_latents[0]
        return latents.numpy(), self.processor.decode(latents).numpy()


def torch_noise(seed, width, temperature):
    """The noise that `generate` draws behind `torch.manual_seed(seed)`."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield (torch.randn(1, width, generator=generator) * math.sqrt(temperature))[0].numpy()
