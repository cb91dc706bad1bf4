"""PocketTTS' components, constants and host files, read from a checkpoint and its codec."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.pocket_tts.checkpoint import (
    can_project,
    check_language,
    check_pair,
    check_small_files,
    load_codec,
    load_model,
    load_processor,
    load_voices,
    locate_codec,
    sha256_of_weights,
    translation_notes,
    voice_sizes,
)
from toolkit.compute_units import units_of_states
from toolkit.errors import OptionError
from toolkit.spec import ComponentSpec, ComputeUnits, ExportPlan, FunctionSpec, Tensor
from wrappers import pocket_tts as wrappers
from wrappers import pocket_tts_flow
from wrappers.pocket_tts_codec import CodecDecoder, CodecEncoder

PREFILL_TOKENS = 64  # positions of one prefill call: a voice of 125 frames and a text of 50 tokens take three
ENCODER_FRAMES = 25  # latents of one call of the codec's encoder: two seconds
CHUNK_TOKENS = 50  # most tokens of text said at once, `PocketTTSProcessor.split_text`
MOST_FLOW_STEPS = 64
# A table is looked up on the CPU, whatever is asked.
LOOKUP_UNITS: ComputeUnits = "CPU_ONLY"
# The codec feeds its streaming states back at every call. In float16 on the Neural Engine that gave a constant beep in
# another port, and none on CPU and GPU. Source: mobius, IOS_COREML_ISSUES.md 7; FluidAudio, PocketTtsModelStore.swift.
DECODER_UNITS: ComputeUnits = "CPU_ONLY"
ENCODER_UNITS: ComputeUnits = "CPU_AND_GPU"


def check(checkpoint: Path) -> None:
    """Judge configuration, tokenizer, feature extractor and text rules; no weight is read.

    Raises:
        CheckpointError: one is missing or damaged.
    """
    check_small_files(checkpoint)


def plan(checkpoint: Path, options: dict[str, Any]) -> ExportPlan:
    """Declare every component for one checkpoint.

    Args:
        checkpoint: folder in the hub's layout. The codec is in its folder `audio_tokenizer`, or where its
            processor_config.json says, unless the options name another.
        options: `flow_steps`, comma-separated numbers and `step`; `cache_slots`; `state` (stateful, external);
            `codec_encoder`; `audio_tokenizer`, hub id (with @revision) or folder of the codec; `language`, which
            chose the model in Kyutai's layout.

    Returns:
        The plan; tracing happens when a component is built.

    Raises:
        CheckpointError: no codec, a codec without a decoder, or one of another kind than the backbone's.
        OptionError: flow steps or slots out of range.
    """
    check_language(checkpoint, language := str(options.get("language") or ""))
    model = load_model(checkpoint)
    codec_folder, codec_name = locate_codec(checkpoint, str(options["audio_tokenizer"]))
    codec = load_codec(codec_folder)
    check_pair(model, codec)
    steps = flow_steps(str(options["flow_steps"]), model.config.flow_head_config.flow_type)
    slots = _slots(int(options["cache_slots"]), model.config)
    clones = can_project(model)
    encoder = bool(options["codec_encoder"]) and codec.encoder is not None and clones
    parts = _Parts(model, codec, slots, stateful=options["state"] == "stateful")
    components = [parts.text_embedding(), *([parts.voice_projection()] if clones else [])]
    components += [parts.backbone(), parts.flow(steps)]
    components += [parts.codec_decoder(), *([parts.codec_encoder()] if encoder else [])]
    processor, (voices, notes) = (
        load_processor(checkpoint),
        load_voices(checkpoint, voice_sizes(model.config, clones=clones)),
    )
    return ExportPlan(
        components=tuple(components),
        host={
            **_host(model, codec, processor),
            "backbone": _backbone(model.config, slots),
            "flow_functions": [f.name for f in parts.flow(steps).functions],
            "codec_sha256": sha256_of_weights(codec_folder),
            "voices": list(voices),
            "clones": clones,
        },
        assets=_assets(processor, voices),
        options={
            "flow_steps": ",".join(steps),
            "cache_slots": slots,
            "state": options["state"],
            "codec_encoder": encoder,
            "audio_tokenizer": codec_name,
            "language": language,
        },
        notes=(*translation_notes(checkpoint), *notes),
    )


def flow_steps(text: str, flow_type: str) -> list[str]:
    """Parse `step,1,8`: each once, `step` first.

    Args:
        text: the option.
        flow_type: of the flow head; a drifting one samples in one call.

    Raises:
        OptionError: neither `step` nor a number in range; or other than 1 for a drifting head.
    """
    parts = {part.strip() for part in text.split(",")}
    numbers = sorted({int(part) for part in parts if part.isdecimal()})
    if not parts or any(not part.isdecimal() and part != "step" for part in parts):
        raise OptionError(f"--flow-steps wants `step` and numbers, such as step,1,8; got '{text}'")
    if not all(1 <= number <= MOST_FLOW_STEPS for number in numbers):
        raise OptionError(f"--flow-steps: numbers must be between 1 and {MOST_FLOW_STEPS}")
    if flow_type == "drifting":
        if numbers not in ([], [1]):
            raise OptionError("--flow-steps: this checkpoint's flow head samples in one call, give 1")
        return ["1"]
    return [*(["step"] if "step" in parts else []), *map(str, numbers)]


def _slots(slots: int, config: Any) -> int:
    if not PREFILL_TOKENS <= slots <= config.max_position_embeddings:
        limits = f"{PREFILL_TOKENS} and {config.max_position_embeddings}"
        raise OptionError(f"--cache-slots must be between {limits}, not {slots}")
    return slots


class _Parts:
    """Declares the components of one model and its codec.

    Args:
        model: `PocketTTSForConditionalGeneration`.
        codec: `PocketTTSAudioTokenizerModel`.
        slots: of the cache.
        stateful: whether the step keeps the cache in its states.
    """

    def __init__(self, model: Any, codec: Any, slots: int, *, stateful: bool) -> None:
        config = model.config
        self._model, self._codec, self._slots, self._stateful = model, codec, slots, stateful
        self._width, self._latent, self._head_dim = config.hidden_size, config.latent_dim, config.head_dim
        self._heads = (config.num_hidden_layers, config.num_key_value_heads)
        self._cached = (*self._heads, slots, config.head_dim)
        self._hidden = Tensor("hidden", (1, self._width), "float32", "the backbone's normalised state of this position")

    def text_embedding(self) -> ComponentSpec:
        """Ids to vectors."""
        tokens = Tensor("tokens", (1, PREFILL_TOKENS), "int32", "text, and the token in front of a voice")
        functions = (FunctionSpec("main", (tokens,), (self._embeds(PREFILL_TOKENS),)),)
        return ComponentSpec(
            "text_embedding", lambda _: wrappers.TextEmbedding(self._model), functions, compute_units=LOOKUP_UNITS
        )

    def voice_projection(self) -> ComponentSpec:
        """A voice's latents to vectors."""
        shape = (1, PREFILL_TOKENS, self._latent)
        latents = Tensor("latents", shape, "float32", "latents of a voice, in the codec's space")
        functions = (FunctionSpec("main", (latents,), (self._embeds(PREFILL_TOKENS),)),)
        return ComponentSpec("voice_projection", lambda _: wrappers.VoiceProjection(self._model), functions)

    def backbone(self) -> ComponentSpec:
        """Prefill of a chunk, and one latent; the weights are stored once."""

        def build(function: str) -> torch.nn.Module:
            if function == "prefill":
                return wrappers.Prefill(self._model, self._slots, PREFILL_TOKENS).eval()
            step = wrappers.StatefulStep if self._stateful else wrappers.ExternalStep
            return step(self._model, self._slots).eval()

        functions = (self._prefill(), self._step())
        return ComponentSpec("backbone", build, functions, compute_units=units_of_states(functions[1].states))

    def flow(self, steps: list[str]) -> ComponentSpec:
        """Velocity of one step, and whole flows of N steps; the weights are stored once."""

        def build(function: str) -> torch.nn.Module:
            if function == "step":
                return pocket_tts_flow.FlowStep(self._model).eval()
            return pocket_tts_flow.FusedFlow(self._model, int(function.removeprefix("steps_"))).eval()

        functions = tuple(self._velocity() if step == "step" else self._fused(step) for step in steps)
        return ComponentSpec("flow", build, functions)

    def codec_decoder(self) -> ComponentSpec:
        """One latent to the samples of its frame, streamed."""
        decoder = CodecDecoder(self._codec)
        latents = Tensor("latents", (1, 1, self._latent), "float32", "one latent, in the codec's space")
        audio = Tensor("audio", (1, self._codec.config.frame_size), "float32", "samples, in -1..1", piece=True)
        states_in, states_out = self._streamed(decoder)
        positions = self._positions(self._codec.config.latent_stride)
        functions = (FunctionSpec("main", (latents, *positions, *states_in), (audio, *states_out)),)
        return ComponentSpec(
            "codec_decoder", lambda _: CodecDecoder(self._codec).eval(), functions, compute_units=DECODER_UNITS
        )

    def codec_encoder(self) -> ComponentSpec:
        """Two seconds of a voice to its latents, streamed."""
        encoder = CodecEncoder(self._codec, ENCODER_FRAMES)
        samples = ENCODER_FRAMES * self._codec.config.frame_size
        audio = Tensor("audio", (1, samples), "float32", "samples, in -1..1; zeros behind the end cannot act")
        latents = Tensor("latents", (1, ENCODER_FRAMES, self._latent), "float32", "latents, in the codec's space")
        positions = self._positions(ENCODER_FRAMES * self._codec.config.latent_stride)
        states_in, states_out = self._streamed(encoder)
        functions = (FunctionSpec("main", (audio, *positions, *states_in), (latents, *states_out)),)
        return ComponentSpec(
            "codec_encoder",
            lambda _: CodecEncoder(self._codec, ENCODER_FRAMES).eval(),
            functions,
            compute_units=ENCODER_UNITS,
        )

    def _embeds(self, length: int) -> Tensor:
        return Tensor("embeds", (1, length, self._width), "float32", "vectors of the backbone's width")

    def _prefill(self) -> FunctionSpec:
        length = np.array([PREFILL_TOKENS], np.int32)
        inputs = (
            self._embeds(PREFILL_TOKENS),
            Tensor("length", (1,), "int32", "valid vectors; what lies beyond enters no cache", length),
            *self._place(PREFILL_TOKENS),
            *self._pair("in", self._slots, "before the chunk"),
        )
        return FunctionSpec("prefill", inputs, self._pair("out", PREFILL_TOKENS, "of the chunk, 0 from `length` on"))

    def _step(self) -> FunctionSpec:
        start = np.ones(1, np.float32)
        inputs = (
            Tensor("latent", (1, self._latent), "float32", "the latent before, normalised"),
            Tensor("is_start", (1,), "float32", "1 takes the learnt start latent instead", start),
            *self._place(1),
        )
        outputs = (self._hidden, Tensor("eos_logit", (1, 1), "float32", "above the threshold, speech ends"))
        if not self._stateful:
            pair_in, pair_out = self._pair("in", self._slots, "before"), self._pair("out", 1, "of this position")
            return FunctionSpec("step", (*inputs, *pair_in), (*outputs, *pair_out))
        states = tuple(
            Tensor(f"{kind}_cache", self._cached, "float16", f"{kind}s of the positions so far, a layer each")
            for kind in ("key", "value")
        )
        return FunctionSpec("step", inputs, outputs, states)

    def _place(self, length: int) -> tuple[Tensor, ...]:
        shape = (1, length, self._head_dim)
        return (
            Tensor("position", (1,), "int32", "of the first, from the prompt's first position"),
            Tensor("cos", shape, "float32", "cosines of the rotary angles"),
            Tensor("sin", shape, "float32", "sines of the rotary angles"),
        )

    def _pair(self, side: str, length: int, when: str) -> tuple[Tensor, ...]:
        shape = (*self._heads, length, self._head_dim)
        kinds = ("key", "value")
        return tuple(Tensor(f"{k}_{side}", shape, "float32", f"{k}s {when}, a layer each") for k in kinds)

    def _velocity(self) -> FunctionSpec:
        latent = Tensor("latent", (1, self._latent), "float32", "noise, or what the steps so far made of it")
        times = (
            Tensor("s", (1, 1), "float32", "time at which the step begins, 0..1", np.zeros((1, 1), np.float32)),
            Tensor("t", (1, 1), "float32", "time at which it ends", np.ones((1, 1), np.float32)),
        )
        velocity = Tensor("velocity", (1, self._latent), "float32", "change of the latent in unit time")
        return FunctionSpec("step", (self._hidden, latent, *times), (velocity,))

    def _fused(self, steps: str) -> FunctionSpec:
        noise = Tensor("noise", (1, self._latent), "float32", "Gaussian, scaled by the root of the temperature")
        latent = Tensor("latent", (1, self._latent), "float32", "normalised")
        return FunctionSpec(f"steps_{steps}", (self._hidden, noise), (latent,))

    def _positions(self, length: int) -> tuple[Tensor, ...]:
        config = self._codec.config
        shape, most = (1, length, config.head_dim), np.array([config.sliding_window - 1], np.int32)
        return (
            Tensor("past", (1,), "int32", "positions in the attention's cache, at most the window less 1", most),
            Tensor("cos", shape, "float32", "cosines of the rotary angles"),
            Tensor("sin", shape, "float32", "sines of the rotary angles"),
        )

    def _streamed(self, module: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The streaming states as inputs and as outputs; zeros begin a stream."""
        return tuple(
            tuple(Tensor(f"{name}_{side}", shape, "float32", f"stream: {name} {when}") for name, shape in module.states)
            for side, when in (("in", "before"), ("out", "after"))
        )  # type: ignore[return-value]


def _assets(processor: Any, voices: dict[str, bytes]) -> dict[str, bytes]:
    content = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    return {
        "tokenizer.json": json.dumps(content, ensure_ascii=False).encode(),
        "chat_template.jinja": processor.chat_template.encode(),
        **{f"voice-{name}.safetensors": content for name, content in voices.items()},
    }


def _backbone(config: Any, slots: int) -> dict[str, Any]:
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "key_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_parameters["rope_theta"],
        "slots": slots,
        "prefill_tokens": PREFILL_TOKENS,
    }


def _host(model: Any, codec: Any, processor: Any) -> dict[str, Any]:
    config, extractor, generation = model.config, processor.feature_extractor, model.generation_config
    defaults = {"num_flow_steps": 1, "eos_threshold": -4.0, "min_frames_before_eos": 6}  # as `generate` has them
    chosen = {k: v if (v := getattr(generation, k, None)) is not None else d for k, d in defaults.items()}
    return {
        "sample_rate": codec.config.sampling_rate,
        "frame_samples": codec.config.frame_size,
        "fade_in_samples": int(processor.fade_in_duration * extractor.sampling_rate),
        "chunk_tokens": CHUNK_TOKENS,
        "latent_mean": model.latent_mean.tolist(),
        "latent_std": model.latent_std.tolist(),
        "flow_type": config.flow_head_config.flow_type,
        "flow_steps": 1 if config.flow_head_config.flow_type == "drifting" else chosen["num_flow_steps"],
        "temperature": float(generation.temperature if generation.do_sample else 0.0),
        "eos_threshold": float(chosen["eos_threshold"]),
        "min_frames_before_eos": chosen["min_frames_before_eos"],
        "codec": {
            "head_dim": codec.config.head_dim,
            "rope_theta": codec.config.rope_parameters["rope_theta"],
            "window": codec.config.sliding_window,
            "positions_a_frame": codec.config.latent_stride,
            "encoder_frames": ENCODER_FRAMES,
        },
        "text": _text_rules(config, processor),
        "special_tokens": _special_tokens(processor),
        "pause": _pause(extractor),
    }


def _text_rules(config: Any, processor: Any) -> dict[str, Any]:
    """`TextRules`."""
    tokenizer = processor.tokenizer
    bos = processor.audio_prompt_bos_token
    return {
        "short_text_max_words": processor.short_text_max_words,
        "frames_after_eos_short_text": processor.frames_after_eos_short_text,
        "frames_after_eos": processor.frames_after_eos,
        "frame_rate": config.frame_rate,
        "audio_prompt_bos": None if bos is None else tokenizer.convert_tokens_to_ids(bos),
        "audio_prompt": config.audio_prompt_token_id,
        "audio_latent": config.audio_latent_token_id,
        "audio_bos": config.audio_bos_token_id,
    }


def _special_tokens(processor: Any) -> dict[str, str]:
    """What a chat template may name; lists of further tokens are not among it."""
    tokens = processor.tokenizer.special_tokens_map
    return {name: str(token) for name, token in tokens.items() if not isinstance(token, list)}


def _pause(extractor: Any) -> dict[str, Any]:
    """`PauseParameters`."""
    return {
        "end_on_pause": extractor.end_on_pause,
        "analysis_frame_s": extractor.analysis_frame_duration,
        "silence_floor_db": extractor.silence_floor_db,
        "fade_out_s": extractor.fade_out_duration,
        "pause_s": extractor.pause_duration,
        "frame_samples": extractor.frame_size,
    }
