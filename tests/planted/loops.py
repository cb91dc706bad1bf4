"""Faults of the host's loops."""

from dataclasses import replace

from models.cohere_transcribe import pipeline as cohere
from models.parakeet_tdt.pipeline import Pipeline as Parakeet
from models.qwen3_forced_aligner.pipeline import Pipeline as Aligner
from tests.planted.features import ALIGNER, COHERE, PARAKEET
from tests.planted.planting import Fault, patched, with_host
from toolkit.loops import transducer
from toolkit.loops.cached_decoder import StatefulDecoder
from toolkit.loops.transducer import PredictionState

greedy, step, encode_window = cohere.greedy, StatefulDecoder._step, Parakeet._encode_window
prompt, start = Aligner.prompt, transducer._Network.start


def never_a_blank(state, token_id, blank_id):
    return PredictionState(token_id, state.hidden_after, state.cell_after)


def state_not_moved(state, token_id, blank_id):
    if token_id == blank_id:
        return state
    return PredictionState(token_id, state.hidden, state.cell)


def state_kept(self):
    """Utterances go on where the one before began to speak."""
    fresh = start(self)
    return replace(fresh, token_id=1)


def without_the_last_frame(self, window, mel):
    return encode_window(self, window, mel)[:-1]


def without_a_token(host):
    prompts = host["prompts"]
    english = {form: ids[:-1] for form, ids in prompts["en"].items()}
    return {"prompts": prompts | {"en": english}}


def in_plain_words(host):
    prompts = host["prompts"]
    return {"prompts": prompts | {"en": dict.fromkeys(prompts["en"], prompts["en"]["plain"])}}


def never_ending(decoder, ids, *, eos_id, **options):
    return greedy(decoder, ids, eos_id=0, **options)


def a_position_late(self, token, position):
    return step(self, token, position + 1)


def a_marker_early(self, words, audio_frames):
    right = prompt(self, words, audio_frames)
    return replace(right, markers=right.markers - 1)


FAULTS = (
    Fault(
        "a blank moves the prediction network's state",
        PARAKEET,
        "decode",
        "loop on the reference's frames, fused: ",
        patched(transducer, "_following", never_a_blank),
    ),
    Fault(
        "a token leaves the prediction network's state",
        PARAKEET,
        "decode",
        "loop on the reference's frames, fused: decisions",
        patched(transducer, "_following", state_not_moved),
    ),
    Fault(
        "wrong start token",
        PARAKEET,
        "decode",
        "loop on the reference's frames, fused: ",
        with_host(lambda host: {"start_id": 1}),
    ),
    Fault(
        "last encoder frame dropped",
        PARAKEET,
        "decode",
        "encoder frames",
        patched(Parakeet, "_encode_window", without_the_last_frame),
    ),
    Fault(
        "limit of steps a tenth of the class's",
        PARAKEET,
        "decode",
        "limit of steps",
        with_host(lambda host: {"max_symbols_per_step": host["max_symbols_per_step"] // 10}),
    ),
    Fault("a token missing in the prompt", COHERE, "decode", "prompt", with_host(without_a_token)),
    Fault("prompt of plain words", COHERE, "decode", "prompt", with_host(in_plain_words)),
    Fault("end ignored", COHERE, "decode", "free-running tokens, stateful", patched(cohere, "greedy", never_ending)),
    Fault(
        "position of the decoder off by one",
        COHERE,
        "wrappers",
        "decoder_stateful: logits",
        patched(StatefulDecoder, "_step", a_position_late),
    ),
    Fault(
        "time markers off by one", ALIGNER, "decode", "logits, mel to head", patched(Aligner, "prompt", a_marker_early)
    ),
)
