"""The rungs of Cohere Transcribe: what is compared with what, within which gate, and why (docs/ladder.md)."""

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

_WRAPPERS = wrapper_gate("PSNR 138 dB, rel. L2 4.7e-7 on the demo clips")
_STATEFUL = Gate(
    "the same weights in float32 by other operations, and the prompt's keys and values are rounded once, "
    "as they pass into a float16 state",
    at_most={"rel_l2": 2e-3},
    at_least={"psnr_db": 60, "cosine": 0.9999},
    measured="PSNR 110 dB, rel. L2 3.5e-5 on the demo clips; 82 dB, 2.4e-4 on a random checkpoint",
)
_EXTRACTOR, _MEL = "CohereAsrFeatureExtractor, dither off", "toolkit.audio.nemo_mel.NemoMel, dither off"
_DITHERED = ", with the checkpoint's dither, its noise seeded by the length"
_MODEL = "CohereAsrForConditionalGeneration"
_ENCODER, _CACHE, _GENERATE = f"{_MODEL}.model.encoder", f"{_MODEL}'s cross-attention cache", f"{_MODEL}.generate"
_LOOP = "the pipeline on the runtime under test"
_CHAINED = "packages in a row on the runtime under test, along the reference's tokens"
_SAME_CUTS = "for clips that both sides cut into the same pieces"
_FIRST = "on the first clip that both sides cut into the same pieces"

PIECES = Rung(
    "features", "pieces", _EXTRACTOR, "toolkit.audio.quiet_cuts", EXACT, only="where the bundle cuts as the class does"
)
MEL, MEL_ERROR = mel_rungs(
    _EXTRACTOR, _MEL, "0.92 on the demo clips; 1.02 on the telephone and at -80 dB", only=_SAME_CUTS
)
LENGTH = Rung("features", "length", _EXTRACTOR, _MEL, EXACT, only=_SAME_CUTS)
DITHERED, DITHERED_ERROR = mel_rungs(
    f"CohereAsrFeatureExtractor{_DITHERED}",
    f"toolkit.audio.nemo_mel.NemoMel{_DITHERED}",
    "1.04 on a demo clip at -80 dB",
    "mel, dither on",
    _FIRST,
)

ENCODER = Rung("wrappers", "encoder {function}: encoder", _ENCODER, "wrapper encoder", _WRAPPERS, only=_SAME_CUTS)
ENCODER_LENGTH = Rung(
    "wrappers", "encoder {function}: encoder_length", _ENCODER, "wrapper encoder", EXACT, only=_SAME_CUTS
)
CROSS_KEY = Rung("wrappers", "cross_kv: cross_key", _CACHE, "wrapper cross_kv", _WRAPPERS, only=_SAME_CUTS)
CROSS_VALUE = Rung("wrappers", "cross_kv: cross_value", _CACHE, "wrapper cross_kv", _WRAPPERS, only=_SAME_CUTS)
DECODERS = {
    form: Rung(
        "wrappers",
        f"decoder_{form}: logits",
        _GENERATE,
        f"wrapper decoder_{form}, along the reference's tokens",
        _STATEFUL if form == "stateful" else _WRAPPERS,
        (f"decoder_{form}",),
        _SAME_CUTS,
    )
    for form in ("stateful", "external", "stateless")
}

# The two functions of the stateful decoder once more, where no float16 state lies between them.
PREFILL = Rung(
    "wrappers",
    "decoder_stateful prefill: logits",
    _GENERATE,
    "wrapper decoder_stateful, function prefill, its own logits",
    _WRAPPERS,
    ("decoder_stateful",),
    _SAME_CUTS,
)
STEPS = Rung(
    "wrappers",
    "decoder_stateful step: logits",
    _GENERATE,
    "wrapper decoder_stateful, function step from an empty state, along prompt and reference's tokens",
    _WRAPPERS,
    ("decoder_stateful",),
    "on the first clips, and those that both sides cut into the same pieces",
)

PROMPT = Rung("decode", "prompt", "CohereAsrProcessor", "the pipeline's prompt", EXACT, only=_SAME_CUTS)
FORCED_LOGITS = Rung(
    "decode",
    "teacher-forced logits, {form}",
    "CohereAsrForConditionalGeneration.forward, on the port's mel",
    _CHAINED,
    chain_gates("PSNR 80 dB, rel. L2 9.5e-4"),
    only=_SAME_CUTS,
)
FORCED = Rung("decode", "teacher-forced tokens, {form}", _GENERATE, _CHAINED, decisions_gate(""), only=_SAME_CUTS)
FREE = Rung("decode", "free-running tokens, {form}", _GENERATE, _LOOP, decisions_gate(""), only=_SAME_CUTS)
TOKEN_MARGINS = Rung("decode", "margins of tokens, {form}", _GENERATE, _CHAINED, None, only=_SAME_CUTS)
END_MARGINS = Rung("decode", "margins of end or token, {form}", _GENERATE, _CHAINED, None, only=_SAME_CUTS)

SAME_TOKENS = Rung(
    "task",
    "text of the reference's own tokens",
    "CohereAsrProcessor.decode",
    "the pipeline's loop on the reference's logits, and its detokeniser",
    same_result_gate("0 of 2 demo clips"),
    only=_SAME_CUTS,
)
CONFIDENCE = Rung(
    "task",
    "confidence of the reference's own tokens",
    f"{_GENERATE}, softmax of its logits",
    SAME_TOKENS.candidate,
    confidence_gate("max abs 0 on the demo clips"),
    only=_SAME_CUTS,
)
ERRORS = Rung(
    "task",
    "{language}: {measure}, {form}",
    "CohereAsrProcessor.decode",
    "the pipeline's transcript, both scored on the corpus's",
    Gate(f"the port may not read worse than its model; {NORMALISER}", at_most={"delta_points": 0.10}),
)

RUNGS = (
    PIECES,
    MEL,
    MEL_ERROR,
    LENGTH,
    DITHERED,
    DITHERED_ERROR,
    ENCODER,
    ENCODER_LENGTH,
    CROSS_KEY,
    CROSS_VALUE,
    *DECODERS.values(),
    PREFILL,
    STEPS,
    PROMPT,
    FORCED_LOGITS,
    FORCED,
    FREE,
    TOKEN_MARGINS,
    END_MARGINS,
    SAME_TOKENS,
    CONFIDENCE,
    ERRORS,
)
