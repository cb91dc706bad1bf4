"""Exercise: the host side run on real audio in every form, so that each function of each component is called."""

from collections.abc import Sequence

import numpy as np

from models.cohere_transcribe.pipeline import Pipeline
from parity.ladder.recognition import mel_frames, mels_for_window
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.loops.cached_decoder import COMPONENTS, DecoderForm
from toolkit.spec import ExportPlan

STEPS_EXERCISED = 24  # steps of each decoder form on each clip: enough to read and write the cache


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
    pipelines = [Pipeline(whole, runtime, decoder=form) for form in decoder_forms(plan)]
    mels = [pipelines[0].features(clip.audio) for clip in clips]
    valid = [mel[:length] for mel, length in mels]
    for function in plan.component("encoder").functions:
        window = Pipeline(whole, runtime, decoder=pipelines[0].decoder_form, encoder_function=function.name)
        for mel in mels_for_window(valid, mel_frames(function)):
            window.encode(mel, len(mel))
    for mel, length in mels:
        encoded = pipelines[0].encode(mel[: _longest(plan)], min(length, _longest(plan)))
        for pipeline in pipelines:
            decoder = pipeline.start(encoded)
            logits = decoder.prefill(np.array(pipeline.prompt, np.int32))
            for _ in range(min(STEPS_EXERCISED, decoder.room)):
                logits = decoder.step(int(logits.argmax()))


def _longest(plan: ExportPlan) -> int:
    return max(map(mel_frames, plan.component("encoder").functions))


def decoder_forms(plan: ExportPlan) -> tuple[DecoderForm, ...]:
    """The forms of the decoder that a plan holds."""
    names = {c.name for c in plan.components}
    return tuple(form for form, name in COMPONENTS.items() if name in names)
