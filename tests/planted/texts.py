"""Faults of text and times, behind tokens that are right."""

from dataclasses import replace

from models.qwen3_forced_aligner import pipeline as aligner
from models.qwen3_forced_aligner.pipeline import MarkerOutputs
from models.qwen3_forced_aligner.pipeline import Pipeline as Aligner
from tests.planted.features import ALIGNER, COHERE, PARAKEET
from tests.planted.planting import Fault, patched, with_host
from toolkit.loops import seq2seq, timestamps
from toolkit.text.detokenise import Detokeniser

text = Detokeniser.text
words_with_times = Aligner.words_with_times


def without_blanks(self, ids):
    return text(self, ids).replace(" ", "")


def without_the_last(self, ids):
    return text(self, ids[:-1])


def ends_are_starts(self, words, outputs):
    return tuple(replace(w, start_s=w.end_s, end_s=w.start_s) for w in words_with_times(self, words, outputs))


def a_class_late(self, words, outputs):
    return words_with_times(self, words, MarkerOutputs(outputs.time_class + 1, outputs.probability, outputs.logits))


def early(self, words, outputs):
    return tuple(
        replace(w, start_s=max(w.start_s - 0.039, 0.0), end_s=max(w.end_s - 0.039, 0.0))
        for w in words_with_times(self, words, outputs)
    )


def of_no_confidence(self, words, outputs):
    return tuple(replace(w, confidence=0.0) for w in words_with_times(self, words, outputs))


def with_confidence(of):
    def build(group, detokeniser, word=timestamps._word):
        return replace(word(group, detokeniser), confidence=of([token.confidence for token in group]))

    return build


def a_frame_late(word):
    def build(group, detokeniser):
        made = word(group, detokeniser)
        return replace(made, start_s=made.start_s + 0.08, end_s=made.end_s + 0.08)

    return build


def ends_where_it_starts(word):
    def build(group, detokeniser):
        made = word(group, detokeniser)
        return replace(made, end_s=group[-1].start_s)

    return build


FAULTS = (
    Fault(
        "frames of 80 ms taken as 40", PARAKEET, "task", "word boundaries", with_host(lambda host: {"frame_s": 0.04})
    ),
    Fault("blanks between words lost", PARAKEET, "task", "words", patched(Detokeniser, "text", without_blanks)),
    Fault("last token not in the text", PARAKEET, "task", "words", patched(Detokeniser, "text", without_the_last)),
    Fault(
        "every token taken for a word",
        PARAKEET,
        "task",
        "text, words and times of the reference's own tokens",
        patched(Detokeniser, "begins_word", lambda self, token_id: True),
    ),
    Fault(
        "words one frame late",
        PARAKEET,
        "task",
        "text, words and times of the reference's own tokens",
        patched(timestamps, "_word", a_frame_late(timestamps._word)),
    ),
    Fault(
        "words without the duration of their last token",
        PARAKEET,
        "task",
        "word boundaries",
        patched(timestamps, "_word", ends_where_it_starts(timestamps._word)),
    ),
    Fault(
        "blanks between words lost",
        COHERE,
        "task",
        "text of the reference's",
        patched(Detokeniser, "text", without_blanks),
    ),
    Fault(
        "last token not in the text",
        COHERE,
        "task",
        "text of the reference's own tokens",
        patched(Detokeniser, "text", without_the_last),
    ),
    Fault(
        "confidence of words zero",
        PARAKEET,
        "task",
        "confidence of the reference's own tokens",
        patched(timestamps, "_word", with_confidence(lambda tokens: 0.0)),
    ),
    Fault(
        "confidence of words the highest of their tokens'",
        PARAKEET,
        "task",
        "confidence of the reference's own tokens",
        patched(timestamps, "_word", with_confidence(max)),
    ),
    Fault(
        "probability of tokens one half",
        COHERE,
        "task",
        "confidence of the reference's own tokens",
        patched(seq2seq, "_probability", lambda logits, token: 0.5),
    ),
    Fault(
        "words 39 ms early",
        ALIGNER,
        "task",
        "words and times of the reference's own classes",
        patched(Aligner, "words_with_times", early),
    ),
    Fault(
        "words one class late, in a corpus without times",
        ALIGNER,
        "task",
        "words and times of the reference's own classes",
        patched(Aligner, "words_with_times", a_class_late),
        timed=False,
    ),
    Fault(
        "times that run backwards not mended",
        ALIGNER,
        "task",
        "words and times of the reference's own classes",
        patched(aligner, "monotonic", lambda times: [int(t) for t in times]),
    ),
    Fault(
        "confidence of words zero",
        ALIGNER,
        "task",
        "confidence of the reference's own classes",
        patched(Aligner, "words_with_times", of_no_confidence),
    ),
    Fault("bins of 40 ms taken as 80", ALIGNER, "task", "boundaries", with_host(lambda host: {"bin_ms": 80.0})),
    Fault(
        "starts and ends swapped",
        ALIGNER,
        "task",
        "boundaries",
        patched(Aligner, "words_with_times", ends_are_starts),
    ),
    Fault("words one class late", ALIGNER, "task", "boundaries", patched(Aligner, "words_with_times", a_class_late)),
)
