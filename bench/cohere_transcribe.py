"""Cohere Transcribe: conversion, milliseconds a token of the three decoders, what keys and values of their own save."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import _conversion
from bench._measure import alternately, in_process, table

MODULE = "bench.cohere_transcribe"
MODEL = "cohere-transcribe"
DEMO = Path(__file__).resolve().parents[1] / "demo" / "checkpoints" / MODEL
# The published 2B checkpoint's sizes are the class's defaults; weights are random.
PUBLISHED = {"tie_word_embeddings": True, "pad_token_id": 2, "eos_token_id": 3, "bos_token_id": 4}
FORMS = ("stateful", "external", "stateless")
OPTIONS = {"decoder": ",".join(FORMS), "audio_seconds": "35"}
POSITION = 100  # of the token that is timed


def run(small: bool) -> None:
    """Print every table."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = DEMO if small else Path(scratch) / "checkpoint"
        if not small:
            in_process(MODULE, "save_checkpoint", str(checkpoint))
        conversions(str(checkpoint), scratch)
        decoders(str(checkpoint), scratch)


def save_checkpoint(folder: str) -> dict[str, Any]:
    """Write a random checkpoint of the published size, with the demo's tokenizer (its ids fit)."""
    from transformers import (
        AutoProcessor,
        CohereAsrConfig,
        CohereAsrFeatureExtractor,
        CohereAsrForConditionalGeneration,
        CohereAsrProcessor,
    )

    demo = AutoProcessor.from_pretrained(DEMO)
    model = CohereAsrForConditionalGeneration(CohereAsrConfig(**PUBLISHED))
    model.generation_config.decoder_start_token_id = demo.tokenizer.convert_tokens_to_ids("▁")
    model.save_pretrained(folder)
    CohereAsrProcessor(CohereAsrFeatureExtractor(), demo.tokenizer).save_pretrained(folder)
    return {"parameters": sum(p.numel() for p in model.parameters())}


def conversions(checkpoint: str, scratch: str) -> None:
    """Each component, one conversion at a time, beside a plain `ct.convert` of the encoder."""
    rows = []
    for name in ("encoder", "cross_kv", *(f"decoder_{form}" for form in FORMS)):
        ours = in_process(_conversion.MODULE, "our_convert", MODEL, checkpoint, OPTIONS, name, scratch, "fp16")
        rows.append([name, "ours", *_costs(ours), ours["bytes"] / 1e6])
        if name == "encoder":
            plain = in_process(_conversion.MODULE, "plain_convert", MODEL, checkpoint, OPTIONS, name, scratch, "fp16")
            rows.append([name, "plain ct.convert", *_costs(plain), ""])
    header = ["component, fp16", "by", "seconds", "peak RSS, GiB", "without mapped files, GiB", "package, MB"]
    table("Conversion, one component at a time", header, rows)


def _costs(measured: dict[str, Any]) -> list[float]:
    return [measured["seconds"], measured["peak_gib"], measured["peak_own_gib"]]


def token_times(checkpoint: str, folder: str) -> dict[str, Any]:
    """Seconds of one token at `POSITION` in each form, eager and portable, and of the keys and values of the audio."""
    from models import find_model
    from toolkit.runtimes.eager import EagerRuntime
    from toolkit.runtimes.portable import PortableRuntime

    plan = find_model(MODEL).module("export").plan(Path(checkpoint), {"max_tokens": 256, "head": "raw", **OPTIONS})
    runtimes = {
        "eager": EagerRuntime(plan),
        "portable": PortableRuntime(lambda component, function: (Path(folder) / f"{component}.mlpackage", function)),
    }
    rng = np.random.default_rng(0)
    calls: dict[str, Any] = {}
    for name, runtime in runtimes.items():
        for component, function in (
            ("cross_kv", "main"),
            ("decoder_stateful", "prefill"),
            ("decoder_stateful", "step"),
            ("decoder_external", "step"),
            ("decoder_stateless", "main"),
        ):
            loaded = runtime.load(component, function)
            inputs = {
                key: rng.standard_normal(info.shape).astype(np.float32)
                if info.dtype == "float32"
                else np.full(info.shape, 400 if key == "encoder_length" else POSITION, np.int32)
                for key, info in loaded.inputs.items()
            }
            state = loaded.make_state()
            calls[f"{name} {component} {function}"] = lambda c=loaded, i=inputs, s=state: c.predict(i, s)
    return alternately(calls, repeats=5)


def decoders(checkpoint: str, scratch: str) -> None:
    """Milliseconds of every decoder function in one run."""
    times = in_process(MODULE, "token_times", checkpoint, f"{scratch}/fp16")
    names = [name.removeprefix("eager ") for name in times if name.startswith("eager ")]
    rows = [
        [
            name,
            1e3 * times[f"eager {name}"],
            1e3 * times[f"portable {name}"],
            times[f"portable {name}"] / times[f"eager {name}"],
        ]
        for name in names
    ]
    header = ["component", "eager fp32, ms", "portable fp16, ms", "portable / eager"]
    table("Decoder, 35 s of audio, one call", header, rows)
