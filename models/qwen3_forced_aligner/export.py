"""Qwen3-ForcedAligner's components, constants and host files, read from a checkpoint."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from transformers import AutoProcessor, Qwen3ASRForTokenClassification
from transformers.models.qwen3_asr.processing_qwen3_asr import FORCED_ALIGNER_LANGUAGES, LANGUAGE_CODE_TO_NAME

from toolkit.errors import CheckpointError, OptionError
from toolkit.export.host_assets import host_assets
from toolkit.export.pretrained import load_config, load_part, load_pretrained
from toolkit.options import numbers_of_option
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor
from wrappers import qwen3_forced_aligner as wrappers
from wrappers.qwen3 import QUERY_BLOCK

HEAD_POSITIONS = 128  # marked positions that one call of the head classifies
CHUNK_MEL_FRAMES = 100
CONV_STRIDES = 3  # convolutions of stride 2
MARKERS_PER_WORD = 2
AUDIO_SECONDS = (8, 40, 304)
SEQUENCE_LENGTHS = (512, 1024, 2048, 4096, 8192)
TOKENS_PER_S = 13 + 5 * (MARKERS_PER_WORD + 3)  # audio frames, and five words a second of three tokens each


def check(checkpoint: Path) -> None:
    """Judge configuration and processor; no weight is read.

    Raises:
        CheckpointError: one is missing or damaged, or the configuration has what the wrappers do not cover.
    """
    _check(load_config(Qwen3ASRForTokenClassification, checkpoint))
    load_processor(checkpoint)


def plan(checkpoint: Path, options: dict[str, Any]) -> ExportPlan:
    """Declare every component for one checkpoint.

    Args:
        checkpoint: folder in the hub's layout.
        options: `audio_seconds` and `sequence_lengths`, comma-separated; `encoder` (split, monolithic, both);
            `audio_attention` (windowed, full).

    Returns:
        The plan; tracing happens when a component is built.

    Raises:
        CheckpointError: the checkpoint has what the wrappers do not cover.
        OptionError: a length is no such number, or out of range.
    """
    model = load_model(checkpoint)
    processor = load_processor(checkpoint)
    _check(model.config)
    full = options["audio_attention"] == "full"
    reach_s = model.config.num_labels * processor.timestamp_segment_time / 1000
    windows = _audio_functions(model.config, audio_seconds(str(options["audio_seconds"]), reach_s), full=full)
    lengths = sequence_lengths(str(options["sequence_lengths"]), reach_s)
    sequences = [{"function": f"tokens_{n}", "tokens": n} for n in lengths]
    return ExportPlan(
        components=(*_encoders(model, windows, str(options["encoder"]), full=full), *_decoder(model, sequences)),
        host=_host(model, processor, windows, sequences, full=full),
        assets=_assets(processor),
        options={k: options[k] for k in ("audio_seconds", "sequence_lengths", "encoder", "audio_attention")},
    )


def load_model(checkpoint: Path) -> Any:
    """`Qwen3ASRForTokenClassification` in eval mode and float32, from safetensors only."""
    return load_pretrained(Qwen3ASRForTokenClassification, checkpoint)


def load_processor(checkpoint: Path) -> Any:
    """The processor: feature extractor, tokenizer and chat template."""
    return load_part(AutoProcessor, checkpoint, "processor")


def audio_seconds(text: str, reach_s: float) -> list[float]:
    """Parse `8,40,304`, or choose.

    Args:
        text: the option; `auto` is `AUDIO_SECONDS` up to the first that holds what the time classes reach.
        reach_s: that, in seconds.

    Raises:
        OptionError: not numbers between 1 and 3600.
    """
    if text == "auto":
        return [float(s) for s in _as_far_as(AUDIO_SECONDS, reach_s)]
    return numbers_of_option(text, "--audio-seconds", 1, 3600)


def sequence_lengths(text: str, reach_s: float) -> list[int]:
    """Parse `512,1024,2048`, or choose.

    Args:
        text: the option; `auto` is `SEQUENCE_LENGTHS` up to the first that holds fast speech of `reach_s`.
        reach_s: what the time classes reach, in seconds.

    Raises:
        OptionError: not whole numbers between 32 and 65536, or over 1024 and no multiple of it.
    """
    if text == "auto":
        return _as_far_as(SEQUENCE_LENGTHS, reach_s * TOKENS_PER_S)
    numbers = numbers_of_option(text, "--sequence-lengths", 32, 65536)
    if broken := [n for n in numbers if not n.is_integer()]:
        raise OptionError(f"--sequence-lengths needs whole numbers, not {broken[0]:g}")
    lengths = [int(n) for n in numbers]
    if odd := [n for n in lengths if n > QUERY_BLOCK and n % QUERY_BLOCK]:
        raise OptionError(f"--sequence-lengths over {QUERY_BLOCK} must be multiples of it, {odd[0]} is not")
    return lengths


def conv_frames(mel_frames: int) -> int:
    """Frames that `mel_frames` become in the strided convolutions."""
    for _ in range(CONV_STRIDES):
        mel_frames = (mel_frames - 1) // 2 + 1
    return mel_frames


def _as_far_as(lengths: tuple[int, ...], needed: float) -> list[int]:
    """The lengths up to the first that holds what is needed."""
    return [n for n, shorter in zip(lengths, (0, *lengths), strict=False) if shorter < needed]


def _check(config: Any) -> None:
    text, audio = config.text_config, config.audio_config
    kind = text.rope_parameters["rope_type"]
    if kind != "default":
        raise CheckpointError(f"rotary embeddings of type '{kind}'", "Only the default type is covered so far.")
    if "sliding_attention" in text.layer_types:
        raise CheckpointError("the decoder has sliding-window layers", "Only full causal attention is covered so far.")
    if 2 * audio.n_window != CHUNK_MEL_FRAMES:
        # The class's own count of frames has the 13 of a chunk of 100 written into it, the processor the 100.
        step = f"Only chunks of {CHUNK_MEL_FRAMES} are covered."
        raise CheckpointError(f"the audio encoder has chunks of {2 * audio.n_window} mel frames", step)
    if audio.n_window_infer < CHUNK_MEL_FRAMES or audio.n_window_infer % CHUNK_MEL_FRAMES:
        step = f"Only whole chunks of {CHUNK_MEL_FRAMES} are covered."
        raise CheckpointError(f"the audio encoder has windows of {audio.n_window_infer} mel frames", step)


def _audio_functions(config: Any, seconds: list[float], *, full: bool) -> list[dict[str, Any]]:
    """Lengths rounded up to whole attention windows (whole chunks where every frame sees all)."""
    audio = config.audio_config
    chunk = 2 * audio.n_window
    unit = 1 if full else audio.n_window_infer // chunk
    chunks = sorted({-(-round(s * 100) // (chunk * unit)) * unit for s in seconds})
    return [
        {
            "function": f"audio_{n * chunk // 100}s",
            "seconds": n * chunk / 100,
            "frames": n * conv_frames(chunk),
        }
        for n in chunks
    ]


def _encoders(model: Any, windows: list[dict[str, Any]], which: str, *, full: bool) -> tuple[ComponentSpec, ...]:
    components: tuple[ComponentSpec, ...] = ()
    if which in ("split", "both"):
        components += (_audio_conv(model), _audio_transformer(model, windows, full=full))
    return (*components, _audio_encoder(model)) if which in ("monolithic", "both") else components


def _audio_conv(model: Any) -> ComponentSpec:
    audio = model.config.audio_config
    chunk = 2 * audio.n_window
    mel = Tensor("mel", (1, audio.num_mel_bins, chunk), "float32", "one chunk of log-mel, [batch, bin, frame]")
    frames = Tensor("frames", (1, conv_frames(chunk), audio.d_model), "float32", "frames with their positions")
    return ComponentSpec("audio_conv", lambda _: wrappers.AudioConv(model), (FunctionSpec("main", (mel,), (frames,)),))


def _length(frames: int) -> Tensor:
    meaning = "valid frames after the convolution; what lies beyond cannot act"
    return Tensor("length", (1,), "int32", meaning, np.array([frames], dtype=np.int32))


def _audio_transformer(model: Any, windows: list[dict[str, Any]], *, full: bool) -> ComponentSpec:
    audio, width = model.config.audio_config, model.config.text_config.hidden_size
    frames = {w["function"]: w["frames"] for w in windows}
    window = _window_frames(audio)

    def function(name: str) -> FunctionSpec:
        n = frames[name]
        packed = Tensor("frames", (1, n, audio.d_model), "float32", "valid frames of all chunks, one after the other")
        out = Tensor("audio", (1, n, width), "float32", "what stands in for the audio tokens, 0 when padded")
        return FunctionSpec(name, (packed, _length(n)), (out,))

    return ComponentSpec(
        "audio_transformer",
        lambda name: wrappers.AudioTransformer(model, frames[name], frames[name] if full else window),
        tuple(function(name) for name in frames),
    )


def _audio_encoder(model: Any) -> ComponentSpec:
    audio, width = model.config.audio_config, model.config.text_config.hidden_size
    chunks, frames = audio.n_window_infer // (2 * audio.n_window), _window_frames(audio)
    mel = Tensor("mel", (1, audio.num_mel_bins, audio.n_window_infer), "float32", "log-mel of one attention window")
    out = Tensor("audio", (1, frames, width), "float32", "what stands in for the audio tokens, 0 when padded")
    return ComponentSpec(
        "audio_encoder",
        lambda _: wrappers.AudioEncoder(model, chunks, frames // chunks),
        (FunctionSpec("main", (mel, _length(frames)), (out,)),),
    )


def _window_frames(audio: Any) -> int:
    """Frames of one attention window."""
    return int(audio.n_window_infer // (2 * audio.n_window) * conv_frames(2 * audio.n_window))


def _decoder(model: Any, sequences: list[dict[str, Any]]) -> tuple[ComponentSpec, ...]:
    text, labels = model.config.text_config, model.config.num_labels
    width, lengths = text.hidden_size, {s["function"]: s["tokens"] for s in sequences}

    def embedding(name: str) -> FunctionSpec:
        ids = Tensor("ids", (1, lengths[name]), "int32", "token ids of the prompt; any id where padded")
        out = Tensor("embeddings", (1, lengths[name], width), "float32", "rows of the embedding table")
        return FunctionSpec(name, (ids,), (out,))

    def prefill(name: str) -> FunctionSpec:
        n = lengths[name]
        angles = tuple(
            Tensor(axis, (1, n, text.head_dim), "float32", f"{axis}ine of the rotary angles, both halves alike")
            for axis in ("cos", "sin")
        )
        embeddings = Tensor("embeddings", (1, n, width), "float32", "prompt with the audio in its place, padded behind")
        hidden = Tensor("hidden", (1, n, width), "float32", "last layer's output, before the final norm")
        return FunctionSpec(name, (embeddings, *angles), (hidden,))

    marked = Tensor("hidden", (1, HEAD_POSITIONS, width), "float32", "decoder output at marked positions")
    classes = (
        Tensor("time_class", (1, HEAD_POSITIONS), "int32", "most likely class; times the bin's length it is the time"),
        Tensor("probability", (1, HEAD_POSITIONS), "float32", "its probability"),
        Tensor("logits", (1, HEAD_POSITIONS, labels), "float32", "raw logits of all classes"),
    )
    return (
        ComponentSpec(
            "embedding",
            lambda _: wrappers.TokenEmbedding(model),
            tuple(embedding(n) for n in lengths),
            compute_units="CPU_ONLY",  # a table is looked up there, whatever is asked
        ),
        ComponentSpec(
            "decoder_prefill",
            lambda name: wrappers.DecoderPrefill(model, lengths[name]),
            tuple(prefill(n) for n in lengths),
        ),
        ComponentSpec("head", lambda _: wrappers.Head(model), (FunctionSpec("main", (marked,), classes),)),
    )


def _host(
    model: Any, processor: Any, windows: list[dict[str, Any]], sequences: list[dict[str, Any]], *, full: bool
) -> dict[str, Any]:
    config, extractor = model.config, processor.feature_extractor
    audio, text = config.audio_config, config.text_config
    return {
        "sample_rate": extractor.sampling_rate,
        "mel": {
            "n_fft": extractor.n_fft,
            "hop_length": extractor.hop_length,
            "n_mels": extractor.feature_size,
            "min_samples": extractor.min_length,
            "frame_multiple": 2 * extractor.n_window,
        },
        "chunk_mel_frames": 2 * audio.n_window,
        "chunk_frames": conv_frames(2 * audio.n_window),
        "window_frames": _window_frames(audio),
        "audio_attention": "full" if full else "windowed",
        "audio_functions": windows,
        "sequences": sequences,
        "head_positions": HEAD_POSITIONS,
        "rope": {
            "head_dim": text.head_dim,
            "theta": text.rope_parameters["rope_theta"],
            "sections": text.rope_parameters.get("mrope_section"),
        },
        "prompt": _prompt(processor, config),
        "classes": config.num_labels,
        "bin_ms": processor.timestamp_segment_time,
        "languages": {c: n for c, n in LANGUAGE_CODE_TO_NAME.items() if n in FORCED_ALIGNER_LANGUAGES},
    }


def _prompt(processor: Any, config: Any) -> dict[str, Any]:
    """The fixed parts of the prompt, found by rendering one and taking its words out.

    Raises:
        CheckpointError: the chat template lays the prompt out in a way that the host cannot repeat.
    """
    words = ["one", "two", "three"]
    silence = np.zeros(processor.feature_extractor.sampling_rate, np.float32)
    refusal = CheckpointError(
        "the chat template does not put every word before two time markers, behind the audio",
        "Give a checkpoint of the forced aligner, with its processor.",
    )
    try:
        inputs, _ = processor.prepare_forced_aligner_inputs(audio=silence, transcript=" ".join(words))
    except (ValueError, jinja2.TemplateError) as error:
        raise refusal from error
    ids = inputs["input_ids"][0].tolist()
    audio, marker = config.audio_token_id, config.timestamp_token_id
    pieces = [processor.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    spoken = [i for piece in pieces for i in (*piece, *[marker] * MARKERS_PER_WORD)]
    end = len(ids) - ids[::-1].index(audio) if audio in ids else 0
    starts = [k for k in range(end, len(ids)) if ids[k : k + len(spoken)] == spoken]
    first = ids.index(audio) if audio in ids else 0
    if not starts or set(ids[first:end]) != {audio}:
        raise refusal
    return {
        "before_audio": ids[:first],
        "after_audio": ids[end : starts[0]],
        "after_words": ids[starts[0] + len(spoken) :],
        "audio_id": audio,
        "marker_id": marker,
        "markers_per_word": MARKERS_PER_WORD,
    }


def _assets(processor: Any) -> dict[str, bytes]:
    extractor = processor.feature_extractor
    filters = np.asarray(extractor.mel_filters, dtype=np.float32)
    return host_assets(filters, torch.hann_window(extractor.n_fft).numpy(), processor.tokenizer)
