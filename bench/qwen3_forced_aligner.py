"""Qwen3-ForcedAligner: conversion, the price of each fixed length, portable against eager."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import _conversion
from bench._measure import alternately, in_process, table

MODULE = "bench.qwen3_forced_aligner"
MODEL = "qwen3-forced-aligner"
DEMO = Path(__file__).resolve().parents[1] / "demo" / "checkpoints" / MODEL
# The published 0.6B checkpoint's sizes; weights are random.
AUDIO = {
    "model_type": "qwen3_asr_encoder",
    "num_mel_bins": 128,
    "d_model": 1024,
    "encoder_layers": 24,
    "encoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "downsample_hidden_size": 480,
    "output_dim": 1024,
}
TEXT = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}
CLASSES = 5000
CONVERTED = (
    "audio_conv",
    "audio_transformer/audio_40s",
    "embedding/tokens_1024",
    "decoder_prefill/tokens_1024",
    "head",
)


def run(small: bool) -> None:
    """Print every table."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = DEMO if small else Path(scratch) / "checkpoint"
        if not small:
            in_process(MODULE, "save_checkpoint", str(checkpoint))
        _components(checkpoint, scratch)
        bundle = _bundle(checkpoint, scratch)
        _lengths(bundle, checkpoint, "audio_transformer", "Audio transformer, by length")
        _lengths(bundle, checkpoint, "decoder_prefill", "Decoder prefill, by length")


def save_checkpoint(folder: str) -> dict[str, Any]:
    """Write a random checkpoint of the published size, with the demo's tokenizer (its ids fit)."""
    from transformers import (
        AutoProcessor,
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForTokenClassification,
        Qwen3ASRProcessor,
    )

    demo = AutoProcessor.from_pretrained(DEMO)
    marker = demo.tokenizer.convert_tokens_to_ids("<timestamp>")
    ids = {"audio_token_id": demo.audio_token_id, "timestamp_token_id": marker, "pad_token_id": 0, "eos_token_id": 0}
    model = Qwen3ASRForTokenClassification(
        Qwen3ASRConfig(audio_config=AUDIO, text_config=TEXT, num_labels=CLASSES, **ids)
    )
    model.save_pretrained(folder)
    extractor = Qwen3ASRFeatureExtractor(feature_size=AUDIO["num_mel_bins"])
    Qwen3ASRProcessor(extractor, demo.tokenizer, chat_template=demo.chat_template).save_pretrained(folder)
    return {"parameters": sum(p.numel() for p in model.parameters())}


def _components(checkpoint: Path, scratch: str) -> None:
    rows = []
    for name in CONVERTED:
        for precision in ("fp16", "fp32") if name.startswith("decoder") else ("fp16",):
            what = (MODEL, str(checkpoint), {}, name, scratch, precision)
            ours = in_process(_conversion.MODULE, "our_convert", *what)
            plain = in_process(_conversion.MODULE, "plain_convert", *what)
            times = [ours["seconds"], plain["seconds"], ours["peak_gib"], plain["peak_gib"]]
            rows.append([name, precision, *times, ours["bytes"] / 1e6])
    header = ["component", "precision", "s", "plain ct.convert, s", "peak RSS, GiB", "plain, GiB", "package, MB"]
    table("Conversion of one component at one length", header, rows)


def _bundle(checkpoint: Path, scratch: str) -> Path:
    whole = in_process(_conversion.MODULE, "whole_convert", MODEL, str(checkpoint), {}, scratch)
    rows = [[file, size / 1e6] for file, size in whole["sizes"].items()]
    rows.append(["all, with host files", whole["bytes"] / 1e6])
    title = f"`convert`, parity included: {whole['seconds']:.0f} s, peak {whole['peak_gib']:.1f} GiB"
    table(title, ["package", "MB"], rows)
    return Path(scratch) / "bundle"


def length_times(bundle: str, checkpoint: str, component: str, function: str) -> dict[str, Any]:
    """Seconds of one call at one length, eager (float32) and portable, in one process."""
    from models import find_model
    from toolkit.bundle.bundle import open_bundle
    from toolkit.runtimes.eager import EagerRuntime
    from toolkit.runtimes.portable import PortableRuntime

    opened = open_bundle(Path(bundle), check=False)
    plan = find_model(MODEL).module("export").plan(Path(checkpoint), opened.manifest.options)
    eager = EagerRuntime(plan).load(component, function)
    portable = PortableRuntime(opened.locate).load(component, function)
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.standard_normal(info.shape).astype(np.float32)
        if info.dtype == "float32"
        else np.full(info.shape, max(portable.inputs["frames"].shape[1:2]), np.int32)
        for name, info in eager.inputs.items()
    }
    calls = {"eager": lambda: eager.predict(inputs), "portable": lambda: portable.predict(inputs)}
    return alternately(calls, repeats=2)


def _lengths(bundle: Path, checkpoint: Path, component: str, title: str) -> None:
    from toolkit.bundle.bundle import read_manifest

    entry = read_manifest(bundle).component(component)
    assert entry is not None
    names = [f.name for f in entry.functions]
    times = {n: in_process(MODULE, "length_times", str(bundle), str(checkpoint), component, n) for n in names}
    longest = times[names[-1]]["portable"]
    rows = [
        [n, t["eager"], t["portable"], t["portable"] / t["eager"], longest / t["portable"], t["peak_gib"]]
        for n, t in times.items()
    ]
    header = ["length", "eager, s", "portable fp16, s", "portable / eager", "longest / this", "peak RSS, GiB (both)"]
    table(title, header, rows)
