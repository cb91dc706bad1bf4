"""Parakeet TDT: conversion against a plain `ct.convert`, portable against eager, host overhead a decode step."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _conversion
from bench._measure import alternately, in_process, table

MODULE = "bench.parakeet_tdt"
DEMO = Path(__file__).resolve().parents[1] / "demo" / "checkpoints" / "parakeet-tdt"
# The published v3 checkpoint's sizes; weights are random.
PUBLISHED_ENCODER = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "intermediate_size": 4096,
    "num_mel_bins": 128,
    "subsampling_conv_channels": 256,
    "attention_bias": False,
    "convolution_bias": False,
    "scale_input": False,
}
PUBLISHED = {
    "vocab_size": 8193,
    "blank_token_id": 8192,
    "pad_token_id": 2,
    "decoder_hidden_size": 640,
    "num_decoder_layers": 2,
}


def run(small: bool) -> None:
    """Print every table."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = DEMO if small else Path(scratch) / "checkpoint"
        if not small:
            in_process(MODULE, "save_checkpoint", str(checkpoint))
        _conversions(checkpoint, Path(scratch))
        _encoder(checkpoint, Path(scratch))
        _decode(checkpoint, Path(scratch))


def save_checkpoint(folder: str) -> dict[str, Any]:
    """Write a random checkpoint of the published size, with the demo's tokenizer (its ids fit)."""
    from transformers import ParakeetFeatureExtractor, ParakeetForTDT, ParakeetTDTConfig

    model = ParakeetForTDT(ParakeetTDTConfig(encoder_config=PUBLISHED_ENCODER, **PUBLISHED))
    model.save_pretrained(folder)
    ParakeetFeatureExtractor(feature_size=128).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    return {"parameters": sum(p.numel() for p in model.parameters())}


def _plan(checkpoint: str) -> Any:
    from models.parakeet_tdt.export import plan

    return plan(Path(checkpoint), {"audio_seconds": "15"})


def _conversions(checkpoint: Path, scratch: Path) -> None:
    rows = []
    for precision in ("fp16", "fp32"):
        what = ("parakeet-tdt", str(checkpoint), {"audio_seconds": "15"}, "encoder", str(scratch), precision)
        plain = in_process(_conversion.MODULE, "plain_convert", *what)
        ours = in_process(_conversion.MODULE, "our_convert", *what)
        rows.append(["plain ct.convert, 15 s", precision, plain["seconds"], plain["peak_gib"], ""])
        rows.append(["convert's encoder, 15 s", precision, ours["seconds"], ours["peak_gib"], ours["bytes"] / 1e6])
    whole = in_process(_conversion.MODULE, "whole_convert", "parakeet-tdt", str(checkpoint), {}, str(scratch))
    label = "convert: 5 + 15 + 30 s, 5 components, parity"
    rows.append([label, "fp16", whole["seconds"], whole["peak_gib"], whole["bytes"] / 1e6])
    table("Conversion", ["what", "precision", "seconds", "peak RSS, GiB", "package, MB"], rows)


def encoder_times(checkpoint: str, package: str) -> dict[str, Any]:
    """Seconds of one 15 s encoder call, eager and portable, in one process."""
    import milrun
    from toolkit.runtimes.eager import EagerRuntime

    eager = EagerRuntime(_plan(checkpoint)).load("encoder", "audio_15s")
    start = time.perf_counter()
    portable = milrun.load(package)
    load_s = time.perf_counter() - start
    shape = eager.inputs["mel"].shape
    mel = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    inputs = {"mel": mel, "length": np.array([shape[1]], dtype=np.int32)}
    calls = {"eager": lambda: eager.predict(inputs), "portable": lambda: portable.predict(inputs)}
    return alternately(calls) | {"load": load_s}


def _encoder(checkpoint: Path, scratch: Path) -> None:
    rows = []
    for precision in ("fp32", "fp16"):
        t = in_process(MODULE, "encoder_times", str(checkpoint), str(scratch / precision / "encoder.mlpackage"))
        rows.append([precision, t["eager"], t["portable"], t["portable"] / t["eager"], t["load"], t["peak_gib"]])
    header = ["package", "eager, s", "portable, s", "portable / eager", "load, s", "peak RSS, GiB (both)"]
    table("Encoder, 15 s of audio", header, rows)


def decode_times(checkpoint: str, folder: str) -> dict[str, Any]:
    """Milliseconds a decode step: in the components, and in the host around them."""
    from models.parakeet_tdt.pipeline import Pipeline
    from toolkit.bundle.bundle import open_bundle
    from toolkit.component import Component
    from toolkit.runtimes.portable import PortableRuntime

    bundle = open_bundle(Path(folder) / "bundle")
    width = bundle.manifest.host["hidden_size"]
    frames = np.random.default_rng(0).standard_normal((100, width)).astype(np.float32)
    spent, calls = 0.0, 0
    inner = Component.predict

    def timed(self: Component, inputs: Any, state: Any = None) -> Any:
        nonlocal spent, calls
        start = time.perf_counter()
        result = inner(self, inputs, state)
        spent, calls = spent + time.perf_counter() - start, calls + 1
        return result

    result = {}
    for step in ("split", "decision", "fused"):
        pipeline = Pipeline(bundle, PortableRuntime(bundle.locate), step=step)
        pipeline.decode(frames)
        Component.predict, spent, calls = timed, 0.0, 0
        start = time.perf_counter()
        steps = len(pipeline.decode(frames))
        total = time.perf_counter() - start
        Component.predict = inner
        result[step] = [1e3 * total / steps, 1e3 * spent / steps, calls / steps]
    return result


def _decode(checkpoint: Path, scratch: Path) -> None:
    times = in_process(MODULE, "decode_times", str(checkpoint), str(scratch))
    rows = [[step, *times[step], times[step][0] - times[step][1]] for step in ("split", "decision", "fused")]
    header = ["form", "a step, ms", "in components, ms", "calls a step", "host overhead, ms"]
    table("Decode step, portable", header, rows)
