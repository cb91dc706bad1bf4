"""Exercise: the host side run on real audio in every form, so that each function of each component is called."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.qwen3_forced_aligner.pipeline import ENCODER_COMPONENTS, EncoderForm, Pipeline, Prompt
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.runtimes.recording import Call
from toolkit.spec import ExportPlan


def exercise(plan: ExportPlan, bundle: Bundle, runtime: Runtime, clips: Sequence[Clip]) -> None:
    """Run the host side in every form on real audio, so that each function of each component is called.

    The shortest function of a kind that fits sees every clip; each one a clip, and clips in a row until it is full.
    Clips are cut where a prompt has no room for them.

    Args:
        plan: names the components and their functions.
        bundle: constants and host files; which packages it holds does not matter here.
        runtime: usually a recording one.
        clips: real audio with its text, at the model's rate.
    """
    whole = bundle.with_components(c.name for c in plan.components)
    pipelines = [Pipeline(whole, runtime, encoder=form) for form in encoder_forms(plan)]
    for pipeline in pipelines:
        mels = [pipeline.features(clip.audio) for clip in clips]
        audio = [pipeline.encode(mel, length) for mel, length in mels]
        if pipeline.encoder_form == "split":
            _fill_audio(plan, pipeline, mels)
    texts = [clip.text.split() for clip in clips]
    longest = max(sequence.tokens for sequence in pipeline.host.sequences)
    for words, rows in zip(texts, audio, strict=True):
        prompt, kept = _fitting(pipeline, words, rows, longest)
        pipeline.classify(pipeline.prefill(pipeline.embed(prompt, kept))[prompt.markers])
    for sequence in pipeline.host.sequences:
        prompt, kept = _fitting(pipeline, texts[0], audio[0], sequence.tokens)
        rows = pipeline.embed(prompt, kept, function=sequence.function)[: len(prompt.ids)]
        full = np.tile(rows, (-(-sequence.tokens // len(rows)), 1))[: sequence.tokens]
        pipeline.prefill(np.ascontiguousarray(full))


def _fitting(pipeline: Pipeline, words: list[str], audio: np.ndarray, room: int) -> tuple[Prompt, np.ndarray]:
    """The prompt of a clip and its audio, both cut where they take more than `room` tokens."""
    if len(pipeline.prompt(words, len(audio)).ids) > room:
        audio = audio[: room // 2]
    while len(words) > 1 and len(pipeline.prompt(words, len(audio)).ids) > room:
        words = words[:-1]
    return pipeline.prompt(words, len(audio)), audio


def _fill_audio(plan: ExportPlan, pipeline: Pipeline, mels: Sequence[tuple[np.ndarray, int]]) -> None:
    """Each length of the audio transformer: one clip in it, and as many whole chunks of the clips as it holds."""
    chunk = pipeline.host.chunk_mel_frames
    whole = np.concatenate([mel[:, : length // chunk * chunk] for mel, length in mels], axis=1)
    for function in plan.component("audio_transformer").functions:
        columns = function.inputs[0].shape[1] // pipeline.host.chunk_frames * chunk
        mel, length = mels[0]
        pipeline.encode(mel[:, :columns], min(length, columns), function=function.name)
        if whole.size:
            full = np.tile(whole, (1, -(-columns // whole.shape[1])))[:, :columns]
            pipeline.encode(np.ascontiguousarray(full), columns, function=function.name)


def encoder_forms(plan: ExportPlan) -> tuple[EncoderForm, ...]:
    """The forms of the audio encoder that a plan holds."""
    names = {c.name for c in plan.components}
    return tuple(form for form, needed in ENCODER_COMPONENTS.items() if set(needed) <= names)


def decision_logits(call: Call, runtime: Runtime) -> Mapping[str, np.ndarray]:
    """The logits [1, P, C] that the classes of a recorded call of the head were taken from."""
    if call.component != "head":
        return {}
    return {"time_class": runtime.load("head").predict(call.inputs)["logits"]}
