"""The rungs of Qwen3-ForcedAligner: what is compared with what, within which gate, and why (docs/ladder.md)."""

from dataclasses import replace

from parity.ladder.gates import (
    EXACT,
    chain_gates,
    confidence_gate,
    decisions_gate,
    same_result_gate,
    wrapper_gate,
)
from parity.ladder.rungs import Rung
from parity.ladder.shared_rungs import mel_rungs
from toolkit.spec import Gate

_WRAPPERS = wrapper_gate("PSNR 136 dB, rel. L2 2.8e-7 on the demo clips")
_MODEL = "Qwen3ASRForTokenClassification"
_EXTRACTOR, _MEL = "the feature extractor of Qwen3ASRProcessor", "toolkit.audio.whisper_mel.WhisperMel"
_PROJECTOR = f"{_MODEL}.model.multi_modal_projector"
_FORWARD = f"{_MODEL}.forward"
_DECODED = "Qwen3ASRProcessor.decode_forced_alignment"
_CHAINED = "packages in a row on the runtime under test; a component that the bundle lacks runs as its wrapper"

MEL, MEL_ERROR = mel_rungs(_EXTRACTOR, _MEL, "0.31 on the demo clips, from the telephone and at -80 dB")
LENGTH = Rung("features", "length", _EXTRACTOR, _MEL, EXACT)

CONV = Rung(
    "wrappers", "audio_conv: frames", f"{_MODEL}.model.audio_tower, into its layers", "wrapper audio_conv", _WRAPPERS
)
TRANSFORMER = Rung(
    "wrappers",
    "audio_transformer {function}: audio",
    _PROJECTOR,
    "wrapper audio_transformer",
    _WRAPPERS,
    only="for clips that one of its lengths holds",
)
PADDING = replace(
    TRANSFORMER, output="audio_transformer {function}: padding", reference="zeros, behind the valid frames", gate=EXACT
)
ENCODER = Rung(
    "wrappers",
    "audio_encoder: audio",
    _PROJECTOR,
    "wrapper audio_encoder",
    _WRAPPERS,
    only="with windowed attention, of which it loses nothing",
)
IDS = Rung("wrappers", "prompt: ids", "Qwen3ASRProcessor", "the pipeline's prompt", EXACT)
EMBEDDINGS = Rung(
    "wrappers",
    "embedding: embeddings",
    f"{_MODEL}.model.language_model, into its layers",
    "wrapper embedding",
    _WRAPPERS,
)
HIDDEN = Rung(
    "wrappers",
    "decoder_prefill: hidden",
    f"{_MODEL}.model.language_model, out of its layers",
    "wrapper decoder_prefill",
    _WRAPPERS,
)
LOGITS = Rung("wrappers", "head: logits", _FORWARD, "wrapper head", _WRAPPERS)
TIME_CLASS = Rung("wrappers", "head: time_class", f"{_FORWARD}, argmax of its logits", "wrapper head", EXACT)
PROBABILITY = Rung("wrappers", "head: probability", f"{_FORWARD}, softmax of its logits", "wrapper head", _WRAPPERS)

CHAIN = Rung("decode", "logits, mel to head", _FORWARD, _CHAINED, chain_gates("PSNR 75 dB, rel. L2 6.7e-4"))
CLASSES = Rung(
    "decode",
    "classes at the markers, {encoder}",
    _FORWARD,
    _CHAINED,
    decisions_gate("0, no flip in 28 decisions on 2 demo clips"),
)
MARGINS = Rung("decode", "margins of boundaries, {encoder}", _FORWARD, _CHAINED, None)

BOUNDARIES = Rung(
    "task",
    "boundaries, {encoder}, from the reference's",
    _DECODED,
    "the pipeline's words",
    Gate("a bin is one time class", at_least={"share_within_bin": 0.99}, measured="1 on 26 clips"),
)
# One window at a time loses the attention across windows; by how much is shown, and judged by nobody.
BOUNDARIES_LOSSY = replace(BOUNDARIES, candidate="the pipeline's words, one window of audio at a time", gate=None)
KNOWN = Rung(
    "task",
    "boundaries, {encoder}, from the corpus's",
    f"{_DECODED}, and the corpus's times of words",
    "the pipeline's words",
    Gate(
        "the port may not be further from the truth than its model, by a tenth of a bin",
        {"delta_bins": 0.1},
        measured="0 on 2 demo clips",
    ),
    only="where the corpus has times of words",
)
KNOWN_LOSSY = replace(KNOWN, candidate=BOUNDARIES_LOSSY.candidate, gate=None)
SAME_CLASSES = Rung(
    "task",
    "words and times of the reference's own classes",
    _DECODED,
    "the pipeline's words",
    same_result_gate("0 of 2 demo clips"),
)
CONFIDENCE = Rung(
    "task",
    "confidence of the reference's own classes",
    f"{_FORWARD}, softmax of its logits, mean over a word's markers",
    "the pipeline's words",
    confidence_gate("max abs 5.3e-8 on the demo clips"),
)
BACKWARDS = Rung(
    "task",
    "times of classes that run backwards",
    f"{_DECODED}, of classes made up for it",
    "the pipeline's words",
    same_result_gate("0 of 9 sequences"),
)

RUNGS = (
    MEL,
    MEL_ERROR,
    LENGTH,
    CONV,
    TRANSFORMER,
    PADDING,
    ENCODER,
    IDS,
    EMBEDDINGS,
    HIDDEN,
    LOGITS,
    TIME_CLASS,
    PROBABILITY,
    CHAIN,
    CLASSES,
    MARGINS,
    BOUNDARIES,
    BOUNDARIES_LOSSY,
    KNOWN,
    KNOWN_LOSSY,
    SAME_CLASSES,
    CONFIDENCE,
    BACKWARDS,
)
