"""Tiny random checkpoints of the real class, in the hub's layout, with a byte-fallback tokenizer of their own."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import (
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    CohereAsrProcessor,
    PreTrainedTokenizerFast,
)

LANGUAGES = ("ar", "de", "el", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "vi", "zh")
FLAGS = ("startofcontext", "startoftranscript", "emo:undefined", "pnc", "nopnc", "noitn", "notimestamp", "nodiarize")
SPECIALS = ("<unk>", "<pad>", "<|endoftext|>", *(f"<|{name}|>" for name in (*FLAGS, *LANGUAGES)))
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_mel_bins": 80,
    "subsampling_conv_channels": 8,
}
# Grouped queries, head dims, depths, a wider encoder than decoder, 128 mels, untied output.
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "grouped_queries": {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 10},
    "one_key_head": {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "attention_bias": False},
    "deep_128_mels": {
        "num_hidden_layers": 4,
        "hidden_act": "gelu",
        "encoder_config": {"hidden_size": 48, "num_attention_heads": 3, "num_mel_bins": 128, "conv_kernel_size": 5},
    },
    "untied": {"tie_word_embeddings": False},
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece-like: letters as pieces, any other character as its bytes."""
    pieces = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz'.,?"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<|endoftext|>"
    )


def tiny_model(seed: int = 0, **overrides: Any) -> CohereAsrForConditionalGeneration:
    """A random model whose layers all matter (the class's own initial weights are nearly zero)."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    encoder = ENCODER | overrides.pop("encoder_config", {})
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 160,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|startoftranscript|>"),
        "tie_word_embeddings": True,
    }
    config = CohereAsrConfig(encoder_config=encoder, **(sizes | overrides))
    model = CohereAsrForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.randn_like(parameter) * noise(name)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += torch.randn_like(buffer) * 0.1
            if name.endswith("running_var"):
                buffer *= 1 + torch.rand_like(buffer)
    return model.requires_grad_(False)


def noise(name: str) -> float:
    """Deviation of what is added to a weight: attention and embedding have to turn decisions."""
    if "embed_tokens" in name or "pos_emb" in name:
        return 1.0
    return 0.6 if "_attn." in name and ".decoder." in name else 0.2


def tiny_processor(mel_bins: int = 80) -> CohereAsrProcessor:
    """The real processor around the tiny tokenizer, without dither."""
    return CohereAsrProcessor(CohereAsrFeatureExtractor(feature_size=mel_bins, dither=0.0), tiny_tokenizer())


def save_tiny_checkpoint(folder: Path, seed: int = 0, **overrides: Any) -> CohereAsrForConditionalGeneration:
    """Write a tiny checkpoint with its processor; returns the model."""
    model = tiny_model(seed, **overrides)
    # The prompt's first token: `generate` puts the start symbol in front of a prompt that begins with another one.
    model.generation_config.decoder_start_token_id = tiny_tokenizer().convert_tokens_to_ids("▁")
    model.save_pretrained(folder)
    tiny_processor(model.config.encoder_config.num_mel_bins).save_pretrained(folder)
    return model
