"""Tiny random checkpoints of the real class, in the hub's layout."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import ParakeetFeatureExtractor, ParakeetForTDT, ParakeetProcessor, ParakeetTDTConfig

DEMO = Path(__file__).resolve().parents[3] / "demo" / "checkpoints" / "parakeet-tdt"

ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_mel_bins": 80,
    "subsampling_conv_channels": 8,
}
# Other layer and head counts, mel bins, durations, vocabularies; with and without biases; scaled input or not.
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "one_layer_no_bias": {
        "encoder_config": {"num_hidden_layers": 1, "attention_bias": False, "convolution_bias": False},
        "num_decoder_layers": 1,
    },
    "wide_128_mels": {
        "encoder_config": {
            "hidden_size": 48,
            "num_attention_heads": 3,
            "num_mel_bins": 128,
            "conv_kernel_size": 5,
            "scale_input": False,
        },
        "decoder_hidden_size": 24,
        "vocab_size": 41,
        "blank_token_id": 40,
    },
    "three_durations": {"durations": (0, 1, 3), "encoder_config": {"num_hidden_layers": 3, "num_attention_heads": 8}},
    "four_times_subsampling": {"encoder_config": {"subsampling_factor": 4, "num_attention_heads": 2}},
}


def tiny_model(seed: int = 0, **overrides: Any) -> ParakeetForTDT:
    """A random ParakeetForTDT whose layers all matter (the class's own initial weights are nearly zero)."""
    torch.manual_seed(seed)
    encoder = ENCODER | overrides.pop("encoder_config", {})
    sizes = {"vocab_size": 65, "blank_token_id": 64, "pad_token_id": 2, "decoder_hidden_size": 16}
    model = ParakeetForTDT(ParakeetTDTConfig(encoder_config=encoder, **(sizes | overrides))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.randn_like(parameter) * (0.5 if "joint" in name else 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += torch.randn_like(buffer) * 0.1
            if name.endswith("running_var"):
                buffer *= 1 + torch.rand_like(buffer)
    return model.requires_grad_(False)


def save_tiny_checkpoint(folder: Path, seed: int = 0, **overrides: Any) -> ParakeetForTDT:
    """Write a tiny checkpoint with its processor (the demo's tokenizer, whose 65 ids fit); returns the model."""
    model = tiny_model(seed, **overrides)
    model.generation_config.decoder_start_token_id = model.config.blank_token_id
    model.save_pretrained(folder)
    for file in DEMO.glob("tokenizer*"):
        shutil.copy(file, folder)
    extractor = ParakeetFeatureExtractor(feature_size=model.config.encoder_config.num_mel_bins)
    tokenizer = ParakeetProcessor.from_pretrained(DEMO).tokenizer
    ParakeetProcessor(extractor, tokenizer, decoder_type="tdt").save_pretrained(folder)
    return model
