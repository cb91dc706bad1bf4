"""The rungs of Parakeet TDT: what is compared with what, within which gate, and why (docs/ladder.md)."""

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
from parity.measures.words import NORMALISER
from toolkit.spec import Gate

_WRAPPERS = wrapper_gate("PSNR 130 dB, rel. L2 3.1e-7 on the demo clips")
_CHAIN = chain_gates(
    "PSNR 75 dB, rel. L2 6.5e-4", int8="PSNR 51 dB, rel. L2 4.8e-3", palette4="PSNR 31 dB, rel. L2 0.082"
)
_EXTRACTOR, _MEL = "ParakeetFeatureExtractor", "toolkit.audio.nemo_mel.NemoMel"
_ENCODER = "ParakeetForTDT.get_audio_features"
_PREDICTION, _JOINT = "ParakeetForTDT.decoder", "ParakeetForTDT.joint"
_ARGMAX = "ParakeetForTDT.joint, argmax and softmax of its logits"
_GENERATE, _LOOP = "ParakeetForTDT.generate", "the pipeline on the runtime under test"
_ON_OURS = "on the port's mel"
_CHAINED = "packages in a row on the runtime under test, along the reference's path"
_OWN_LOOP = "the pipeline's loop on the eager wrappers"
_SPLIT = ("prediction", "joint")  # without them no noise of the logits is known

MEL, MEL_ERROR = mel_rungs(_EXTRACTOR, _MEL, "0.92 on the demo clips; 1.02 on the telephone and at -80 dB")
LENGTH = Rung("features", "length", _EXTRACTOR, _MEL, EXACT)

ENCODER = Rung("wrappers", "encoder {function}: encoder", _ENCODER, "wrapper encoder", _WRAPPERS)
ENCODER_LENGTH = Rung("wrappers", "encoder {function}: encoder_length", _ENCODER, "wrapper encoder", EXACT)
PREDICTION = Rung("wrappers", "prediction", _PREDICTION, "wrapper prediction", _WRAPPERS)
TOKEN_LOGITS = Rung("wrappers", "joint: token_logits", _JOINT, "wrapper joint", _WRAPPERS)
DURATION_LOGITS = Rung("wrappers", "joint: duration_logits", _JOINT, "wrapper joint", _WRAPPERS)
TOKEN_ID = Rung("wrappers", "{component}: token_id", _ARGMAX, "wrappers joint_decision and decoder_step", EXACT)
DURATION = Rung("wrappers", "{component}: duration", _ARGMAX, "wrappers joint_decision and decoder_step", EXACT)
TOKEN_PROBABILITY = Rung(
    "wrappers", "{component}: token_probability", _ARGMAX, "wrappers joint_decision and decoder_step", _WRAPPERS
)

LIMIT = Rung(
    "decode", "limit of steps", f"{_GENERATE}, its own max_length less the start token", "the pipeline's limit", EXACT
)
FRAMES = Rung("decode", "encoder frames, mel to joint", f"{_ENCODER}, {_ON_OURS}", _LOOP, _CHAIN, _SPLIT)
FORCED_LOGITS = Rung("decode", "teacher-forced {head}_logits", f"{_JOINT}, {_ON_OURS}", _CHAINED, _CHAIN, _SPLIT)
FORCED = Rung(
    "decode",
    "teacher-forced decisions",
    _GENERATE,
    _CHAINED,
    decisions_gate("0, no flip in 96 decisions on 2 demo clips"),
    _SPLIT,
)
FREE = Rung(
    "decode",
    "free-running decisions",
    _GENERATE,
    _LOOP,
    decisions_gate("0, no flip in 96 decisions on 2 demo clips"),
    only="for clips that one window holds",
)
LOOP_DECISIONS = Rung("decode", "loop on the reference's frames, {form}: decisions", _GENERATE, _OWN_LOOP, EXACT)
LOOP_PROBABILITY = Rung("decode", "loop on the reference's frames, {form}: probability", _ARGMAX, _OWN_LOOP, _WRAPPERS)
TOKEN_MARGINS = Rung("decode", "margins of tokens", _JOINT, _CHAINED, None, _SPLIT)
BLANK_MARGINS = Rung("decode", "margins of blank or token", _JOINT, _CHAINED, None, _SPLIT)
DURATION_MARGINS = Rung("decode", "margins of durations", _JOINT, _CHAINED, None, _SPLIT)

WORDS = Rung(
    "task",
    "words",
    "ParakeetProcessor.decode",
    "the pipeline's transcript, both scored on the corpus's",
    Gate(
        f"the port may not read worse than its model; {NORMALISER}",
        at_most={"wer_delta_points": 0.10},
        measured="0 points on 2 demo clips",
    ),
)
BOUNDARIES = Rung(
    "task",
    "word boundaries",
    "ParakeetProcessor.decode",
    "the pipeline's transcript",
    Gate("a bin is one encoder frame", at_least={"share_within_bin": 0.99}, measured="1 on the demo clips"),
)
SAME_TOKENS = Rung(
    "task",
    "text, words and times of the reference's own tokens",
    "ParakeetProcessor.decode",
    "the pipeline's transcript",
    same_result_gate("0 of 2 demo clips"),
)
CONFIDENCE = Rung(
    "task",
    "confidence of the reference's own tokens",
    f"{_JOINT}, softmax of its token logits, mean over a word's tokens",
    "the pipeline's transcript",
    confidence_gate("max abs 0 on the demo clips"),
)

RUNGS = (
    MEL,
    MEL_ERROR,
    LENGTH,
    ENCODER,
    ENCODER_LENGTH,
    PREDICTION,
    TOKEN_LOGITS,
    DURATION_LOGITS,
    TOKEN_ID,
    DURATION,
    TOKEN_PROBABILITY,
    LIMIT,
    FRAMES,
    FORCED_LOGITS,
    FORCED,
    FREE,
    LOOP_DECISIONS,
    LOOP_PROBABILITY,
    TOKEN_MARGINS,
    BLANK_MARGINS,
    DURATION_MARGINS,
    WORDS,
    BOUNDARIES,
    SAME_TOKENS,
    CONFIDENCE,
)
