"""Exercise: the host side run on real audio in every form, so that each function of each component is called."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice, clone
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.spec import ExportPlan

FRAMES_EXERCISED = 24  # frames of each clip's text: the parity at conversion wants real states, not a whole text


def exercise(plan: ExportPlan, bundle: Bundle, runtime: Runtime, clips: Sequence[Clip]) -> None:
    """Run the host side on real texts and voices, so that each function of each component is called.

    Each clip's text is said for some frames in the bundle's first voice, or the clip's own where there is none; the
    clip is cloned if there is an encoder; every function of the plan's flow samples once. A cache too small for a whole
    text is filled. Where the voice comes as a cache, the clone is projected too, or what was said where none was made.

    Args:
        plan: names the components and the flow's functions.
        bundle: constants and host files; which packages it holds does not matter here.
        runtime: usually a recording one.
        clips: real audio with its text, at the model's rate.
    """
    whole = bundle.with_components(c.name for c in plan.components)
    steps = sorted(sampled_steps(plan.host["flow_functions"]))
    for clip in clips:
        cloned = Voice()
        if whole.manifest.component("codec_encoder") is not None:
            cloned = clone(clip.audio, whole, runtime, Pipeline(whole, runtime).host)
        for flow_steps in steps:
            pipeline = Pipeline(whole, runtime, flow_steps=flow_steps)
            if not pipeline.host.voices:
                pipeline.set_voice(cloned)
            prompt = pipeline.prompts(clip.text)[0]
            latents = say(pipeline, prompt, min(FRAMES_EXERCISED, max(pipeline.room(prompt), 1)))
            if pipeline.host.clones and pipeline.voice.latents is None:
                pipeline.backbone.embed_voice(latents if cloned.latents is None else cloned.latents)


def say(pipeline: Pipeline, prompt: Prompt, max_frames: int) -> np.ndarray:
    """Decode the first `max_frames` frames of a chunk; their latents [n, Z] in the codec's space."""
    decoder = pipeline.decoder()
    latents = []
    for frame in islice(pipeline.frames(prompt, pipeline.noise(0)), max_frames):
        decoder.decode(frame.latent)
        latents.append(frame.latent * pipeline.host.latent_std + pipeline.host.latent_mean)
    return np.array(latents, np.float32)


def sampled_steps(functions: Sequence[str]) -> set[int]:
    """Numbers of flow steps that take every function once: the fused ones, and another for `step`."""
    fused = {int(name.removeprefix("steps_")) for name in functions if name != "step"}
    return fused | ({next(n for n in range(2, len(fused) + 3) if n not in fused)} if "step" in functions else set())
