"""Cohere's model with its original configuration and names, as `CohereLabs/cohere-transcribe-03-2026` is published."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.cohere_transcribe.published import DECODER, ENCODER

EMBEDDING, OUTPUT = "transf_decoder._embedding.token_embedding.weight", "log_softmax.mlp.layer0.weight"
# What the published file says beside the sizes.
SWITCHES = {
    "encoder": {
        "feat_out": -1, "subsampling": "dw_striding", "causal_downsampling": False, "self_attention_model": "rel_pos",
        "att_context_size": [-1, -1], "att_context_style": "regular", "untie_biases": True, "dropout": 0,
        "dropout_att": 0, "conv_norm_type": "batch_norm", "conv_context_size": None, "reduction": None,
        "reduction_position": None, "reduction_factor": 1,
    },
    "transf_decoder": {"pre_ln_final_layer_norm": True, "pretrained": False},
    "config_dict": {"pre_ln": True, "learn_positional_encodings": False, "num_token_types": 0, "ffn_dropout": 0},
}  # fmt: skip


def write_cohere(source: Path, folder: Path, dtype: torch.dtype | None = None) -> Path:
    """Write a checkpoint of transformers' layout in the original one.

    Args:
        source: folder in transformers' layout.
        folder: is made.
        dtype: of the tensors; as they are when left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    extractor = json.loads((source / "processor_config.json").read_text())["feature_extractor"]
    _write_json(folder / "config.json", original_config(config, extractor))
    code = {"AutoProcessor": "processing_cohere_asr.CohereAsrProcessor"}
    _write_json(folder / "preprocessor_config.json", {"auto_map": code})
    _write_json(folder / "processor_config.json", {"auto_map": code, "processor_class": "CohereAsrProcessor"})
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "CohereAsrTokenizer"}
    settings |= {"auto_map": {"AutoTokenizer": ["tokenization_cohere_asr.CohereAsrTokenizer", None]}}
    _write_json(folder / "tokenizer_config.json", settings)
    for file in ("tokenizer.json", "generation_config.json"):
        shutil.copy(source / file, folder / file)
    tensors = {n: t.to(dtype) if dtype and t.is_floating_point() else t for n, t in original_tensors(source).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def original_tensors(source: Path) -> dict[str, torch.Tensor]:
    """The tensors by their original names.

    transformers saves them under these, with one prefix more. The original keeps the output's copy of the embedding,
    and the mel filters.
    """
    tensors = {n.removeprefix("model."): t for n, t in load_file(source / "model.safetensors").items()}
    for one, other in ((EMBEDDING, OUTPUT), (OUTPUT, EMBEDDING)):
        if one not in tensors:
            tensors[one] = tensors[other].clone()
    return tensors | {"preprocessor.featurizer.fb": torch.zeros(1, 80, 257)}


def original_config(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> dict[str, Any]:
    """The original config.json of transformers' one."""
    encoder = config["encoder_config"]
    sizes = {old: encoder[new] for old, new in ENCODER.items()}
    factor = encoder["intermediate_size"] / encoder["hidden_size"]
    sizes["ff_expansion_factor"] = int(factor) if factor.is_integer() else factor
    decoder = {old: config[new] for old, new in DECODER.items()}
    rate = extractor.get("sampling_rate", 16000)
    return {
        "architectures": ["CohereAsrForConditionalGeneration"],
        "auto_map": {"AutoConfig": "configuration_cohere_asr.CohereAsrConfig"},
        "model_type": "cohere_asr",
        "encoder": {**SWITCHES["encoder"], **sizes},
        "transf_decoder": {**SWITCHES["transf_decoder"], "config_dict": {**SWITCHES["config_dict"], **decoder}},
        "head": {"hidden_size": config["hidden_size"], "num_classes": config["vocab_size"], "log_softmax": True},
        "preprocessor": {
            "features": extractor["feature_size"], "sample_rate": rate, "n_fft": extractor["n_fft"], "window": "hann",
            "window_size": extractor["win_length"] / rate, "window_stride": extractor["hop_length"] / rate,
            "dither": extractor["dither"], "normalize": "per_feature", "log": True, "pad_to": 0, "pad_value": 0.0,
        },
        "max_audio_clip_s": extractor["max_audio_clip_s"],
        "overlap_chunk_second": extractor["overlap_chunk_second"],
        **{key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")},
        "vocab_size": config["vocab_size"],
    }  # fmt: skip


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
