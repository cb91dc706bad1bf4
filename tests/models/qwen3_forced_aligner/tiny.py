"""Tiny random checkpoints of the real class, in the hub's layout, with a byte-level tokenizer of their own."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    Qwen2TokenizerFast,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForTokenClassification,
    Qwen3ASRProcessor,
)

AUDIO = {
    "num_mel_bins": 80,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "d_model": 32,
    "downsample_hidden_size": 8,
    "output_dim": 24,
    "n_window_infer": 200,
}
TEXT = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
}
# Ratios of grouped queries, head dims, attention windows (in mel frames), classes; a biased head; 128 mels.
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "window_8s_no_groups": {"audio": {"n_window_infer": 800}, "text": {"num_key_value_heads": 4, "head_dim": 6}},
    "window_1s_one_key_head": {
        "audio": {"n_window_infer": 100, "encoder_layers": 1, "d_model": 24, "encoder_attention_heads": 2},
        "text": {"num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": 3},
        "labels": 11,
        "bias": True,
    },
    "wide_128_mels": {
        "audio": {"num_mel_bins": 128, "d_model": 48, "encoder_attention_heads": 3, "output_dim": 36},
        "text": {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 2, "attention_bias": True},
        "labels": 400,
    },
}
SPECIALS = ("<|endoftext|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", "<timestamp>")
TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}<timestamp><timestamp>"
    "{%- endif -%}{%- endfor -%}{%- endfor -%}"
)


def tiny_tokenizer() -> Qwen2TokenizerFast:
    """Bytes as tokens, and the special tokens of the published checkpoint."""
    vocabulary = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        extra_special_tokens={
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "audio_token": "<|audio_pad|>",
            "timestamp_token": "<timestamp>",
        },
    )


def tiny_model(seed: int = 0, **sizes: Any) -> Qwen3ASRForTokenClassification:
    """A random model whose layers all matter (the class's own initial weights are nearly zero).

    Args:
        seed: of the weights.
        sizes: `audio`, `text` (keys of the two configs), `labels`, `bias`.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIALS}
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **AUDIO, **sizes.get("audio", {})},
        text_config={"model_type": "qwen3", "vocab_size": len(tokenizer), **TEXT, **sizes.get("text", {})},
        audio_token_id=ids["<|audio_pad|>"],
        timestamp_token_id=ids["<timestamp>"],
        pad_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|im_end|>"]],
        token_classification_bias=sizes.get("bias", False),
        num_labels=sizes.get("labels", 125),
    )
    model = Qwen3ASRForTokenClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.randn_like(parameter) * noise(name)
    return model.requires_grad_(False)


def noise(name: str) -> float:
    """Deviation of what is added to a weight: markers are all one token, and only attention can tell them apart."""
    if ".language_model." in name and ("q_norm" in name or "k_norm" in name):
        return 3.0
    if "score" in name:
        return 1.0
    return 0.6 if ".self_attn." in name and ".language_model." in name else 0.2


def tiny_processor(mel_bins: int = 80) -> Qwen3ASRProcessor:
    """The real processor around the tiny tokenizer."""
    extractor = Qwen3ASRFeatureExtractor(feature_size=mel_bins)
    return Qwen3ASRProcessor(extractor, tiny_tokenizer(), chat_template=TEMPLATE)


def save_tiny_checkpoint(folder: Path, seed: int = 0, **sizes: Any) -> Qwen3ASRForTokenClassification:
    """Write a tiny checkpoint with its processor; returns the model."""
    model = tiny_model(seed, **sizes)
    model.save_pretrained(folder)
    tiny_processor(model.config.audio_config.num_mel_bins).save_pretrained(folder)
    return model
