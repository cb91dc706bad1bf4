"""Measure a checkpoint through plain transformers, each kind of speech apart, and write metrics.json.

python -m qwen3_forced_aligner.evaluate --checkpoint checkpoint --banks BANKS --digits FSDD --clips ../clips
"""

import argparse
import json
import random
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qwen3_forced_aligner.model import CLASS_MS
from qwen3_forced_aligner.train import common_clips
from qwen3_forced_aligner.utterances import in_a_row
from speech import bank, corpus, grammar
from speech.bank import RATE, Clip, Span
from transformers import AutoProcessor, Qwen3ASRForTokenClassification, Qwen3ASRProcessor

LONG_S = (9.0, 15.0)  # past 8 s the audio tower's attention no longer sees the whole utterance
MOST = 150  # utterances of one set


@dataclass(frozen=True)
class Score:
    """How far the starts and ends of the words of one set lie from the reference."""

    utterances: int
    words: int
    seconds: float
    mean_ms: float
    median_ms: float
    within_20_ms_percent: float
    within_80_ms_percent: float
    within_160_ms_percent: float
    lag_ms: float  # mean of answer minus reference
    baseline_mean_ms: float  # of the guess that knows where speech begins and ends, and spreads words by their letters
    baseline_median_ms: float


def spread_by_letters(words: list[str], spans: list[Span]) -> list[Span]:
    """Return the words laid over the true stretch of speech, each as long as it has letters."""
    (first, _), (_, last) = spans[0], spans[-1]
    letters = list(accumulate((len(word) for word in words), initial=0))
    at = [first + (last - first) * count / letters[-1] for count in letters]
    return list(pairwise(at))


@torch.no_grad()
def aligned(
    model: Qwen3ASRForTokenClassification, processor: Qwen3ASRProcessor, clips: list[Clip], batch: int
) -> list[list[Span]]:
    """Align clips with their words, `batch` at a time."""
    results = []
    for at in range(0, len(clips), batch):
        some = clips[at : at + batch]
        inputs, words = processor.prepare_forced_aligner_inputs(
            audio=[clip.samples for clip in some],
            transcript=[" ".join(clip.words) for clip in some],
            language="English",
        )
        logits = model(**inputs).logits
        decoded = processor.decode_forced_alignment(logits, inputs["input_ids"], words, model.config.timestamp_token_id)
        results += [[(word["start_time"], word["end_time"]) for word in line] for line in decoded]
    return results


def scored(clips: list[Clip], answers: list[list[Span]]) -> Score:
    """Compare alignments with the reference."""
    truth = np.array([span for clip in clips for span in clip.spans])
    given = np.array([span for spans in answers for span in spans])
    guess = np.array([span for clip in clips for span in spread_by_letters(clip.words, clip.spans)])
    off, baseline = 1000 * np.abs(given - truth), 1000 * np.abs(guess - truth)
    shares = [round(float(100 * (off <= limit + 1e-6).mean()), 1) for limit in (20, 80, 160)]
    return Score(
        utterances=len(clips),
        words=len(truth),
        seconds=round(sum(len(clip.samples) for clip in clips) / RATE, 1),
        mean_ms=round(float(off.mean()), 1),
        median_ms=round(float(np.median(off)), 1),
        within_20_ms_percent=shares[0],
        within_80_ms_percent=shares[1],
        within_160_ms_percent=shares[2],
        lag_ms=round(float(1000 * (given - truth).mean()), 1),
        baseline_mean_ms=round(float(baseline.mean()), 1),
        baseline_median_ms=round(float(np.median(baseline)), 1),
    )


def long_utterances(clips: list[Clip], seed: int = 0) -> list[Clip]:
    """Put clips in a row, with pauses, to utterances of `LONG_S` seconds."""
    rng = random.Random(seed)
    rows, row, wanted_s = [], [], rng.uniform(*LONG_S)
    for clip in rng.sample(clips, len(clips)):
        row.append(clip)
        if sum(len(one.samples) for one in row) / RATE + 0.3 * len(row) > wanted_s:
            rows.append(in_a_row(row, [rng.uniform(0.05, 0.5) for _ in range(len(row) + 1)]))
            row, wanted_s = [], rng.uniform(*LONG_S)
    return rows


def held_out_sets(banks: Path, common: Path | None, digits: Path) -> dict[str, list[Clip]]:
    """Return what was never trained on, by kind."""
    sets = corpus.evaluation_sets(banks, digits)
    texts, strings = sets["synthetic, held-out texts"], sets["human digits, unheard speaker"]
    sets["synthetic, held-out texts, 9 to 15 s"] = long_utterances(texts)
    sets["human digits, unheard speaker, 9 to 15 s"] = long_utterances(strings)
    if common:
        clips = [clip for path in sorted(common.glob("*.npz")) for clip in bank.load(path)]
        known = [clip for clip in clips if clip.voice not in corpus.UNHEARD_VOICES]
        sets["common English, held-out texts"] = [clip for clip in known if grammar.held_out(clip.words)]
        sets["common English, voice never heard"] = [clip for clip in clips if clip.voice in corpus.UNHEARD_VOICES]
    return {name: clips[:: max(1, len(clips) // MOST)][:MOST] for name, clips in sets.items()}


def human_sets(folder: Path) -> dict[str, list[Clip]]:
    """Return the shipped clips whose word times are known: those of the domain, and the others."""
    sets = {"shipped human clips": folder, "shipped human clips, other words": folder / "other"}
    return {name: [clip for clip in corpus.shipped_clips(path) if clip.spans] for name, path in sets.items()}


def training_facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return how much speech there was to train on."""
    facts = corpus.training_facts(options.checkpoint, options.banks, options.digits)
    if not facts["runs"]["common_share"]:
        return facts
    common = common_clips(options.common)
    return facts | {
        "common_english_sentences": len(common),
        "common_english_minutes": corpus.minutes([clip.samples for clip in common]),
    }


def main() -> None:
    """Measure one checkpoint and write its metrics.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True, help="folder of the shipped clips")
    parser.add_argument("--banks", type=Path, help="folder of the domain's banks; without it, only the shipped clips")
    parser.add_argument("--common", type=Path, help="folder of the banks of common English")
    parser.add_argument("--digits", type=Path, help="folder of the Free Spoken Digit Dataset")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Qwen3ASRForTokenClassification.from_pretrained(options.checkpoint, use_safetensors=True).eval()
    processor = AutoProcessor.from_pretrained(options.checkpoint)
    held_out = held_out_sets(options.banks, options.common, options.digits) if options.banks else {}
    scores = {name: scored(clips, aligned(model, processor, clips, batch=8)) for name, clips in held_out.items()}
    for name, clips in human_sets(options.clips).items():
        answers = aligned(model, processor, clips, batch=1)
        scores[name] = scored(clips, answers)
        for clip, spans in zip(clips, answers, strict=True):
            score = scored([clip], [spans])
            print(f"{clip.voice}: {score.mean_ms} ms, baseline {score.baseline_mean_ms}")
            triples = zip(clip.words, clip.spans, spans, strict=True)
            print("  " + " ".join(f"{word} {a:.2f}>{c:.2f}-{b:.2f}>{d:.2f}" for word, (a, b), (c, d) in triples))
    for name, score in scores.items():
        shares = f"{score.within_20_ms_percent}/{score.within_80_ms_percent}/{score.within_160_ms_percent} %"
        print(f"{name}: {score.mean_ms} ms (median {score.median_ms}), within 20/80/160 ms {shares},", end=" ")
        print(f"lag {score.lag_ms}, baseline {score.baseline_mean_ms} ms (median {score.baseline_median_ms})")
    if options.banks:
        facts = {
            "class_ms": CLASS_MS,
            "boundary_errors": {name: asdict(score) for name, score in scores.items()},
            "unheard": {"speaker": corpus.UNHEARD_SPEAKER, "voices": list(corpus.UNHEARD_VOICES)},
            "training": training_facts(options),
        }
        (options.checkpoint / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
