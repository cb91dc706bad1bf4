"""Cohere Transcribe's components, constants and host files, read from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoProcessor, CohereAsrForConditionalGeneration
from transformers.models.cohere_asr.processing_cohere_asr import LANGUAGES

from toolkit.errors import CheckpointError, OptionError
from toolkit.export.cached_decoder import CachedDecoderSpecs, DecoderBuilders, DecoderSizes
from toolkit.export.host_assets import nemo_assets, nemo_mel_constants
from toolkit.export.pretrained import load_config, load_part, load_pretrained
from toolkit.loops.cached_decoder import COMPONENTS
from toolkit.options import numbers_of_option
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor
from wrappers import cached_decoder
from wrappers import cohere_transcribe as wrappers
from wrappers.conformer import Subsampling

Head = Literal["raw", "log-softmax"]


def check(checkpoint: Path) -> None:
    """Judge configuration and processor; no weight is read.

    Raises:
        CheckpointError: one is missing or damaged, or the tokenizer lacks the prompt's tokens.
    """
    load_config(CohereAsrForConditionalGeneration, checkpoint)
    _prompts(load_processor(checkpoint))


def plan(checkpoint: Path, options: dict[str, Any]) -> ExportPlan:
    """Declare every component for one checkpoint.

    Args:
        checkpoint: folder in the hub's layout.
        options: `audio_seconds`, comma-separated lengths of the encoder; `decoder`, comma-separated forms (stateful,
            external, stateless); `max_tokens`, what the decoder's cache holds, the prompt's tokens included; `head`
            (raw, log-softmax).

    Returns:
        The plan; tracing happens when a component is built.

    Raises:
        CheckpointError: the tokenizer lacks the prompt's tokens.
        OptionError: a length is no such number, or out of range.
    """
    model = load_model(checkpoint)
    processor = load_processor(checkpoint)
    seconds = audio_seconds(str(options["audio_seconds"]), processor.feature_extractor.max_audio_clip_s)
    windows = [_window(model, processor.feature_extractor, s) for s in seconds]
    prompts = _prompts(processor)
    cache = _cache(int(options["max_tokens"]), len(prompts["en"]["punctuated"]), model.config)
    forms = [form for form in COMPONENTS if form in str(options["decoder"]).split(",")]
    head: Head = options["head"]
    frames = windows[-1]["encoder_frames"]
    decoder = _decoder(model, frames, cache, len(prompts["en"]["punctuated"]), head)
    decoders = [decoder.component(form) for form in forms]
    return ExportPlan(
        components=(_encoder(model, windows), _cross_kv(model, frames, decoder.cross), *decoders),
        host=_host(model, processor, windows, cache, prompts, head),
        assets=nemo_assets(processor.feature_extractor, processor.tokenizer),
        options={
            "audio_seconds": ",".join(f"{s:g}" for s in seconds),
            "decoder": ",".join(forms),
            "max_tokens": cache,
            "head": head,
        },
    )


def load_model(checkpoint: Path) -> Any:
    """`CohereAsrForConditionalGeneration` in eval mode and float32, from safetensors only."""
    return load_pretrained(CohereAsrForConditionalGeneration, checkpoint)


def load_processor(checkpoint: Path) -> Any:
    """The processor: feature extractor and tokenizer."""
    return load_part(AutoProcessor, checkpoint, "processor")


def audio_seconds(text: str, longest: float) -> list[float]:
    """Parse `15,35`.

    Args:
        text: the option.
        longest: what the checkpoint's feature extractor cuts longer audio into, in seconds.

    Raises:
        OptionError: not numbers between 1 and `longest`.
    """
    why = ", where the model cuts the audio"
    return numbers_of_option(text, "--audio-seconds", 1, longest, example="15,35", why=why)


def _cache(tokens: int, prompt: int, config: Any) -> int:
    if not prompt < tokens <= config.max_position_embeddings:
        most = config.max_position_embeddings
        raise OptionError(f"--max-tokens must be between {prompt + 1} and {most}, not {tokens}")
    return tokens


def _window(model: Any, extractor: Any, seconds: float) -> dict[str, Any]:
    mel_frames = round(seconds * extractor.sampling_rate) // extractor.hop_length
    frames = Subsampling(model.model.encoder.subsampling, mel_frames).frames
    return {"function": f"audio_{seconds:g}s".replace(".", "_"), "mel_frames": mel_frames, "encoder_frames": frames}


def _encoder(model: Any, windows: list[dict[str, Any]]) -> ComponentSpec:
    """Mel to frames, at each length, padded to the longest."""
    mel_frames, mels = {w["function"]: w["mel_frames"] for w in windows}, model.config.encoder_config.num_mel_bins
    frames = windows[-1]["encoder_frames"]

    def function(name: str) -> FunctionSpec:
        length = np.array([mel_frames[name]], dtype=np.int32)
        return FunctionSpec(
            name,
            (
                Tensor("mel", (1, mel_frames[name], mels), "float32", "normalised log-mel, [batch, frame, bin]"),
                Tensor("length", (1,), "int32", "valid mel frames; what lies beyond cannot act", length),
            ),
            (
                _frames(model, frames, "decoder-ready frames, 0 when padded"),
                Tensor("encoder_length", (1,), "int32", "valid encoder frames"),
            ),
        )

    return ComponentSpec(
        "encoder",
        lambda name: wrappers.Encoder(model, mel_frames[name], frames),
        tuple(function(name) for name in mel_frames),
    )


def _cross_kv(model: Any, frames: int, cross: tuple[Tensor, ...]) -> ComponentSpec:
    """Keys and values of the audio, once an utterance."""
    functions = (FunctionSpec("main", (_frames(model, frames, "decoder-ready frames"),), cross),)
    return ComponentSpec("cross_kv", lambda _: wrappers.CrossKeysValues(model), functions)


def _frames(model: Any, frames: int, meaning: str) -> Tensor:
    return Tensor("encoder", (1, frames, model.config.hidden_size), "float32", meaning)


def _decoder(model: Any, frames: int, cache: int, prompt: int, head: Head) -> CachedDecoderSpecs:
    """The decoder in its forms; all of them know the longest window only."""

    def built(module: Callable[..., torch.nn.Module], *more: int) -> Callable[[], torch.nn.Module]:
        return lambda: module(wrappers.Decoder(model, head), cache, frames, *more)

    config = model.config
    heads = (config.num_hidden_layers, config.num_key_value_heads, config.head_dim)
    return CachedDecoderSpecs(
        DecoderSizes(*heads, cache, frames, prompt, config.vocab_size),
        DecoderBuilders(
            built(cached_decoder.Prefill, prompt),
            built(cached_decoder.StatefulStep),
            built(cached_decoder.ExternalStep),
            built(cached_decoder.Stateless),
        ),
        "raw logits" if head == "raw" else "logarithms of the probabilities",
    )


def _prompts(processor: Any) -> dict[str, dict[str, list[int]]]:
    """Language -> form of the text -> ids of the prompt, as the processor builds them.

    Raises:
        CheckpointError: the tokenizer lacks tokens that every prompt has, or has no language.
    """
    vocabulary = processor.tokenizer.get_vocab()
    languages = sorted(code for code in LANGUAGES if f"<|{code}|>" in vocabulary)
    prompts = {
        code: {
            form: processor.get_decoder_prompt_ids(code, punctuation=form == "punctuated")
            for form in ("punctuated", "plain")
        }
        for code in languages
    }
    absent = {None, processor.tokenizer.unk_token_id}
    if "en" not in prompts or any(absent & set(ids) for forms in prompts.values() for ids in forms.values()):
        raise CheckpointError(
            "the tokenizer lacks tokens of the decoder's prompt", "Give the checkpoint's folder with its own tokenizer."
        )
    return prompts


def _host(
    model: Any, processor: Any, windows: list[dict[str, Any]], cache: int, prompts: dict[str, Any], head: Head
) -> dict[str, Any]:
    config, extractor = model.config, processor.feature_extractor
    end = config.eos_token_id if isinstance(config.eos_token_id, int) else config.eos_token_id[0]
    return {
        "sample_rate": extractor.sampling_rate,
        "mel": nemo_mel_constants(extractor),
        "longest_s": extractor.max_audio_clip_s,
        "search_s": extractor.overlap_chunk_second,
        "energy_samples": extractor.min_energy_window_samples,
        "dither": extractor.dither,
        "subsampling_factor": config.encoder_config.subsampling_factor,
        "encoder_windows": windows,
        "cache_tokens": cache,
        "prompts": prompts,
        "eos_id": end,
        "special_ids": sorted({end, config.pad_token_id, *processor.tokenizer.all_special_ids}),
        "head": head,
    }
