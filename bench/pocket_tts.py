"""PocketTTS: conversion, milliseconds of each part and of a frame, time to first audio, prefill against single steps.

Times are CPU time of one thread, which what else runs on the machine hardly moves; one idle core needs as long.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import _conversion
from bench._measure import alternately, in_process, table

MODULE = "bench.pocket_tts"
MODEL = "pocket-tts"
DEMO = Path(__file__).resolve().parents[1] / "demo" / "checkpoints" / MODEL
# The published 6-layer checkpoint's sizes are the defaults of both classes; weights and voice are random.
PUBLISHED_GENERATION = {"do_sample": True, "temperature": 0.7, "num_flow_steps": 1, "min_frames_before_eos": 6}
VOICE_FRAMES = 125
OPTIONS = {"flow_steps": "step,1,8"}
# (row, component or component/function, who keeps the cache)
CONVERTED = (
    ("backbone, prefill and step, stateful", "backbone", "stateful"),
    ("backbone, prefill and step, external cache", "backbone", "external"),
    ("prefill alone", "backbone/prefill", "stateful"),
    ("step alone, stateful", "backbone/step", "stateful"),
    ("flow: a velocity, 1 and 8 steps", "flow", "stateful"),
    ("codec_decoder", "codec_decoder", "stateful"),
    ("codec_encoder", "codec_encoder", "stateful"),
)
PLAIN = ("backbone/prefill",)
PREFILL, STEP, STEPS = "backbone prefill, 64 positions", "backbone step, stateful", "64 single steps"
# (part, who keeps the cache, component, function)
PARTS = (
    ("text embedding, 64 tokens", "stateful", "text_embedding", "main"),
    ("voice projection, 64 latents", "stateful", "voice_projection", "main"),
    (PREFILL, "stateful", "backbone", "prefill"),
    (STEP, "stateful", "backbone", "step"),
    ("backbone step, external cache", "external", "backbone", "step"),
    ("flow, a velocity", "stateful", "flow", "step"),
    ("flow, 1 step fused", "stateful", "flow", "steps_1"),
    ("flow, 8 steps fused", "stateful", "flow", "steps_8"),
    ("codec decoder, 1 frame", "stateful", "codec_decoder", "main"),
    ("codec encoder, 25 frames", "stateful", "codec_encoder", "main"),
)
POSITION = 200  # of the step and of the prefill's first row
TEXT = "Go forward ten meters, turn left, go forward five meters and stop."
FRAMES = 20  # timed behind the first


def run(small: bool) -> None:
    """Print every table."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = DEMO if small else Path(scratch) / "checkpoint"
        if not small:
            made = in_process(MODULE, "save_checkpoint", str(checkpoint))
            print(f"{made['model'] / 1e6:.1f} M parameters, codec {made['codec'] / 1e6:.1f} M\n")
        whole(str(checkpoint), scratch)
        conversions(str(checkpoint), scratch)
        parts(str(checkpoint), scratch)
        speech(str(checkpoint), scratch)


def save_checkpoint(folder: str) -> dict[str, Any]:
    """Write a random checkpoint of the published size, with the demo's texts' files (its ids fit) and a voice."""
    import torch
    from safetensors.torch import save_file
    from transformers import (
        PocketTTSAudioTokenizerConfig,
        PocketTTSAudioTokenizerModel,
        PocketTTSConfig,
        PocketTTSForConditionalGeneration,
    )

    demo = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
    ids = {name: demo[name] for name in demo if name.endswith("_token_id") and name.startswith(("audio", "pad"))}
    torch.manual_seed(0)
    model = PocketTTSForConditionalGeneration(PocketTTSConfig(**ids))
    model.generation_config.update(**PUBLISHED_GENERATION)
    codec = PocketTTSAudioTokenizerModel(PocketTTSAudioTokenizerConfig())
    with torch.no_grad():
        for parameter in (*model.parameters(), *codec.parameters()):
            parameter += 0.01 * torch.randn_like(parameter)  # what starts as zeros would be stored once
    model.save_pretrained(folder)
    codec.save_pretrained(f"{folder}/audio_tokenizer")
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO / name, folder)
    voices = Path(folder) / "voices"
    voices.mkdir()
    save_file({"audio_prompt_latents": torch.randn(VOICE_FRAMES, model.config.latent_dim)}, voices / "any.safetensors")
    return {name: sum(p.numel() for p in m.parameters()) for name, m in (("model", model), ("codec", codec))}


def whole(checkpoint: str, scratch: str) -> None:
    """The conversion as a user runs it, and its packages."""
    made = in_process(_conversion.MODULE, "whole_convert", MODEL, checkpoint, OPTIONS, scratch)
    gates = "every gate held" if made["passed"] else "a gate failed"
    costs = f"{made['cpu_seconds']:.0f} s of CPU time, peak {made['peak_gib']:.1f} GiB"
    rows = [[file, size / 1e6] for file, size in made["sizes"].items()]
    title = f"`convert`, parity included: {costs}, {gates}"
    table(title, ["package", "MB"], [*rows, ["all, with host files", made["bytes"] / 1e6]])


def conversions(checkpoint: str, scratch: str) -> None:
    """One conversion at a time; the backbone's functions together and alone, ours and a plain `ct.convert`."""
    rows = []
    for row, component, form in CONVERTED:
        ours = _ours(checkpoint, scratch, component, form)
        rows.append([row, "ours", *_costs(ours), ours["bytes"] / 1e6])
        if component in PLAIN:
            what = (MODEL, checkpoint, OPTIONS, component, scratch, "fp16")
            plain = in_process(_conversion.MODULE, "plain_convert", *what)
            rows.append([row, "plain ct.convert", *_costs(plain), ""])
    header = ["component, fp16", "by", "CPU s", "peak RSS, GiB", "without mapped files, GiB", "package, MB"]
    table("Conversion, one component at a time", header, rows)


def _ours(checkpoint: str, scratch: str, component: str, form: str) -> dict[str, Any]:
    folder = Path(scratch) / component.replace("/", "-") / form
    folder.mkdir(parents=True)
    what = (MODEL, checkpoint, {**OPTIONS, "state": form}, component, str(folder), "fp16")
    return in_process(_conversion.MODULE, "our_convert", *what)


def _costs(measured: dict[str, Any]) -> list[float]:
    return [measured["cpu_seconds"], measured["peak_gib"], measured["peak_own_gib"]]


def part_times(checkpoint: str, scratch: str) -> dict[str, Any]:
    """Seconds of one call of each part, and of as many steps as a prefill takes, eager and portable."""
    import torch

    from toolkit.runtimes.eager import EagerRuntime

    torch.set_num_threads(1)
    plans = {form: _plan(checkpoint, form) for form in ("stateful", "external")}
    packages = {"stateful": Path(scratch) / "bundle", "external": Path(scratch) / "backbone" / "external" / "fp16"}
    runtimes = {
        "eager": {form: EagerRuntime(plan) for form, plan in plans.items()},
        "portable": {form: _portable(folder) for form, folder in packages.items()},
    }
    window, calls = plans["stateful"].host["codec"]["window"], {}
    for way, by_form in runtimes.items():
        for part, form, component, function in PARTS:
            loaded = by_form[form].load(component, function)
            inputs, state = _inputs(loaded, window), loaded.make_state()
            calls[f"{way} {part}"] = lambda c=loaded, i=inputs, s=state: c.predict(i, s)
            if part == STEP:
                calls[f"{way} {STEPS}"] = lambda c=loaded, i=inputs, s=state: _steps(c, i, s)
    return alternately(calls, repeats=3, clock=time.process_time)


def _plan(checkpoint: str, form: str) -> Any:
    from models import find_model

    model = find_model(MODEL)
    defaults = {option.name: option.default for option in model.options["convert"]}
    return model.module("export").plan(Path(checkpoint), {**defaults, **OPTIONS, "state": form})


def _portable(folder: Path) -> Any:
    from toolkit.runtimes.portable import PortableRuntime

    return PortableRuntime(lambda component, function: (folder / f"{component}.mlpackage", function))


def _inputs(component: Any, window: int) -> dict[str, np.ndarray]:
    """Random inputs, behind `POSITION` positions."""
    rng = np.random.default_rng(0)
    whole = {"tokens": 100, "length": 64, "position": POSITION, "past": window - 1}
    return {
        name: rng.standard_normal(info.shape).astype(np.float32)
        if info.dtype == "float32"
        else np.full(info.shape, whole[name], np.int32)
        for name, info in component.inputs.items()
    }


def _steps(component: Any, inputs: dict[str, np.ndarray], state: Any) -> None:
    for position in range(POSITION, POSITION + 64):
        component.predict({**inputs, "position": np.array([position], np.int32)}, state)


def parts(checkpoint: str, scratch: str) -> None:
    """Milliseconds of every part in one run; one prefill against single steps."""
    times = in_process(MODULE, "part_times", checkpoint, scratch)
    rows = []
    for part in [*(part for part, *_ in PARTS), STEPS]:
        eager, portable = (1e3 * times[f"{way} {part}"] for way in ("eager", "portable"))
        rows.append([part, eager, portable, portable / eager])
    header = ["one call", "eager fp32, ms", "portable fp16, ms", "portable / eager"]
    table(f"Parts, at position {POSITION} of {_slots()}", header, rows)
    eager, portable = (times[f"{way} {STEPS}"] / times[f"{way} {PREFILL}"] for way in ("eager", "portable"))
    print(f"64 single steps take {eager:.1f} (eager) and {portable:.1f} (portable) times one prefill of 64.\n")


def _slots() -> int:
    from models import find_model

    return int(next(o.default for o in find_model(MODEL).options["convert"] if o.name == "cache_slots"))


def speech_times(checkpoint: str, folder: str) -> dict[str, Any]:
    """Through the whole pipeline, by runtime and flow steps: seconds as `_spoken` has them, shortest of two turns."""
    import torch

    from models.pocket_tts.pipeline import Pipeline
    from toolkit.bundle.bundle import open_bundle
    from toolkit.runtimes.eager import EagerRuntime
    from toolkit.runtimes.portable import PortableRuntime

    torch.set_num_threads(1)
    bundle = open_bundle(Path(folder) / "bundle")
    runtimes = {
        "eager fp32": EagerRuntime(_plan(checkpoint, "stateful")),
        "portable fp16": PortableRuntime(bundle.locate),
    }
    pipelines = {
        f"{name}, {steps} flow step{'s' * (steps > 1)}": Pipeline(
            bundle, runtime, flow_steps=steps, eos_threshold=float("inf")
        )
        for name, runtime in runtimes.items()
        for steps in (1, 8)
    }
    for pipeline in pipelines.values():
        pipeline.load()
    turns = [{name: _spoken(pipeline) for name, pipeline in pipelines.items()} for _ in range(3)][1:]
    (prompt,) = pipeline.chunks(TEXT)
    shortest = {
        name: [min(values) for values in zip(*(turn[name] for turn in turns), strict=True)] for name in pipelines
    }
    lengths = {"voice": pipeline.voice.length, "text": len(prompt.text), "frame_s": _frame_s(pipeline)}
    return {"times": shortest, **lengths}


def _frame_s(pipeline: Any) -> float:
    return float(pipeline.frame_size / pipeline.sample_rate)


def _spoken(pipeline: Any) -> list[float]:
    """Seconds to the first audio, the same with the voice anew, of a frame behind it, and of its components' calls."""
    from toolkit.component import Component

    _, first_s = _timed(lambda: next(pipeline.speak(TEXT)))
    pipeline.set_voice(pipeline.voice)  # forgets what was computed of it
    frames = pipeline.speak(TEXT)
    _, anew_s = _timed(lambda: next(frames))
    inner, spent = Component.predict, 0.0

    def counted(self: Component, inputs: Any, state: Any = None) -> Any:
        nonlocal spent
        result, seconds = _timed(lambda: inner(self, inputs, state))
        spent += seconds
        return result

    Component.predict = counted
    try:
        _, total_s = _timed(lambda: [next(frames) for _ in range(FRAMES)])
    finally:
        Component.predict = inner
    return [first_s, anew_s, total_s / FRAMES, spent / FRAMES]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def speech(checkpoint: str, scratch: str) -> None:
    """Milliseconds a frame, and to the first audio."""
    measured = in_process(MODULE, "speech_times", checkpoint, scratch)
    rows = []
    for name, (first_s, anew_s, frame_s, inside_s) in measured["times"].items():
        host_ms = 1e3 * (frame_s - inside_s)
        rows.append([name, 1e3 * frame_s, host_ms, measured["frame_s"] / frame_s, 1e3 * first_s, 1e3 * anew_s])
    header = [
        "whole pipeline",
        "a frame, ms",
        "of it host, ms",
        "RTFx",
        "first audio, voice cached, ms",
        "first audio, voice anew, ms",
    ]
    title = f"Speech: a voice of {measured['voice']} positions, {measured['text']} tokens of text"
    table(title, header, rows)
