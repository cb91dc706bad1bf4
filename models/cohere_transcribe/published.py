"""Cohere's original configuration, as in `CohereLabs/cohere-transcribe-03-2026`, brought into transformers' form.

transformers renames the original tensors when it loads them, but ignores the sizes in the sections `encoder` and
`transf_decoder`, and takes those of the published model. Here they are translated, so that a fine-tune of other sizes
is the model that its author trained; weights and tokenizer are linked as they are.

The sections are NeMo's. Sources of their keys: the model's class in vLLM (`cohere_asr`), NeMo's `ConformerEncoder`.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import CheckpointError
from toolkit.export.source import Source, fetch_small_files, is_in, read_json
from toolkit.export.weights import fetch_weights

CLASS = "CohereAsrForConditionalGeneration"
SECTIONS = ("encoder", "transf_decoder")
# Key of the original -> key of transformers.
ENCODER = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "conv_kernel_size": "conv_kernel_size",
    "subsampling_factor": "subsampling_factor",
    "subsampling_conv_channels": "subsampling_conv_channels",
    "feat_in": "num_mel_bins",
    "pos_emb_max_len": "max_position_embeddings",
    "xscaling": "scale_input",
    "use_bias": "attention_bias",
}
DECODER = {
    "hidden_size": "hidden_size",
    "inner_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "max_sequence_length": "max_position_embeddings",
    "hidden_act": "hidden_act",
}
HEAD = {"num_classes": "vocab_size"}
EXTRACTOR = {"features": "feature_size", "sample_rate": "sampling_rate", "n_fft": "n_fft", "preemph": "preemphasis",
             "dither": "dither", "pad_value": "padding_value"}  # fmt: skip
PIECES = ("max_audio_clip_s", "overlap_chunk_second", "min_energy_window_samples")  # of long audio, at the top
# What the classes compute, for keys that decide it: any other value cannot be expressed.
FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "encoder": {
        "feat_out": (-1, None),
        "subsampling": ("dw_striding",),
        "causal_downsampling": (False,),
        "subsampling_conv_chunking_factor": (1, -1),  # how NeMo splits work, not what it computes
        "reduction": (None,),
        "self_attention_model": ("rel_pos",),
        "att_context_size": (None, [-1, -1], [[-1, -1]]),
        "att_context_style": ("regular",),
        "att_context_probs": (None,),
        "untie_biases": (True,),
        "conv_norm_type": ("batch_norm",),
        "conv_context_size": (None,),
        "global_tokens": (0,),
    },
    "transf_decoder": {"pre_ln_final_layer_norm": (True,), "encoder": (None,)},
    "transf_decoder.config_dict": {
        "pre_ln": (True,),
        "pre_ln_final_layer_norm": (True,),
        "learn_positional_encodings": (False,),
        "num_token_types": (0,),
    },
    "head": {"num_layers": (1,)},
    "preprocessor": {"normalize": ("per_feature",), "window": ("hann",), "log": (True,), "frame_splicing": (1,)},
}
# What has no part in inference, or says again what another key says.
INERT = {
    "encoder": {"_target_", "dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att", "reduction_position",
                "reduction_factor", "stochastic_depth_drop_prob", "stochastic_depth_mode",
                "stochastic_depth_start_layer", "sync_max_audio_length", "global_tokens_spacing",
                "global_attn_separate", "use_pytorch_sdpa", "use_pytorch_sdpa_backends", "ff_expansion_factor"},
    "transf_decoder": {"_target_", "model_name", "pretrained", "library", "checkpoint_file", "config_dict"},
    "transf_decoder.config_dict": {"embedding_dropout", "ffn_dropout", "attn_score_dropout", "attn_layer_dropout",
                                   "lm_dec_hidden", "vocab_size"},
    "head": {"_target_", "activation", "hidden_size", "log_softmax", "dropout", "use_transformer_init"},
    "preprocessor": {"_target_", "pad_to", "window_size", "window_stride"},
}  # fmt: skip
KNOWN = {"encoder": ENCODER, "transf_decoder.config_dict": DECODER, "head": HEAD, "preprocessor": EXTRACTOR}
# Sections in which a key without a known meaning may change what is computed.
STRICT = ("encoder", "transf_decoder", "transf_decoder.config_dict")
GENERAL = ("vocab_size", "pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id",
           "tie_word_embeddings")  # fmt: skip
OWN_TOKENIZER = "CohereAsrTokenizer"  # code of the repository
TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
GENERATION = "generation_config.json"


@dataclass(frozen=True)
class OriginalCheckpoint:
    """A checkpoint with Cohere's original configuration, on this machine.

    Attributes:
        name: as the user gave it.
        files: every file that is read.
        config: for transformers.
        extractor: arguments of the feature extractor.
    """

    name: str
    files: Mapping[str, Path]
    config: Mapping[str, Any]
    extractor: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write configuration and processor; weights and the like are linked."""
        write_small_files(folder, self)
        for name, path in self.files.items():
            if ".safetensors" in name:
                os.symlink(path.resolve(), folder / name)


class OriginalLayout:
    """Recognised by the sections `encoder` or `transf_decoder` in the config.json of a `cohere_asr`."""

    name = "cohere"

    def open(self, source: Source, options: Mapping[str, Any]) -> OriginalCheckpoint | None:
        """Judge the small files, then fetch the weights.

        Raises:
            CheckpointError: it has what transformers' class cannot express, or a key whose meaning is not known.
        """
        if source.entry or not is_in(source, "config.json") or is_in(source, "adapter_config.json"):
            return None
        original = read_json(source, "config.json")
        if not _is_original(original):
            return None
        config, extractor = translated_config(source.name, original), extractor_arguments(source.name, original)
        small = fetch_small_files(source, ("config.json", GENERATION, *TOKENIZER))
        found = OriginalCheckpoint(source.name, small, config, extractor)
        _judge_small_files(found)
        return replace(found, files=small | fetch_weights(source))


LAYOUTS = (OriginalLayout(),)


def translated_config(name: str, original: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of transformers' class.

    Args:
        name: of the checkpoint, for messages.
        original: Cohere's config.json.

    Raises:
        CheckpointError: a switch that the class cannot express, or a key whose meaning is not known.
    """
    _check_switches(name, original)
    if original.get("quantization_config"):
        raise CheckpointError(f"{name} holds quantised weights", "Give the checkpoint that it was made from.")
    general = {key: original[key] for key in GENERAL if key in original}
    encoder = _mapped(_section(original, "encoder"), ENCODER)
    factor = _section(original, "encoder").get("ff_expansion_factor", 4)
    width = encoder.get("hidden_size", _default_encoder("hidden_size"))
    biases = {"convolution_bias": encoder["attention_bias"]} if "attention_bias" in encoder else {}
    config = {
        **general,
        "architectures": [CLASS],
        "model_type": "cohere_asr",
        **_mapped(_section(original, "head"), HEAD),
        **_mapped(_section(original, "transf_decoder.config_dict"), DECODER),
        "encoder_config": {
            "model_type": "parakeet_encoder",
            **encoder,
            **biases,
            "intermediate_size": int(width * factor),
        },
    }
    _check_unknown_keys(name, original, config)
    return config


def extractor_arguments(name: str, original: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CohereAsrFeatureExtractor`; what is not there is the class's default.

    Raises:
        CheckpointError: mel bins that are not those of the encoder.
    """
    section = _section(original, "preprocessor")
    rate = section.get("sample_rate", 16000)
    lengths = {"window_size": "win_length", "window_stride": "hop_length"}
    samples = {new: round(section[old] * rate) for old, new in lengths.items() if old in section}
    pieces = {key: original[key] for key in PIECES if key in original}
    found = {**_mapped(section, EXTRACTOR), **samples, **pieces}
    mels = _section(original, "encoder").get("feat_in", _default_encoder("num_mel_bins"))
    if found.setdefault("feature_size", mels) != mels:
        raise CheckpointError(
            f"{name}: preprocessor.features is {found['feature_size']}, encoder.feat_in is {mels}",
            "Give the config.json that was saved with the weights.",
        )
    return found


def write_small_files(folder: Path, checkpoint: OriginalCheckpoint) -> None:
    """Write config.json, tokenizer, and processor_config.json."""
    from transformers import AutoTokenizer, CohereAsrFeatureExtractor, CohereAsrProcessor

    from toolkit.export.pretrained import load_part

    with _named_folder(checkpoint.name) as scratch:
        for file in TOKENIZER:
            if path := checkpoint.files.get(file):
                (scratch / file).write_bytes(_plain_tokenizer_file(file, path))
        tokenizer = load_part(AutoTokenizer, scratch, "tokenizer")
    CohereAsrProcessor(CohereAsrFeatureExtractor(**checkpoint.extractor), tokenizer).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(checkpoint.config, indent=2), encoding="utf-8")
    if path := checkpoint.files.get(GENERATION):
        (folder / GENERATION).write_bytes(path.read_bytes())


@contextmanager
def _named_folder(name: str) -> Iterator[Path]:
    """A temporary folder whose last name is the checkpoint's, which messages show."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / Path(name).name
        folder.mkdir()
        yield folder


def _is_original(config: Mapping[str, Any]) -> bool:
    """Whether the sections decide; transformers keeps them, unread, beside its own when it saves a fine-tune."""
    sections = any(isinstance(config.get(key), dict) for key in SECTIONS)
    return config.get("model_type") == "cohere_asr" and sections and "encoder_config" not in config


def _section(original: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A section by its path; empty where there is none."""
    found: Any = original
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _mapped(section: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {new: section[old] for old, new in names.items() if old in section}


def _check_switches(name: str, original: Mapping[str, Any]) -> None:
    """Refuse what the class computes in another way."""
    for path, switches in FIXED.items():
        section = _section(original, path)
        for key, allowed in switches.items():
            if key in section and section[key] not in allowed:
                raise CheckpointError(
                    f"{name}: {path}.{key} is {section[key]!r}, which {CLASS} cannot express (only {allowed[0]!r})",
                    "Give a checkpoint with the published architecture.",
                )


def _check_unknown_keys(name: str, original: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse keys whose meaning is not known, unless all others are those of the published model.

    Of the published model transformers ignores both sections, and is right.
    """
    for path in STRICT:
        known = {*KNOWN.get(path, ()), *FIXED.get(path, ()), *INERT[path]}
        unknown = sorted(set(_section(original, path)) - known)
        if unknown and not _is_published(config):
            raise CheckpointError(
                f"{name}: the meaning of {path}.{unknown[0]} in config.json is not known",
                f"Save it with `{CLASS}.save_pretrained` of transformers, where it works.",
            )


def _is_published(config: Mapping[str, Any]) -> bool:
    """Whether the sizes are those that the class takes by default."""
    from transformers import CohereAsrConfig

    ours, default = CohereAsrConfig(**config).to_dict(), CohereAsrConfig().to_dict()
    own = {"vocab_size", *DECODER.values()}
    return ours["encoder_config"] == default["encoder_config"] and all(ours[key] == default[key] for key in own)


def _default_encoder(key: str) -> Any:
    from transformers import CohereAsrConfig

    return getattr(CohereAsrConfig().encoder_config, key)


def _judge_small_files(checkpoint: OriginalCheckpoint) -> None:
    """What the export module checks, before the weights are there."""
    from models.cohere_transcribe.export import check

    with _named_folder(checkpoint.name) as folder:
        write_small_files(folder, checkpoint)
        check(folder)


def _plain_tokenizer_file(file: str, path: Path) -> bytes:
    """A tokenizer's file without the reference to code of the repository, which is not run."""
    if file != "tokenizer_config.json":
        return path.read_bytes()
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("auto_map", None)
    if settings.get("tokenizer_class") == OWN_TOKENIZER:
        settings["tokenizer_class"] = "TokenizersBackend"
    return json.dumps(settings).encode()
