"""The rungs of PocketTTS: what is compared with what, within which gate, and why (docs/ladder.md)."""

from dataclasses import replace

from parity.ladder.gates import EXACT, chain_gates, decisions_gate, drift_gate, wrapper_gate
from parity.ladder.rungs import Rung
from parity.measures.words import NORMALISER
from toolkit.spec import Gate

_WRAPPERS = wrapper_gate("PSNR 133 dB, rel. L2 7.4e-7 on the demo")
_STATEFUL = Gate(
    "the same weights in float32 by other operations, and the keys and values of voice and text are rounded once, "
    "as they pass into a float16 state",
    at_most={"rel_l2": 2e-3},
    at_least={"psnr_db": 60, "cosine": 0.9999},
    measured="PSNR 86 dB, rel. L2 1.8e-4 on the demo",
)
_CHAIN = chain_gates("PSNR 69 dB, rel. L2 1.2e-3 (a cloned voice: 54 dB, 0.010) on the demo")
_PROCESSOR, _EXTRACTOR = "PocketTTSProcessor", "PocketTTSFeatureExtractor"
_MODEL = "PocketTTSForConditionalGeneration"
_GENERATE, _CACHE = f"{_MODEL}.generate, under our noise", f"{_MODEL}.generate's cache"
_FLOW, _CODEC_ENCODE = f"{_MODEL}.sample_latent, under our noise", "the codec's encode"
_CODEC_DECODE = "PocketTTSProcessor.decode"
_PREFILL, _STEP = "wrapper backbone prefill", "wrapper backbone step, along the reference's latents"
_STATEFUL_STEP = f"{_STEP}, with states"
_DECODER = "wrapper codec_decoder, frame by frame"
_CHAINED = "packages in a row on the runtime under test, along the reference's latents"
_LOOP = "the pipeline on the runtime under test"
_VOICE = "for codecs with an encoder"

_LONG_ENOUGH = "where the cache holds a voice longer than one prefill, with text and a frame"
_SPEAK = "Pipeline.speak on the runtime under test"
_JOINED = f"{_CODEC_DECODE}, chunks joined"

PAUSE = Rung(
    "features",
    "voice, ended on a pause",
    _EXTRACTOR,
    "toolkit.audio.end_on_pause",
    Gate(
        "float32 on both sides; a fade is counted up in another order",
        at_most={"max_abs": 1e-6},
        measured="max abs 6e-8",
    ),
)
CHUNKS = Rung("features", "chunks of text", f"{_PROCESSOR}.split_text", "the pipeline's chunks", EXACT)
IDS = Rung("features", "ids, voice before text", _PROCESSOR, "the pipeline's prompt", EXACT)
FRAMES_AFTER = Rung("features", "frames after the end", _PROCESSOR, "the pipeline's prompt", EXACT)
BUDGET = Rung("features", "frames at the most", f"{_MODEL}.generate, as it sets them", "the pipeline's prompt", EXACT)
NOISE = Rung(
    "features",
    "noise, scaled by the temperature",
    "PCG64 of NumPy, seeded by seed and chunk, scaled as generate does",
    "the pipeline's noise, for two seeds and two chunks",
    Gate("the same numbers times the same root, rounded once", at_most={"max_abs": 1e-6}, measured="equal"),
)
NOISE_STREAMS = Rung(
    "features",
    "noise of other seeds and chunks",
    f"{_MODEL}.generate: normal, of its temperature, each frame anew",
    "the pipeline's noise, for two seeds and two chunks",
    Gate(
        "what chance leaves of 4096 frames; noise drawn twice has a correlation of 1",
        at_most={"mean": 0.03, "deviation_off": 0.03, "correlation": 0.03},
        measured="0.0075 at the most on the demo",
    ),
    only="where the checkpoint samples",
)
FILE_LATENTS, FILE_KEYS, FILE_VALUES = (
    Rung(
        "features",
        f"voice from a file: {what}",
        "what was saved of the reference's",
        "models.pocket_tts.voices.open_voice",
        Gate("float32 is read as it was written", at_most={"max_abs": 0}, measured="0"),
        only=_LONG_ENOUGH,
    )
    for what in ("latents", "keys", "values")
)

ENCODED = Rung(
    "wrappers",
    "codec_encoder: latents",
    _CODEC_ENCODE,
    "wrapper codec_encoder",
    _WRAPPERS,
    ("codec_encoder",),
    _VOICE,
)
KEYS = Rung("wrappers", "backbone prefill: key_out", _CACHE, _PREFILL, _WRAPPERS)
VALUES = Rung("wrappers", "backbone prefill: value_out", _CACHE, _PREFILL, _WRAPPERS)
HIDDEN = Rung("wrappers", "backbone step: hidden", _GENERATE, _STEP, _WRAPPERS)
EOS_LOGIT = Rung("wrappers", "backbone step: eos_logit", _GENERATE, _STEP, _WRAPPERS)
LATENT = Rung("wrappers", "flow, {steps} steps: latent", _FLOW, "wrapper flow", _WRAPPERS)
VELOCITY = Rung(
    "wrappers",
    "flow step: velocity",
    f"{_MODEL}.flow_head",
    "wrapper flow, one step",
    _WRAPPERS,
    only="where the flow has the function step",
)
AUDIO = Rung("wrappers", "codec_decoder: audio", _CODEC_DECODE, _DECODER, _WRAPPERS)
LONG_HIDDEN = Rung("wrappers", "to the cache's end, {room} frames: hidden", _GENERATE, _STEP, _WRAPPERS)
LONG_AUDIO = Rung("wrappers", "to the cache's end, {room} frames: audio", _CODEC_DECODE, _DECODER, _WRAPPERS)
LONG_KEYS, LONG_VALUES = (
    Rung(
        "wrappers",
        f"voice longer than a prefill: {side}",
        f"{_CACHE}, of the recording's latents",
        "wrappers codec_encoder, voice_projection and backbone prefill, from the prepared recording",
        _WRAPPERS,
        only=_LONG_ENOUGH,
    )
    for side in ("keys", "values")
)
# Of a backbone with states, by what they are in place of.
STATEFUL = {
    rung.output: replace(rung, candidate=_STATEFUL_STEP, gate=_STATEFUL) for rung in (HIDDEN, EOS_LOGIT, LONG_HIDDEN)
}

CLONED = Rung("decode", "cloned voice: latents", _CODEC_ENCODE, _LOOP, _CHAIN, ("codec_encoder",), _VOICE)
CACHE_KEYS = Rung("decode", "conditioning cache: keys", _CACHE, _LOOP, _CHAIN)
CACHE_VALUES = Rung("decode", "conditioning cache: values", _CACHE, _LOOP, _CHAIN)
FORCED_HIDDEN = Rung("decode", "teacher-forced hidden, {steps} flow steps", _GENERATE, _CHAINED, _CHAIN)
FORCED_EOS = Rung("decode", "teacher-forced eos_logit, {steps} flow steps", _GENERATE, _CHAINED, _CHAIN)
FORCED_LATENTS = Rung("decode", "teacher-forced latents, {steps} flow steps", _GENERATE, _CHAINED, _CHAIN)
PCM = Rung("decode", "PCM of the reference's latents, {steps} flow steps", _CODEC_DECODE, _CHAINED, _CHAIN)
COUNT = Rung(
    "decode",
    "frames by the reference's logits",
    f"{_MODEL}.generate",
    "the pipeline's rule of the end, on the reference's logits",
    EXACT,
)
_DRIFT = drift_gate("2.8 times the control at the most on the demo, in float16 packages")
FREE_LATENTS = Rung("decode", "free-running latents, {steps} flow steps", _GENERATE, _LOOP, _DRIFT)
FREE_PCM = Rung("decode", "free-running PCM, {steps} flow steps", _CODEC_DECODE, _LOOP, _DRIFT)
END = Rung(
    "decode",
    "end of speech, {steps} flow steps",
    _GENERATE,
    _LOOP,
    decisions_gate("0, no flip in 198 decisions on the demo"),
)
END_MARGINS = Rung("decode", "margins of the end of speech, {steps} flow steps", _GENERATE, _CHAINED, None)
LONG_FORCED_HIDDEN = Rung(
    "decode", "to the cache's end, {room} frames: teacher-forced hidden", _GENERATE, _CHAINED, _CHAIN
)
LONG_FORCED_EOS = Rung(
    "decode", "to the cache's end, {room} frames: teacher-forced eos_logit", _GENERATE, _CHAINED, _CHAIN
)
LONG_PCM = Rung(
    "decode", "to the cache's end, {room} frames: PCM of the reference's latents", _CODEC_DECODE, _CHAINED, _CHAIN
)
LONG_FREE = Rung("decode", "to the cache's end, {room} frames: free-running latents", _GENERATE, _LOOP, _DRIFT)

LONG_CACHE_KEYS, LONG_CACHE_VALUES = (
    Rung(
        "decode",
        f"voice longer than a prefill: {side}",
        f"{_CACHE}, of the recording's latents",
        f"{_LOOP}, from the recording",
        _CHAIN,
        only=_LONG_ENOUGH,
    )
    for side in ("keys", "values")
)
FILE_CACHE_KEYS, FILE_CACHE_VALUES = (
    Rung(
        "decode",
        f"voice from a file of keys and values: {side}",
        f"{_CACHE}, behind the same keys and values",
        _LOOP,
        _CHAIN,
        only=_LONG_ENOUGH,
    )
    for side in ("keys", "values")
)
SPOKEN_WRAPPED = Rung(
    "decode",
    "speech of several chunks, on the wrappers: PCM",
    _JOINED,
    "Pipeline.speak on the wrappers, along the reference's hidden states",
    _WRAPPERS,
    only="where the cache holds each chunk",
)
SPOKEN_WRAPPED_LAST = replace(
    SPOKEN_WRAPPED,
    output="speech of several chunks, on the wrappers: last frames",
    gate=wrapper_gate("PSNR 108 dB, rel. L2 2.2e-5 on the demo, whose last frames are all but silent"),
)
SPOKEN = Rung(
    "decode",
    "speech of several chunks: PCM",
    _JOINED,
    f"{_SPEAK}, along the reference's hidden states",
    _CHAIN,
    only="where the cache holds each chunk",
)
SPOKEN_FREE = Rung(
    "decode",
    "speech of several chunks: free-running PCM",
    _JOINED,
    _SPEAK,
    _DRIFT,
    only="where the cache holds each chunk",
)
LONG_VOICE = (
    FILE_LATENTS,
    FILE_KEYS,
    FILE_VALUES,
    LONG_KEYS,
    LONG_VALUES,
    LONG_CACHE_KEYS,
    LONG_CACHE_VALUES,
    FILE_CACHE_KEYS,
    FILE_CACHE_VALUES,
)
SEVERAL_CHUNKS = (SPOKEN_WRAPPED, SPOKEN_WRAPPED_LAST, SPOKEN, SPOKEN_FREE)

HEARD = Rung(
    "task",
    "what is heard, {steps} flow steps",
    f"{_CODEC_DECODE}: log-mel and samples",
    "the pipeline's speech, up to where noise alone parts the paths",
    Gate(
        "what a listener hears: spectra of the free-running speech",
        at_least={"log_mel_cosine": 0.99},
        measured="0.9999 on the demo",
    ),
)
INTELLIGIBILITY = Rung(
    "task",
    "intelligibility, {steps} flow steps",
    f"{_CODEC_DECODE}, transcribed by the demo recogniser",
    "the pipeline's speech, transcribed by the same recogniser; both scored on the text",
    Gate(
        f"the port may not be understood worse than its model; {NORMALISER}",
        at_most={"delta_points": 0.10},
        measured="0 points on the demo",
    ),
    only="for the demo checkpoint, whose words the demo recogniser knows",
)

RUNGS = (
    PAUSE,
    CHUNKS,
    IDS,
    FRAMES_AFTER,
    BUDGET,
    NOISE,
    NOISE_STREAMS,
    *LONG_VOICE[:3],
    ENCODED,
    KEYS,
    VALUES,
    HIDDEN,
    EOS_LOGIT,
    LATENT,
    VELOCITY,
    AUDIO,
    LONG_HIDDEN,
    LONG_AUDIO,
    LONG_KEYS,
    LONG_VALUES,
    *STATEFUL.values(),
    CLONED,
    CACHE_KEYS,
    CACHE_VALUES,
    FORCED_HIDDEN,
    FORCED_EOS,
    FORCED_LATENTS,
    PCM,
    COUNT,
    FREE_LATENTS,
    FREE_PCM,
    END,
    END_MARGINS,
    LONG_FORCED_HIDDEN,
    LONG_FORCED_EOS,
    LONG_PCM,
    LONG_FREE,
    LONG_CACHE_KEYS,
    LONG_CACHE_VALUES,
    FILE_CACHE_KEYS,
    FILE_CACHE_VALUES,
    SPOKEN_WRAPPED,
    SPOKEN_WRAPPED_LAST,
    SPOKEN,
    SPOKEN_FREE,
    HEARD,
    INTELLIGIBILITY,
)
