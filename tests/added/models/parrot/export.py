"""Parrot's component and constants, read from a checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor
from wrappers.parrot import Ear


def check(checkpoint: Path) -> None:
    """Judge the configuration."""
    json.loads((checkpoint / "config.json").read_text())["alphabet"]


def plan(checkpoint: Path, options: Mapping[str, Any]) -> ExportPlan:
    """Declare the component; the option `frames` is how many one call takes."""
    weights = load_file(checkpoint / "model.safetensors")
    letters, samples = weights["weight"].shape
    frames = int(options["frames"])
    ear = FunctionSpec(
        "main",
        (Tensor("frames", (frames, samples), "float32", "sound, -1..1"),),
        (Tensor("scores", (frames, letters), "float32", "how well each letter fits"),),
    )
    config = json.loads((checkpoint / "config.json").read_text())
    host = {"sample_rate": 16000, "frame_samples": samples, "frames": frames, "alphabet": config["alphabet"]}
    return ExportPlan(
        components=(ComponentSpec("ear", lambda _: Ear(weights["weight"], weights["bias"]), (ear,)),),
        host=host,
        assets={},
        options={"frames": frames},
    )
