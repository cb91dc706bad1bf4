"""The small Qwen3ASRForTokenClassification, its tokenizer and its processor, in the shape of the published aligner."""

import json
import math
import random
from pathlib import Path

import torch
from speech import grammar
from speech.augment import FrontEnd
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Tokenizer, Qwen3ASRConfig, Qwen3ASRForTokenClassification, Qwen3ASRProcessor
from transformers.models.qwen3_asr import Qwen3ASRFeatureExtractor

TOKENS = 512  # before the special ones
CLASS_MS = 40  # the published aligner has 80
CLASSES = 512  # 20.48 s in all
SPECIALS = {
    "pad_token": "<|endoftext|>",
    "eos_token": "<|im_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
    "audio_token": "<|audio_pad|>",
    "timestamp_token": "<timestamp>",
}
TEMPLATE = """\
{%- for message in messages -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'audio' -%}
<|audio_start|><|audio_pad|><|audio_end|>
{%- elif item['type'] == 'text' -%}
{{- item['text'] + '<timestamp><timestamp>' -}}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
"""


def _spellings(rng: random.Random) -> list[str]:
    """Return the words the merges are learned from: those of the domain most, in small letters and with a capital."""
    words = [word for _ in range(3000) for word in grammar.sentence(rng)]
    return [word.capitalize() if rng.random() < 0.2 else word for word in words] + list(grammar.COMMON_WORDS) * 20


def make_tokenizer(seed: int = 0) -> Qwen2Tokenizer:
    """Train a byte-level BPE of 512 tokens; any text can be written with it, words of the domain in one token."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=TOKENS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_spellings(random.Random(seed)), trainer)
    if tokenizer.get_vocab_size() != TOKENS:
        raise ValueError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {TOKENS}")
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    extra = {name: token for name, token in SPECIALS.items() if name not in ("pad_token", "eos_token")}
    return Qwen2Tokenizer(
        vocab=tokenizer.get_vocab(),
        merges=merges,
        unk_token=None,
        pad_token=SPECIALS["pad_token"],
        eos_token=SPECIALS["eos_token"],
        extra_special_tokens=extra,
    )


def make_processor() -> Qwen3ASRProcessor:
    """Return the processor: 128 mels at 16 kHz, the tokenizer above, classes of 40 ms."""
    return Qwen3ASRProcessor(
        Qwen3ASRFeatureExtractor(),
        make_tokenizer(),
        chat_template=TEMPLATE,
        timestamp_segment_time=CLASS_MS,
    )


def make_config(processor: Qwen3ASRProcessor) -> Qwen3ASRConfig:
    """Return the shape of the model: the published one's, with fewer and narrower layers."""
    tokenizer = processor.tokenizer
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIALS.items()}
    audio = {
        "model_type": "qwen3_asr_encoder",
        "d_model": 128,
        # Few, because positions restart every second: the tower cannot tell the order of its chunks, the decoder can.
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 512,
        "downsample_hidden_size": 32,
        "output_dim": 128,
    }
    text = {
        "model_type": "qwen3",
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        # Wavelengths of 6 to 3,500 positions; the published 1e6 spends half of them beyond any sequence seen here.
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": ids["eos_token"],
        "pad_token_id": ids["pad_token"],
    }
    return Qwen3ASRConfig(
        audio_config=audio,
        text_config=text,
        audio_token_id=ids["audio_token"],
        timestamp_token_id=ids["timestamp_token"],
        pad_token_id=ids["pad_token"],
        eos_token_id=[ids["pad_token"], ids["eos_token"]],
        num_labels=CLASSES,
        classifier_dropout=0.0,
        tie_word_embeddings=False,
    )


def ordinal_rows(classes: int, width: int) -> torch.Tensor:
    """Return rows [classes, width] of sinusoids, so that neighbouring classes start alike."""
    wavelengths = torch.logspace(math.log10(8), math.log10(4 * classes), width // 2)
    angles = torch.arange(classes)[:, None] * (2 * math.pi / wavelengths)
    return 0.1 * torch.cat([angles.sin(), angles.cos()], dim=1)


def make_model(config: Qwen3ASRConfig) -> Qwen3ASRForTokenClassification:
    """Return an untrained model.

    Linear layers start from PyTorch's own defaults, convolutions wider: with either's own start the signal dies in the
    subsampling, a hundredth of the positions that are added to it.
    """
    model = Qwen3ASRForTokenClassification(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.reset_parameters()
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.3)
    with torch.no_grad():
        model.model.audio_tower.conv_out.weight *= 8.0
        model.score.weight.copy_(ordinal_rows(*model.score.weight.shape))
    return model


def _log_mels(mels: torch.Tensor) -> torch.Tensor:
    logs = mels.clamp(min=1e-10).log10()
    return (torch.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0


def front_end(processor: Qwen3ASRProcessor) -> FrontEnd:
    """Return the extractor's steps, for features that are distorted on their way."""
    extractor = processor.feature_extractor
    return FrontEnd(
        n_fft=extractor.n_fft,
        hop_length=extractor.hop_length,
        window=torch.hann_window(extractor.n_fft),
        pad_mode="reflect",
        preemphasis=0.0,
        mels=torch.from_numpy(extractor.mel_filters.T).float().contiguous(),
        finished=_log_mels,
    )


def save(model: Qwen3ASRForTokenClassification, processor: Qwen3ASRProcessor, folder: Path) -> None:
    """Write model and processor as a plain transformers folder."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
