"""Faults of text and times, behind tokens that are right."""

from dataclasses import replace

from models.qwen3_forced_aligner.pipeline import Marks
from models.qwen3_forced_aligner.pipeline import Pipeline as Aligner
from tests.planted.features import ALIGNER, COHERE, PARAKEET
from tests.planted.planting import Fault, patched, with_host
from toolkit.decoding import timestamps
from toolkit.decoding.detokenise import Detokeniser

text, timed = Detokeniser.text, Aligner.timed


def without_blanks(self, ids):
    return text(self, ids).replace(" ", "")


def without_the_last(self, ids):
    return text(self, ids[:-1])


def ends_are_starts(self, words, marks):
    return tuple(replace(w, start_s=w.end_s, end_s=w.start_s) for w in timed(self, words, marks))


def a_class_late(self, words, marks):
    return timed(self, words, Marks(marks.time_class + 1, marks.probability, marks.logits))


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
    Fault("bins of 40 ms taken as 80", ALIGNER, "task", "boundaries", with_host(lambda host: {"bin_ms": 80.0})),
    Fault("starts and ends swapped", ALIGNER, "task", "boundaries", patched(Aligner, "timed", ends_are_starts)),
    Fault("words one class late", ALIGNER, "task", "boundaries", patched(Aligner, "timed", a_class_late)),
)
