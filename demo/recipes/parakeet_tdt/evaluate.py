"""Measure a checkpoint through plain `generate`, each kind of speech apart, and write metrics.json.

python -m parakeet_tdt.evaluate --checkpoint checkpoint --banks banks --digits fsdd --clips ../../clips
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from parakeet_tdt.train import FRAME_S
from speech.bank import RATE, Clip
from speech.corpus import UNHEARD_SPEAKER, UNHEARD_VOICES, evaluation_sets, shipped_clips, training_facts
from transformers import AutoProcessor, ParakeetForTDT, ParakeetProcessor


@dataclass(frozen=True)
class Score:
    """Word errors of one set, and how far word starts lie from the reference (correct utterances only)."""

    utterances: int
    words: int
    errors: int
    wer_percent: float
    start_bias_ms: float | None
    start_error_ms: float | None  # mean absolute, once the bias is taken off


def word_errors(said: list[str], heard: list[str]) -> int:
    """Return the edit distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


def words_with_starts(processor: ParakeetProcessor, ids: list[int], durations: list[int]) -> list[tuple[str, float]]:
    """Return each decoded word and its start in seconds, from the tokens and durations of one utterance."""
    tokenizer, words, frame = processor.tokenizer, [], 0
    skipped = {processor.blank_token_id, tokenizer.pad_token_id}
    for token, duration in zip(ids, durations, strict=True):
        if token not in skipped:
            text = tokenizer.convert_ids_to_tokens(token)
            if text.startswith("▁") or not words:
                words.append((text.removeprefix("▁"), frame * FRAME_S))
            else:
                words[-1] = (words[-1][0] + text, words[-1][1])
        frame += duration
    return words


def transcribed(
    model: ParakeetForTDT, processor: ParakeetProcessor, clips: list[Clip], batch: int
) -> list[list[tuple[str, float]]]:
    """Transcribe clips, `batch` at a time."""
    results = []
    for at in range(0, len(clips), batch):
        samples = [clip.samples for clip in clips[at : at + batch]]
        out = model.generate(**processor(samples, sampling_rate=RATE))
        pairs = zip(out.sequences.tolist(), out.durations.tolist(), strict=True)
        results += [words_with_starts(processor, ids, durations) for ids, durations in pairs]
    return results


def scored(clips: list[Clip], heard: list[list[tuple[str, float]]]) -> Score:
    """Compare transcripts with what was said."""
    errors = [word_errors(clip.words, [word for word, _ in words]) for clip, words in zip(clips, heard, strict=True)]
    offsets = [
        start - span[0]
        for clip, words, wrong in zip(clips, heard, errors, strict=True)
        if not wrong and clip.spans
        for (_, start), span in zip(words, clip.spans, strict=True)
    ]
    bias = float(np.mean(offsets)) if offsets else None
    spread = float(np.mean(np.abs(np.array(offsets) - bias))) if offsets else None
    words = sum(len(clip.words) for clip in clips)
    return Score(
        utterances=len(clips),
        words=words,
        errors=sum(errors),
        wer_percent=round(100 * sum(errors) / words, 2),
        start_bias_ms=None if bias is None else round(1000 * bias, 1),
        start_error_ms=None if spread is None else round(1000 * spread, 1),
    )


def main() -> None:
    """Measure one checkpoint and write its metrics.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True, help="folder of the shipped clips")
    parser.add_argument("--banks", type=Path, help="folder of the banks; without it, only the shipped clips")
    parser.add_argument("--digits", type=Path, help="folder of the Free Spoken Digit Dataset")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ParakeetForTDT.from_pretrained(options.checkpoint).eval()
    processor = AutoProcessor.from_pretrained(options.checkpoint)
    sets = evaluation_sets(options.banks, options.digits) if options.banks else {}
    scores = {name: scored(clips, transcribed(model, processor, clips, batch=16)) for name, clips in sets.items()}
    shipped = shipped_clips(options.clips)
    heard = transcribed(model, processor, shipped, batch=1)
    scores["shipped human clips"] = scored(shipped, heard)
    for clip, words in zip(shipped, heard, strict=True):
        print(f"{clip.voice}: {' '.join(clip.words)} -> {' '.join(f'{word}@{start:.2f}' for word, start in words)}")
    for name, score in scores.items():
        print(f"{name}: WER {score.wer_percent} % of {score.words} words, starts {score.start_error_ms} ms")
    if options.banks:
        facts = {
            "word_error_rates": {name: asdict(score) for name, score in scores.items()},
            "unheard": {"speaker": UNHEARD_SPEAKER, "voices": list(UNHEARD_VOICES)},
            "training": training_facts(options.checkpoint, options.banks, options.digits),
        }
        (options.checkpoint / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
