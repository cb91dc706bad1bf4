"""Measure a checkpoint through plain `generate`, each kind of speech apart, and write metrics.json.

python evaluate.py --checkpoint checkpoint --banks banks --digits fsdd --clips ../../clips
"""

import argparse
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import bank
import grammar
import numpy as np
import soundfile
import torch
from bank import RATE, Clip, Span
from mixing import Piece, joined, silence
from train import FRAME_S, HELD_OUT_INDICES, UNHEARD_SPEAKER, UNHEARD_VOICES, mixer_from_folders
from transformers import AutoProcessor, ParakeetForTDT, ParakeetProcessor

STRING = 5  # digits put together to one utterance


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


def digit_strings(clips: list[Clip], seed: int = 0) -> list[Clip]:
    """Put each speaker's recordings, every one once, into strings of five with pauses of 0.05..0.3 s."""
    rng = random.Random(seed)
    order = rng.sample(clips, len(clips))
    strings = []
    for at in range(0, len(order), STRING):
        pieces = [silence(0.2)]
        for clip in order[at : at + STRING]:
            pieces += [Piece(clip.samples, clip.words[0]), silence(rng.uniform(0.05, 0.3))]
        strings.append(joined(pieces, clip.voice))
    return strings


def shipped_clips(folder: Path) -> list[Clip]:
    """Read the human clips that ship with the project."""
    clips = []
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        samples, _ = soundfile.read(folder / entry["file"], dtype="float32")
        spans: list[Span] = [(start, end) for _, start, end in entry["words"] or []]
        clips.append(Clip(samples, entry["text"].split(), spans, entry["file"]))
    return clips


def evaluation_sets(banks: Path, digits: Path) -> dict[str, list[Clip]]:
    """Return what was never trained on, by kind."""
    synthetic = [clip for path in sorted(banks.glob("*.npz")) for clip in bank.load(path)]
    known = [clip for clip in synthetic if clip.voice not in UNHEARD_VOICES]
    sets = {
        "synthetic, held-out texts": [clip for clip in known if grammar.held_out(clip.words)],
        "synthetic, voice never heard": [clip for clip in synthetic if clip.voice in UNHEARD_VOICES],
        "human digits, heard speakers": [],
        "human digits, unheard speaker": [],
    }
    for speaker, clips in bank.human_digits(digits).items():
        heard = speaker != UNHEARD_SPEAKER
        name = "human digits, heard speakers" if heard else "human digits, unheard speaker"
        sets[name] += digit_strings([clip for index, clip in clips if not heard or index in HELD_OUT_INDICES])
    return sets


def minutes(recordings: list[np.ndarray]) -> float:
    """Return how long recordings are together."""
    return round(sum(len(samples) for samples in recordings) / RATE / 60, 1)


def training_facts(checkpoint: Path, banks: Path, digits: Path) -> dict[str, object]:
    """Return what train.py wrote beside the checkpoint, and how much speech there was to train on."""
    mixer = mixer_from_folders(banks, digits, seed=0)
    human = [samples for words in mixer.human.values() for cuts in words.values() for samples in cuts]
    return {
        "synthetic_sentences": len(mixer.synthetic),
        "synthetic_minutes": minutes([clip.samples for clip in mixer.synthetic]),
        "synthetic_voices": sorted({clip.voice for clip in mixer.synthetic}),
        "human_digits": len(human),
        "human_minutes": minutes(human),
        "human_speakers": sorted(mixer.human),
        "runs": json.loads((checkpoint / "training.json").read_text()),
    }


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
