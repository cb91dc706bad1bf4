"""Parakeet TDT's components, constants and host files, read from a checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, ParakeetFeatureExtractor, ParakeetForTDT

from toolkit.export.host_assets import nemo_assets, nemo_mel_constants
from toolkit.export.pretrained import load_config, load_part, load_pretrained
from toolkit.options import numbers_of_option
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor
from wrappers import parakeet_tdt as wrappers
from wrappers.conformer import Subsampling

# Encoder frames shared by two windows of a long file: their cut lies in the middle, so each side keeps 2 s of context.
WINDOW_OVERLAP_S = 4.0
# Compute units, from what is published for this model on Macs: the encoder runs on the Neural Engine nearly whole, with
# the GPU not needed; LSTM and joint run on the CPU whatever is asked, so that nothing else is prepared for them.
# Source: FluidAudio, EncoderComputePlacement.md; mobius, parakeet-tdt-v3 OPTIMIZATION.md.


def check(checkpoint: Path) -> None:
    """Judge configuration, feature extractor and tokenizer; no weight is read.

    Raises:
        CheckpointError: one is missing or damaged.
    """
    load_config(ParakeetForTDT, checkpoint)
    load_extractor(checkpoint)
    load_tokenizer(checkpoint)


def plan(checkpoint: Path, options: dict[str, Any]) -> ExportPlan:
    """Declare every component for one checkpoint.

    Args:
        checkpoint: folder in the hub's layout.
        options: `audio_seconds`, comma-separated lengths of the encoder's windows in seconds.

    Returns:
        The plan; loading and tracing happen when a component is built.
    """
    model = load_model(checkpoint)
    extractor, tokenizer = load_extractor(checkpoint), load_tokenizer(checkpoint)
    seconds = window_seconds(str(options["audio_seconds"]))
    windows = [_window(model, extractor, s) for s in seconds]
    return ExportPlan(
        components=(_encoder(model, windows), *_decoder_components(model)),
        host=_host(model, extractor, tokenizer, windows),
        assets=nemo_assets(extractor, tokenizer),
        options={"audio_seconds": ",".join(f"{s:g}" for s in seconds)},
    )


def load_model(checkpoint: Path) -> Any:
    """`ParakeetForTDT` in eval mode and float32, from safetensors only."""
    return load_pretrained(ParakeetForTDT, checkpoint)


def load_extractor(checkpoint: Path) -> Any:
    """`ParakeetFeatureExtractor`."""
    return load_part(ParakeetFeatureExtractor, checkpoint, "feature extractor")


def load_tokenizer(checkpoint: Path) -> Any:
    """The tokenizer, with a backend of the `tokenizers` library."""
    return load_part(AutoTokenizer, checkpoint, "tokenizer")


def window_seconds(text: str) -> list[float]:
    """Parse `5,15,30`.

    Raises:
        OptionError: not positive numbers.
    """
    return numbers_of_option(text, "--audio-seconds", 1, 400, example="5,15,30")


def _window(model: Any, extractor: Any, seconds: float) -> dict[str, Any]:
    mel_frames = int(seconds * extractor.sampling_rate) // extractor.hop_length + 1
    frames = Subsampling(model.encoder.subsampling, mel_frames).frames
    return {"function": f"audio_{seconds:g}s".replace(".", "_"), "mel_frames": mel_frames, "encoder_frames": frames}


def _encoder(model: Any, windows: list[dict[str, Any]]) -> ComponentSpec:
    mels, width = model.config.encoder_config.num_mel_bins, model.config.decoder_hidden_size
    frames = {window["function"]: window["mel_frames"] for window in windows}

    def function(window: dict[str, Any]) -> FunctionSpec:
        length = np.array([window["mel_frames"]], dtype=np.int32)
        return FunctionSpec(
            name=window["function"],
            inputs=(
                Tensor("mel", (1, window["mel_frames"], mels), "float32", "normalised log-mel, [batch, frame, bin]"),
                Tensor("length", (1,), "int32", "valid mel frames; what lies beyond cannot act", length),
            ),
            outputs=(
                Tensor("encoder", (1, window["encoder_frames"], width), "float32", "joint-ready frames, 0 when padded"),
                Tensor("encoder_length", (1,), "int32", "valid encoder frames"),
            ),
        )

    return ComponentSpec(
        name="encoder",
        build=lambda name: wrappers.Encoder(model, frames[name]),
        functions=tuple(function(window) for window in windows),
        compute_units="CPU_AND_NE",
    )


def _decoder_components(model: Any) -> tuple[ComponentSpec, ...]:
    width, layers = model.config.decoder_hidden_size, model.config.num_decoder_layers
    token = Tensor("token", (1, 1), "int32", "last emitted token id; blank to start")
    states_in = tuple(
        Tensor(f"{name}_in", (layers, 1, width), "float32", f"LSTM {name} state before the token")
        for name in ("hidden", "cell")
    )
    states_out = tuple(
        Tensor(f"{name}_out", (layers, 1, width), "float32", f"LSTM {name} state after the token")
        for name in ("hidden", "cell")
    )
    frame = Tensor("encoder_frame", (1, 1, width), "float32", "one frame of the encoder's output")
    prediction = Tensor("prediction", (1, 1, width), "float32", "output of the prediction network")
    decision = (
        Tensor("token_id", (1, 1), "int32", "most likely token or blank"),
        Tensor("token_probability", (1, 1), "float32", "its probability among tokens and blank"),
        Tensor("duration", (1, 1), "int32", "most likely duration in encoder frames; a blank's 0 counts as 1"),
    )
    logits = (
        Tensor("token_logits", (1, 1, model.config.vocab_size), "float32", "raw logits of tokens and blank"),
        Tensor("duration_logits", (1, 1, len(model.config.durations)), "float32", "raw logits of durations"),
    )
    return (
        _single("prediction", wrappers.Prediction, model, (token, *states_in), (prediction, *states_out)),
        _single("joint", wrappers.Joint, model, (frame, prediction), logits),
        _single("joint_decision", wrappers.JointDecision, model, (frame, prediction), decision),
        _single("decoder_step", wrappers.DecoderStep, model, (token, *states_in, frame), (*decision, *states_out)),
    )


def _single(
    name: str, wrapper: Any, model: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> ComponentSpec:
    functions = (FunctionSpec("main", inputs, outputs),)
    return ComponentSpec(name, lambda _: wrapper(model), functions, compute_units="CPU_ONLY")


def _host(model: Any, extractor: Any, tokenizer: Any, windows: list[dict[str, Any]]) -> dict[str, Any]:
    config = model.config
    factor = config.encoder_config.subsampling_factor
    never_text = {config.blank_token_id, config.pad_token_id, *tokenizer.all_special_ids}
    return {
        "sample_rate": extractor.sampling_rate,
        "mel": nemo_mel_constants(extractor),
        "subsampling_factor": factor,
        "frame_s": factor * extractor.hop_length / extractor.sampling_rate,
        "blank_id": config.blank_token_id,
        "start_id": config.blank_token_id,
        "special_ids": sorted(never_text),
        "vocabulary_size": config.vocab_size,
        "hidden_size": config.decoder_hidden_size,
        "num_layers": config.num_decoder_layers,
        "max_symbols_per_step": config.max_symbols_per_step,
        "encoder_windows": windows,
        "window_overlap_s": WINDOW_OVERLAP_S,
    }
