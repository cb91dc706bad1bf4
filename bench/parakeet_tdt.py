"""Parakeet TDT: conversion against a plain `ct.convert`, portable against eager, host overhead a decode step."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

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
        _conversion(checkpoint, Path(scratch))
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


def plain_convert(checkpoint: str, folder: str, precision: str) -> dict[str, Any]:
    """`ct.convert` on the traced encoder wrapper, and save, with nothing of ours around it."""
    import torch

    from toolkit.export.quiet import coremltools, quiet

    ct = coremltools()
    spec = _plan(checkpoint).component("encoder")
    (function,) = spec.functions
    start = time.perf_counter()
    mel, length = (torch.zeros(t.shape, dtype=getattr(torch, t.dtype)) for t in function.inputs)
    with quiet():
        traced = torch.jit.trace(spec.build(function.name).eval(), (mel, length + 1))
        model = ct.convert(
            traced,
            inputs=[
                ct.TensorType(name="mel", shape=mel.shape, dtype=np.float32),
                ct.TensorType(name="length", shape=(1,), dtype=np.int32),
            ],
            compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        )
        model.save(f"{folder}/plain-{precision}.mlpackage")
    return {"seconds": time.perf_counter() - start}


def our_convert(checkpoint: str, folder: str, precision: str) -> dict[str, Any]:
    """The encoder through `export_component`: trace, convert, name, describe, save."""
    from toolkit.export.component import export_component

    spec = _plan(checkpoint).component("encoder")
    out = Path(folder) / precision
    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    export_component(spec, out, "fp32" if precision == "fp32" else "fp16", "iOS18")
    return {"seconds": time.perf_counter() - start, "bytes": _size(out / "encoder.mlpackage")}


def whole_convert(checkpoint: str, folder: str) -> dict[str, Any]:
    """`convert` as a user runs it, at three lengths in one package, parity on real audio included."""
    from models import find_model
    from toolkit.export.convert import ConvertRequest, convert, prepare

    start = time.perf_counter()
    request = ConvertRequest(find_model("parakeet-tdt"), checkpoint, output=Path(folder) / "bundle")
    bundle = convert(prepare(request)).bundle
    return {"seconds": time.perf_counter() - start, "bytes": _size(bundle.path)}


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _conversion(checkpoint: Path, scratch: Path) -> None:
    rows = []
    for precision in ("fp16", "fp32"):
        plain = in_process(MODULE, "plain_convert", str(checkpoint), str(scratch), precision)
        ours = in_process(MODULE, "our_convert", str(checkpoint), str(scratch), precision)
        rows.append(["plain ct.convert, 15 s", precision, plain["seconds"], plain["peak_gib"], ""])
        rows.append(["convert's encoder, 15 s", precision, ours["seconds"], ours["peak_gib"], ours["bytes"] / 1e6])
    whole = in_process(MODULE, "whole_convert", str(checkpoint), str(scratch))
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
    from toolkit.runtimes.base import Component
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
