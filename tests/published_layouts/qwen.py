"""The aligner in Qwen's own format, as `Qwen/Qwen3-ForcedAligner-0.6B` is published."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from models.qwen3_forced_aligner.published import RENAMES

# Sections of M-RoPE as they are published for 64 pairs, in the same proportion for fewer.
SECTIONS = (24, 20, 20)


def write_qwen(source: Path, folder: Path, dtype: Any = None, shards: int = 1) -> Path:
    """Write a checkpoint of transformers' layout in Qwen's own.

    Args:
        source: folder in transformers' layout.
        folder: is made.
        dtype: of the tensors; as they are when left out.
        shards: how many weight files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    processor = json.loads((source / "processor_config.json").read_text())
    bin_ms = processor.get("timestamp_segment_time", 80)
    _write_json(folder / "config.json", qwen_config(config, bin_ms))
    extractor = {**processor["feature_extractor"], "feature_extractor_type": "WhisperFeatureExtractor"}
    extractor = {k: v for k, v in extractor.items() if k not in ("n_window", "min_length")}
    _write_json(folder / "preprocessor_config.json", {**extractor, "processor_class": "Qwen3ASRProcessor"})
    _write_json(folder / "chat_template.json", {"chat_template": "{{ messages[0]['content'] }}"})
    _write_tokenizer(source, folder)
    tensors = {original(n): t.to(dtype or t.dtype) for n, t in load_file(source / "model.safetensors").items()}
    _write_shards(tensors, folder, shards)
    return folder


def original(tensor: str) -> str:
    """Qwen's name of a tensor."""
    new = max((new for new in RENAMES.values() if tensor.startswith(new)), key=len)
    return next(old for old, name in RENAMES.items() if name == new) + tensor.removeprefix(new)


def qwen_config(config: Mapping[str, Any], bin_ms: float) -> dict[str, Any]:
    """Qwen's config.json of transformers' one."""
    audio, text = dict(config["audio_config"]), dict(config["text_config"])
    audio.pop("max_position_embeddings", None)
    rope = text.pop("rope_parameters")
    pairs = text["head_dim"] // 2
    height = width = pairs * SECTIONS[1] // sum(SECTIONS)
    scaling = {"type": "default", "rope_type": "default", "mrope_interleaved": True, "interleaved": True,
               "mrope_section": [pairs - height - width, height, width]}  # fmt: skip
    text |= {"model_type": "qwen3_asr_text", "rope_theta": rope["rope_theta"], "rope_scaling": scaling}
    text |= {"num_experts": 128, "decoder_sparse_step": 1, "return_dict": True}
    labels = config.get("id2label") or {}
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "model_type": "qwen3_asr",
        "support_languages": ["English", "Chinese"],
        "timestamp_token_id": config["timestamp_token_id"],
        "timestamp_segment_time": bin_ms,
        "thinker_config": {
            "model_type": "qwen3_forced_aligner",
            "audio_config": {**audio, "model_type": "qwen3_asr_audio_encoder", "max_source_positions": 1500,
                             "conv_chunksize": 500, "return_dict": True},
            "text_config": text,
            "audio_token_id": config["audio_token_id"],
            "classify_num": len(labels) or config.get("num_labels", 2),
            "initializer_range": 0.02,
        },
        "transformers_version": "4.57.1",
    }  # fmt: skip


def _write_tokenizer(source: Path, folder: Path) -> None:
    """vocab.json, merges.txt and tokenizer_config.json of a tokenizer.json."""
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    special = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in content["added_tokens"]}
    names = {token["content"] for token in special.values()}
    vocabulary = {k: v for k, v in content["model"]["vocab"].items() if k not in names}
    _write_json(folder / "vocab.json", vocabulary)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in content["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    audio = {
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
        "audio_token": "<|audio_pad|>",
    }
    settings = {
        "added_tokens_decoder": special,
        "additional_special_tokens": sorted(names),
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "Qwen3ASRProcessor",
        "extra_special_tokens": audio,
        **audio,
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _write_shards(tensors: Mapping[str, Any], folder: Path, shards: int) -> None:
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    where = {n: f"model-{i * shards // len(names) + 1:05d}-of-{shards:05d}.safetensors" for i, n in enumerate(names)}
    for file in set(where.values()):
        save_file({n: tensors[n] for n in names if where[n] == file}, folder / file, metadata={"format": "pt"})
    _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
