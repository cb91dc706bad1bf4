"""Exercise: the host side run on real audio in every form, so that each function of each component is called."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.parakeet_tdt.pipeline import STEP_COMPONENTS, Pipeline
from parity.ladder.recognition import mel_frames, mels_for_window
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.runtimes.recording import Call
from toolkit.spec import ExportPlan


def exercise(plan: ExportPlan, bundle: Bundle, runtime: Runtime, clips: Sequence[Clip]) -> None:
    """Run the host side in every form on real audio, so that each function of each component is called.

    Each encoder window sees every clip (cut where the clip is longer) and all clips in a row, which fill it.

    Args:
        plan: names the components and the encoder's functions.
        bundle: constants and host files; which packages it holds does not matter here.
        runtime: usually a recording one.
        clips: real audio at the model's rate.
    """
    whole = bundle.with_components(c.name for c in plan.components)
    forms = [Pipeline(whole, runtime, step=step) for step in STEP_COMPONENTS]
    mels = [forms[0].features(clip.audio) for clip in clips]
    valid = [features["mel"][: features["length"]] for features in mels]
    for function in plan.component("encoder").functions:
        window = Pipeline(whole, runtime, encoder_function=function.name)
        for mel in mels_for_window(valid, mel_frames(function)):
            window.encode(mel, len(mel))
    for features in mels:
        frames = forms[0].encode(features["mel"], features["length"])
        for pipeline in forms:
            pipeline.decode(frames)


def decision_logits(call: Call, runtime: Runtime) -> Mapping[str, np.ndarray]:
    """The logits that a recorded decision was taken from, as `runtime` computes them from the call's inputs."""
    if call.component not in ("joint_decision", "decoder_step"):
        return {}
    inputs = dict(call.inputs)
    if call.component == "decoder_step":
        state = {name: inputs[name] for name in ("token", "hidden_in", "cell_in")}
        inputs["prediction"] = runtime.load("prediction").predict(state)["prediction"]
    logits = runtime.load("joint").predict({name: inputs[name] for name in ("encoder_frame", "prediction")})
    return {"token_id": logits["token_logits"], "duration": logits["duration_logits"]}
