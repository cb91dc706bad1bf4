"""What the aligner's tests run on: real audio of any length, texts, the stock class, bundles without packages."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from models.qwen3_forced_aligner import MODEL, export
from models.qwen3_forced_aligner.pipeline import Pipeline
from tests.models import bundles
from tests.models.audio import RATE as RATE
from tests.models.audio import clip as clip
from toolkit.runtimes.eager import EagerRuntime

# Apostrophes, ideographs without blanks, accents, digits, a hyphen, punctuation at both ends.
TEXT = "\u201cDon't panic\u201d: 北京大学, well-known café \u2014 O'Neill's 3 naïve, übergroße 42!"
OPTIONS = {
    "audio_seconds": "2,4,8",
    "sequence_lengths": "128,256,1024",
    "encoder": "split",
    "audio_attention": "windowed",
}


def sentence(words):
    """So many words of `TEXT`, again and again."""
    parts = ("Don't", "panic:", "北", "京", "大", "学", "well-known", "café", "O'Neill's", "3", "naïve,", "42!")
    return " ".join(itertools.islice(itertools.cycle(parts), words))


def planned(checkpoint, **options):
    """The plan of a checkpoint, with small fixed lengths where none are given."""
    return export.plan(checkpoint, OPTIONS | options)


def host_bundle(folder, plan, host=None):
    """The plan's host files, with constants exchanged, and its components by name."""
    return bundles.host_bundle(folder, MODEL, plan, host)


def opened(folder, plan, runtime=None, *, host=None, **options):
    """The pipeline on the eager runtime, or another."""
    return Pipeline(host_bundle(folder, plan, host), runtime or EagerRuntime(plan), **options)


@dataclass(frozen=True)
class Stock:
    """What the class and its processor say: logits [P, C] at the markers, and (text, start, end) of every word."""

    logits: np.ndarray
    words: list[tuple[str, float, float]]


@torch.no_grad()
def stock(checkpoint, audio, text, language=None, **settings):
    """The class as transformers documents it, without any code of ours."""
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = Qwen3ASRForTokenClassification.from_pretrained(checkpoint, **settings).eval()
    inputs, words = processor.prepare_forced_aligner_inputs(audio=audio, transcript=text, language=language)
    logits, marker = model(**inputs).logits, model.config.timestamp_token_id
    (times,) = processor.decode_forced_alignment(logits, inputs["input_ids"], words, marker)
    marked = logits[inputs["input_ids"] == marker].numpy()
    return Stock(marked, [(t["text"], t["start_time"], t["end_time"]) for t in times])
