"""Qwen's own format of the aligner, as in `Qwen/Qwen3-ForcedAligner-0.6B`, brought into transformers' layout.

What differs: tensors lie below `thinker.`, sizes in `thinker_config`, the tokenizer in vocab.json and merges.txt, and
the prompt is built in code where transformers renders a chat template. Tensors are renamed, none is changed. Source:
qwen-asr 0.0.6, `core/transformers_backend`.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import CheckpointError
from toolkit.export.source import Source, fetch_small_files, is_in, read_json
from toolkit.export.tensors import refuse_tensors
from toolkit.export.weights import fetch_weights

ALIGNER = "forced_aligner"  # in the thinker's model_type, which is how Qwen's own code tells the aligner
CLASS = "Qwen3ASRForTokenClassification"
# The longest prefix that fits is exchanged.
RENAMES = {
    "thinker.audio_tower.proj1.": "model.multi_modal_projector.linear_1.",
    "thinker.audio_tower.proj2.": "model.multi_modal_projector.linear_2.",
    "thinker.model.": "model.language_model.",
    "thinker.lm_head.": "score.",
    "thinker.": "model.",
}
# What Qwen's classes take for a key that config.json lacks; transformers' classes take other sizes.
AUDIO = {
    "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120, "d_model": 1280,
    "dropout": 0, "attention_dropout": 0, "activation_function": "gelu", "activation_dropout": 0,
    "scale_embedding": False, "initializer_range": 0.02, "n_window": 100, "output_dim": 3584, "n_window_infer": 400,
    "downsample_hidden_size": 480,
}  # fmt: skip
TEXT = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu",
    "max_position_embeddings": 128000, "initializer_range": 0.02, "rms_norm_eps": 1e-6, "attention_bias": False,
    "attention_dropout": 0.0,
}  # fmt: skip
ROPE_THETA = 5e6
EXTRACTOR = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value", "dither")
TOKENS = {
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
    "audio_token": "<|audio_pad|>",
    "timestamp_token": "<timestamp>",
}
# What Qwen's code joins by hand: the audio, then two markers behind each word.
TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- elif part['type'] == 'text' -%}{{- part['text'] + '<timestamp><timestamp>' -}}"
    "{%- endif -%}{%- endfor -%}{%- endfor -%}"
)
PREPROCESSOR = "preprocessor_config.json"
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
             "added_tokens.json")  # fmt: skip


@dataclass(frozen=True)
class QwenCheckpoint:
    """A checkpoint in Qwen's own format, on this machine.

    Attributes:
        name: as the user gave it.
        files: every file that is read.
        config: for transformers.
        bin_ms: what one time class lasts.
    """

    name: str
    files: Mapping[str, Path]
    config: Mapping[str, Any]
    bin_ms: float

    def write(self, folder: Path) -> None:
        """Rename the tensors, flatten the configuration, save the processor.

        Raises:
            CheckpointError: a tensor is missing, left over or of another shape.
        """
        write_small_files(folder, self)
        write_weights(folder / "model.safetensors", self)


class QwenLayout:
    """Recognised by the `thinker_config` in config.json."""

    name = "qwen"

    def open(self, source: Source, options: Mapping[str, Any]) -> QwenCheckpoint | None:
        """Judge the small files, then fetch the weights.

        Raises:
            CheckpointError: it is the recogniser, or has what transformers' class cannot express, or is damaged.
        """
        if source.entry or not is_in(source, "config.json") or is_in(source, "adapter_config.json"):
            return None
        original = read_json(source, "config.json")
        if not isinstance(original.get("thinker_config"), dict):
            return None
        config, bin_ms = translated_config(source.name, original), _bin_ms(source.name, original)
        _check_tokenizer_files(source)
        small = fetch_small_files(source, ("config.json", PREPROCESSOR, *TOKENIZER))
        found = QwenCheckpoint(source.name, small, config, bin_ms)
        _judge_small_files(found)
        return replace(found, files=small | fetch_weights(source))


LAYOUTS = (QwenLayout(),)


def translated_config(name: str, original: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of transformers' class.

    Args:
        name: of the checkpoint, for messages.
        original: Qwen's config.json.

    Raises:
        CheckpointError: it is of another model, or has what the class cannot express.
    """
    thinker = original["thinker_config"]
    kind = str(thinker.get("model_type", "qwen3_asr_thinker"))
    if original.get("model_type") not in (None, "qwen3_asr") or ALIGNER not in kind:
        raise CheckpointError(
            _other_model(name, str(original.get("model_type")), kind),
            "Give Qwen/Qwen3-ForcedAligner-0.6B, or a fine-tune of it.",
        )
    if original.get("quantization_config"):
        raise CheckpointError(f"{name} holds quantised weights", "Give the checkpoint that it was made from.")
    audio, text = _section(name, thinker, "audio_config"), _section(name, thinker, "text_config")
    return {
        "architectures": [CLASS],
        "model_type": "qwen3_asr",
        "audio_config": {"model_type": "qwen3_asr_encoder", **_known(audio, AUDIO), "max_position_embeddings": 13},
        "text_config": {
            "model_type": "qwen3",
            **_known(text, TEXT),
            "rope_parameters": {"rope_type": "default", "rope_theta": _rope_theta(name, text)},
            "tie_word_embeddings": False,
        },
        "num_labels": _number(name, thinker, "classify_num"),
        "audio_token_id": _number(name, thinker, "audio_token_id"),
        "timestamp_token_id": _number(name, {**thinker, **original}, "timestamp_token_id"),
        "tie_word_embeddings": False,
        "token_classification_bias": False,
    }


def renamed(tensor: str) -> str:
    """The name that transformers' class has for a tensor; empty where it has none."""
    return next((new + tensor.removeprefix(old) for old, new in RENAMES.items() if tensor.startswith(old)), "")


def write_small_files(folder: Path, checkpoint: QwenCheckpoint) -> None:
    """Write config.json, tokenizer, and processor_config.json."""
    (folder / "config.json").write_text(json.dumps(checkpoint.config, indent=2), encoding="utf-8")
    _processor(checkpoint).save_pretrained(folder)


def write_weights(file: Path, checkpoint: QwenCheckpoint) -> None:
    """Write all tensors under their new names, as they are."""
    from safetensors.torch import save_file

    tensors = {new: tensor for _, new, tensor in _tensors(checkpoint)}
    save_file(tensors, file, metadata={"format": "pt"})


def _check_tokenizer_files(source: Source) -> None:
    pieces = () if is_in(source, "tokenizer.json") else ("vocab.json", "merges.txt")
    for file in (*pieces, "tokenizer_config.json"):
        if not is_in(source, file):
            raise CheckpointError(f"{source.name} has no {file}, which its tokenizer needs", "Download it again.")


def _other_model(name: str, model: str, kind: str) -> str:
    if model in ("None", "qwen3_asr"):
        return f"{name} is the recogniser Qwen3-ASR ({kind}), not the aligner"
    return f"{name} is a {model}, not Qwen3-ForcedAligner"


def _section(name: str, thinker: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(section := thinker.get(key), dict):
        raise CheckpointError(f"{name}: config.json has no thinker_config.{key}", "Download it again.")
    return section


def _known(section: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the model; Qwen's files repeat every general key of transformers beside it."""
    return {key: section.get(key, default) for key, default in defaults.items()}


def _number(name: str, section: Mapping[str, Any], key: str) -> int:
    if not isinstance(value := section.get(key), int):
        raise CheckpointError(f"{name}: config.json has no {key}", "Download it again.")
    return value


def _bin_ms(name: str, original: Mapping[str, Any]) -> float:
    value = {**original["thinker_config"], **original}.get("timestamp_segment_time")
    if not isinstance(value, int | float) or value <= 0:
        raise CheckpointError(f"{name}: config.json has no timestamp_segment_time", "Download it again.")
    return float(value)


def _rope_theta(name: str, text: Mapping[str, Any]) -> float:
    """The base of the rotary embedding.

    The sections of M-RoPE exchange angles of three positions, which are always equal here: it is the plain one.

    Raises:
        CheckpointError: a rotary embedding that is scaled.
    """
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = scaling.get("type") or scaling.get("rope_type") or "default"
    if kind != "default":
        raise CheckpointError(
            f"{name}: rotary embeddings of type '{kind}' cannot be carried over", "Only the default type is covered."
        )
    return float(text.get("rope_theta") or scaling.get("rope_theta") or ROPE_THETA)


def _judge_small_files(checkpoint: QwenCheckpoint) -> None:
    """What the export module checks, before the weights are there."""
    from models.qwen3_forced_aligner.export import check

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / Path(checkpoint.name).name
        folder.mkdir()
        write_small_files(folder, checkpoint)
        check(folder)


def _processor(checkpoint: QwenCheckpoint) -> Any:
    from transformers import AutoTokenizer, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor

    from toolkit.export.pretrained import load_part, reading

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / Path(checkpoint.name).name
        folder.mkdir()
        for file in TOKENIZER:
            if path := checkpoint.files.get(file):
                shutil.copyfile(path, folder / file)
        tokenizer = load_part(AutoTokenizer, folder, "tokenizer", extra_special_tokens=TOKENS)
        with reading(folder, f"has an unusable {PREPROCESSOR}", "Download it again."):
            extractor = Qwen3ASRFeatureExtractor(**_extractor(checkpoint))
    _check_tokens(checkpoint, tokenizer)
    return Qwen3ASRProcessor(extractor, tokenizer, TEMPLATE, timestamp_segment_time=checkpoint.bin_ms)


def _extractor(checkpoint: QwenCheckpoint) -> dict[str, Any]:
    path = checkpoint.files.get(PREPROCESSOR)
    given = json.loads(path.read_text(encoding="utf-8")) if path else {}
    audio = checkpoint.config["audio_config"]
    sizes = {"feature_size": audio["num_mel_bins"], "n_window": audio["n_window"]}
    return sizes | {key: given[key] for key in EXTRACTOR if key in given}


def _check_tokens(checkpoint: QwenCheckpoint, tokenizer: Any) -> None:
    """Configuration and tokenizer must mean the same two tokens."""
    for token, key in (("<|audio_pad|>", "audio_token_id"), ("<timestamp>", "timestamp_token_id")):
        if tokenizer.convert_tokens_to_ids(token) != checkpoint.config[key]:
            raise CheckpointError(
                f"{checkpoint.name}: the tokenizer's {token} is not the {key} of config.json, {checkpoint.config[key]}",
                "Give the checkpoint's folder with its own tokenizer.",
            )


def _tensors(checkpoint: QwenCheckpoint) -> Iterator[tuple[str, str, Any]]:
    """Old name, new name and content of every tensor, checked against the class."""
    from safetensors import safe_open

    with ExitStack() as files:
        weights = [path for name, path in checkpoint.files.items() if name.endswith(".safetensors")]
        opened = [files.enter_context(safe_open(path, framework="pt")) for path in weights]
        held = {old: file for file in opened for old in file.keys()}  # noqa: SIM118  # not a mapping
        _check_tensors(checkpoint, {old: tuple(file.get_slice(old).get_shape()) for old, file in held.items()})
        for old, file in held.items():
            yield old, renamed(old), file.get_tensor(old)


def _check_tensors(checkpoint: QwenCheckpoint, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse by the names that Qwen's files have."""
    wanted, names = _shapes(checkpoint), {renamed(old): old for old in shapes}
    refuse_tensors(
        checkpoint.name,
        len(wanted),
        missing=[_original(new) for new in wanted.keys() - names.keys()],
        left=[old for old in shapes if renamed(old) not in wanted],
        shapes={old: (shapes[old], wanted[n]) for n, old in names.items() if n in wanted and shapes[old] != wanted[n]},
        step="Give the checkpoint whole, as Qwen's own code saves it, with its own config.json.",
    )


def _original(tensor: str) -> str:
    """Qwen's name of the tensor that is renamed to this one."""
    old = {new: prefix for prefix, new in RENAMES.items()}
    prefix = max((new for new in old if tensor.startswith(new)), key=len, default="")
    return old[prefix] + tensor.removeprefix(prefix) if prefix else tensor


def _shapes(checkpoint: QwenCheckpoint) -> dict[str, tuple[int, ...]]:
    import torch
    from transformers import Qwen3ASRConfig, Qwen3ASRForTokenClassification

    with torch.device("meta"):
        model = Qwen3ASRForTokenClassification(Qwen3ASRConfig(**checkpoint.config))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
