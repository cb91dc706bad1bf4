"""Cohere Transcribe's components, constants and host files, read from a checkpoint."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoProcessor, CohereAsrForConditionalGeneration
from transformers.models.cohere_asr.processing_cohere_asr import LANGUAGES

from toolkit.errors import CheckpointError, OptionError
from toolkit.export.host_assets import nemo_assets, nemo_mel_constants
from toolkit.options import numbers_of_option
from toolkit.quiet import quiet
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor
from wrappers import cohere_transcribe as wrappers
from wrappers.conformer import Subsampling

Head = Literal["raw", "log-softmax"]


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
    processor = AutoProcessor.from_pretrained(checkpoint)
    seconds = audio_seconds(str(options["audio_seconds"]), processor.feature_extractor.max_audio_clip_s)
    windows = [_window(model, processor.feature_extractor, s) for s in seconds]
    prompts = _prompts(processor)
    cache = _cache(int(options["max_tokens"]), len(prompts["en"]["punctuated"]), model.config)
    forms = str(options["decoder"]).split(",")
    head: Head = options["head"]
    sizes = _Sizes(model, windows, cache, len(prompts["en"]["punctuated"]), head)
    decoders = {"stateful": sizes.stateful, "external": sizes.external, "stateless": sizes.stateless}
    return ExportPlan(
        components=(sizes.encoder(), sizes.cross_kv(), *(build() for form, build in decoders.items() if form in forms)),
        host=_host(model, processor, windows, cache, prompts, head),
        assets=nemo_assets(processor.feature_extractor, processor.tokenizer),
        options={
            "audio_seconds": ",".join(f"{s:g}" for s in seconds),
            "decoder": ",".join(form for form in decoders if form in forms),
            "max_tokens": cache,
            "head": head,
        },
    )


def load_model(checkpoint: Path) -> Any:
    """`CohereAsrForConditionalGeneration` in eval mode and float32, from safetensors only."""
    with quiet():
        model = CohereAsrForConditionalGeneration.from_pretrained(checkpoint, use_safetensors=True, dtype=torch.float32)
    return model.eval().requires_grad_(False)


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
        raise OptionError(f"--max-tokens must lie between {prompt + 1} and {most}, not {tokens}")
    return tokens


def _window(model: Any, extractor: Any, seconds: float) -> dict[str, Any]:
    mel_frames = round(seconds * extractor.sampling_rate) // extractor.hop_length
    frames = Subsampling(model.model.encoder.subsampling, mel_frames).frames
    return {"function": f"audio_{seconds:g}s".replace(".", "_"), "mel_frames": mel_frames, "encoder_frames": frames}


class _Sizes:
    """Declares the components of one model; all decoders know the longest window only.

    Args:
        model: the class.
        windows: of the encoder, shortest first.
        cache: tokens that a decoder's cache holds.
        prompt: tokens of the prompt.
        head: raw or log-softmax.
    """

    def __init__(self, model: Any, windows: list[dict[str, Any]], cache: int, prompt: int, head: Head) -> None:
        config = model.config
        self._model, self._windows, self._prompt, self._head = model, windows, prompt, head
        self._cache, self._frames = cache, windows[-1]["encoder_frames"]
        self._width, self._mels = config.hidden_size, config.encoder_config.num_mel_bins
        self._form = (model, head, cache, self._frames)
        heads = (config.num_hidden_layers, config.num_key_value_heads)
        cross = (*heads, self._frames, config.head_dim)
        self._cached = (*heads, cache, config.head_dim)
        self._cross = (
            Tensor("cross_key", cross, "float32", "keys of the audio, a layer each"),
            Tensor("cross_value", cross, "float32", "values of the audio, a layer each"),
        )
        length = np.array([self._frames], dtype=np.int32)
        meaning = "valid encoder frames; what lies beyond cannot act"
        self._heard = (*self._cross, Tensor("encoder_length", (1,), "int32", meaning, length))
        scores = "raw logits" if head == "raw" else "logarithms of the probabilities"
        self._logits = Tensor("logits", (1, config.vocab_size), "float32", f"{scores} of the next token")

    def encoder(self) -> ComponentSpec:
        """Mel to frames, at each length, padded to the longest."""
        mel_frames, mels = {w["function"]: w["mel_frames"] for w in self._windows}, self._mels

        def function(name: str) -> FunctionSpec:
            length = np.array([mel_frames[name]], dtype=np.int32)
            return FunctionSpec(
                name,
                (
                    Tensor("mel", (1, mel_frames[name], mels), "float32", "normalised log-mel, [batch, frame, bin]"),
                    Tensor("length", (1,), "int32", "valid mel frames; what lies beyond cannot act", length),
                ),
                (
                    Tensor("encoder", (1, self._frames, self._width), "float32", "decoder-ready frames, 0 when padded"),
                    Tensor("encoder_length", (1,), "int32", "valid encoder frames"),
                ),
            )

        return ComponentSpec(
            "encoder",
            lambda name: wrappers.Encoder(self._model, mel_frames[name], self._frames),
            tuple(function(name) for name in mel_frames),
        )

    def cross_kv(self) -> ComponentSpec:
        """Keys and values of the audio, once an utterance."""
        encoder = Tensor("encoder", (1, self._frames, self._width), "float32", "decoder-ready frames")
        functions = (FunctionSpec("main", (encoder,), self._cross),)
        return ComponentSpec("cross_kv", lambda _: wrappers.CrossKeysValues(self._model), functions)

    def stateful(self) -> ComponentSpec:
        """Prefill and step; the step keeps the cache in its states."""
        states = (
            Tensor("key_cache", self._cached, "float16", "keys of the tokens so far, a layer each"),
            Tensor("value_cache", self._cached, "float16", "values of the tokens so far, a layer each"),
        )
        step = FunctionSpec("step", (*self._token(), *self._heard), (self._logits,), states)
        return ComponentSpec("decoder_stateful", self._builder(wrappers.StatefulStep), (self._prefill(), step))

    def external(self) -> ComponentSpec:
        """Prefill and step; the caller keeps the cache."""
        mask = Tensor("self_mask", (1, 1, 1, self._cache), "float32", "0 up to the position, -1e4 beyond")
        keys = self._pair("in", "before the token")
        step = FunctionSpec(
            "step", (*self._token(), mask, *keys, *self._heard), (self._logits, *self._pair("out", "with the token"))
        )
        return ComponentSpec("decoder_external", self._builder(wrappers.ExternalStep), (self._prefill(), step))

    def stateless(self) -> ComponentSpec:
        """All tokens at every step."""
        tokens = Tensor("tokens", (1, self._cache), "int32", "the prompt and what followed; any id behind `last`")
        last = Tensor("last", (1,), "int32", "place of the last token")
        functions = (FunctionSpec("main", (tokens, last, *self._heard), (self._logits,)),)
        return ComponentSpec("decoder_stateless", lambda _: wrappers.Stateless(*self._form), functions)

    def _builder(self, step: Any) -> Any:
        def build(function: str) -> torch.nn.Module:
            made = wrappers.Prefill(*self._form, self._prompt) if function == "prefill" else step(*self._form)
            return torch.nn.Module.eval(made)

        return build

    def _prefill(self) -> FunctionSpec:
        tokens = Tensor("tokens", (1, self._prompt), "int32", "the prompt")
        return FunctionSpec("prefill", (tokens, *self._heard), (self._logits, *self._pair("out", "of the prompt")))

    def _token(self) -> tuple[Tensor, ...]:
        return (
            Tensor("token", (1, 1), "int32", "the token before"),
            Tensor("position", (1,), "int32", "its place, counted from the prompt's first token"),
        )

    def _pair(self, side: str, when: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(f"{kind}_{side}", self._cached, "float32", f"{kind}s of the cache {when}, a layer each")
            for kind in ("key", "value")
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
