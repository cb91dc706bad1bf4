"""Checkpoints that are damaged in one way each: what the hub, an interrupted download or a training script leave."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

DEMO = Path(__file__).resolve().parents[1] / "demo" / "checkpoints"
WEIGHTS = "model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234567\n"


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a folder of one model.

    Attributes:
        name: what, in words.
        apply: changes the folder, whose files are links.
        words: in the message; `{tensor}` is a tensor of the model, as the folder has it.
    """

    name: str
    apply: Callable[[Path], None]
    words: tuple[str, ...]


def linked_demo(model: str, folder: Path) -> Path:
    """A copy of a demo checkpoint, made of links; its name is the model's."""
    return Path(shutil.copytree(DEMO / model, folder / model, copy_function=os.symlink))


def replace(file: Path, content: bytes) -> None:
    """Put another file in the place of a link."""
    file.unlink()
    file.write_bytes(content)


def with_tensors(change: Callable[[dict[str, torch.Tensor], str], None]) -> Callable[[Path], None]:
    """Change the tensors; `change` is told one of them, a matrix in the middle of the file."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors, a_tensor(folder))
        (folder / WEIGHTS).unlink()
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return apply


def a_tensor(folder: Path) -> str:
    """A matrix that the checks choose, by name."""
    tensors = load_file(folder / WEIGHTS)
    return sorted(n for n, t in tensors.items() if t.ndim == 2 and min(t.shape) > 2 and "layers" in n)[0]


def with_config(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change config.json."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        replace(folder / "config.json", json.dumps(config).encode())

    return apply


def pointer(file: str) -> Callable[[Path], None]:
    """What `git clone` without LFS leaves of a file."""
    return lambda folder: replace(folder / file, POINTER)


def cut(folder: Path) -> None:
    """An interrupted download."""
    content = (folder / WEIGHTS).read_bytes()
    replace(folder / WEIGHTS, content[: len(content) // 2])


def sharded(kept: tuple[int, ...], *, index: bool) -> Callable[[Path], None]:
    """Two shards, of which some are there, with or without their index."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
        where = {name: files[i % 2] for i, name in enumerate(sorted(tensors))}
        for i in kept:
            part = {n: tensors[n] for n, file in where.items() if file == files[i]}
            save_file(part, folder / files[i], metadata={"format": "pt"})
        if index:
            (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))

    return apply


def incomplete_shard(folder: Path) -> None:
    """Both shards, and a tensor that the index promises is in neither."""
    sharded((0, 1), index=True)(folder)
    file = folder / "model-00002-of-00002.safetensors"
    tensors = load_file(file)
    del tensors[sorted(tensors)[0]]
    save_file(tensors, file, metadata={"format": "pt"})


def renamed(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[f"{name}.old"] = tensors.pop(name)


def missing(tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[name]


def extra(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors["auxiliary_head.weight"] = torch.ones(3)


def other_shape(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:-1].clone()


def filled(value: float) -> Callable[[dict[str, torch.Tensor], str], None]:
    """One number of a tensor becomes another."""

    def change(tensors: dict[str, torch.Tensor], name: str) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[0] = value

    return change


def unmerged(tensors: dict[str, torch.Tensor], name: str) -> None:
    """Names that peft gives to a model that is saved with its adapter."""
    module = name.removesuffix(".weight")
    rows, columns = tensors[name].shape
    tensors[f"{module}.base_layer.weight"] = tensors.pop(name)
    tensors[f"{module}.lora_A.default.weight"] = torch.zeros(2, columns)
    tensors[f"{module}.lora_B.default.weight"] = torch.zeros(rows, 2)


def quantised(config: dict[str, Any]) -> None:
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}


# What concerns weights: the same in every model, and in the folder of PocketTTS' codec.
OF_WEIGHTS = (
    Damage("weights are a pointer of Git LFS", pointer(WEIGHTS), (WEIGHTS, "Git LFS", "git lfs pull")),
    Damage("weights cut short", cut, (WEIGHTS, "damaged or incomplete")),
    Damage("weights empty", lambda folder: replace(folder / WEIGHTS, b""), (WEIGHTS, "is empty")),
    Damage("weights not there", lambda folder: (folder / WEIGHTS).unlink(), ("no .safetensors weights",)),
    Damage("a shard not there", sharded((0,), index=True), ("model-00002-of-00002.safetensors", "1 of 2")),
    Damage("shards without an index", sharded((0, 1), index=False), ("model.safetensors.index.json",)),
    Damage("a shard without a tensor of its index", incomplete_shard, ("1 of", "missing")),
    Damage("a tensor renamed", with_tensors(renamed), ("missing", "{tensor}")),
    Damage("a tensor not there", with_tensors(missing), ("1 of", "missing", "{tensor}")),
    Damage("a tensor too many", with_tensors(extra), ("does not belong to this model", "auxiliary_head.weight")),
    Damage("a tensor of another shape", with_tensors(other_shape), ("another shape", "{tensor}")),
    Damage("NaN in a tensor", with_tensors(filled(float("nan"))), ("NaN or infinity", "{tensor}")),
    Damage("infinity in a tensor", with_tensors(filled(float("inf"))), ("NaN or infinity", "{tensor}")),
    Damage("an adapter not merged", with_tensors(unmerged), ("lora_A", "merge_and_unload")),
)
OF_CONFIG = (
    Damage("config.json a pointer of Git LFS", pointer("config.json"), ("config.json", "Git LFS")),
    Damage("config.json not JSON", lambda f: replace(f / "config.json", b'{"a": '), ("config.json", "JSON")),
    Damage("config.json a list", lambda f: replace(f / "config.json", b"[]"), ("config.json", "JSON object")),
    Damage("config.json empty", lambda f: replace(f / "config.json", b""), ("config.json is empty",)),
    Damage("quantised weights", with_config(quantised), ("quantised", "bitsandbytes")),
)


def without(*files: str) -> Callable[[Path], None]:
    """Files that were not copied."""

    def apply(folder: Path) -> None:
        for file in files:
            (folder / file).unlink(missing_ok=True)

    return apply


def half(file: str) -> Callable[[Path], None]:
    """The first half of a file."""
    return lambda folder: replace(folder / file, (folder / file).read_bytes()[: (folder / file).stat().st_size // 2])


def set_in(*path: str, value: Any) -> Callable[[Path], None]:
    """Another value in config.json, below keys."""

    def change(config: dict[str, Any]) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return with_config(change)


OF_PARTS = (
    Damage("tokenizer a pointer of Git LFS", pointer("tokenizer.json"), ("tokenizer.json", "Git LFS")),
    Damage("tokenizer cut short", half("tokenizer.json"), ("tokenizer.json", "damaged or incomplete")),
    Damage("tokenizer empty", lambda f: replace(f / "tokenizer.json", b""), ("tokenizer.json is empty",)),
    Damage("tokenizer not there", without("tokenizer.json", "tokenizer_config.json"), ("has no tokenizer.json",)),
    Damage("processor not there", without("processor_config.json"), ("has no processor_config.json",)),
    Damage("processor not JSON", half("processor_config.json"), ("processor_config.json", "damaged or incomplete")),
    Damage("processor a pointer of Git LFS", pointer("processor_config.json"), ("processor_config.json", "Git LFS")),
)
# What the class itself refuses, or crashes on.
OF_SIZES = {
    "parakeet-tdt": (
        Damage(
            "heads that do not divide the encoder",
            set_in("encoder_config", "num_attention_heads", value=5),
            ("config.json", "5 query heads"),
        ),
        Damage(
            "a size that is text", set_in("encoder_config", "hidden_size", value="wide"), ("config.json", "hidden_size")
        ),
    ),
    "cohere-transcribe": (
        Damage(
            "key heads that do not divide the heads",
            set_in("num_key_value_heads", value=3),
            ("config.json", "3 key-value heads"),
        ),
        Damage(
            "heads that do not divide the encoder",
            set_in("encoder_config", "num_attention_heads", value=5),
            ("config.json", "5 query heads"),
        ),
    ),
    "qwen3-forced-aligner": (
        Damage(
            "layers without a type", set_in("text_config", "num_hidden_layers", value=5), ("config.json", "layer_types")
        ),
        Damage(
            "key heads that do not divide the heads",
            set_in("text_config", "num_key_value_heads", value=3),
            ("config.json", "3 key-value heads"),
        ),
        Damage(
            "heads that do not divide the encoder",
            set_in("audio_config", "encoder_attention_heads", value=3),
            ("num_heads",),
        ),
    ),
    "pocket-tts": (
        Damage(
            "key heads that do not divide the heads",
            set_in("num_key_value_heads", value=3),
            ("config.json", "3 key-value heads"),
        ),
        Damage("heads that do not divide the width", set_in("num_attention_heads", value=3), ("config.json", "3")),
    ),
}
