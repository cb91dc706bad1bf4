"""Measure a checkpoint through plain `generate`, each kind of speech apart, and write metrics.json.

python -m cohere_transcribe.evaluate --checkpoint checkpoint --banks banks --mandarin mandarin --digits fsdd \
    --clips ../clips
"""

import argparse
import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from cohere_transcribe.text import DIGITS, translated
from cohere_transcribe.utterances import UNHEARD_VOICES, Mandarin, Utterance, chained
from speech import bank, grammar
from speech.bank import RATE, Clip
from speech.corpus import UNHEARD_SPEAKER, evaluation_sets, shipped_clips, training_facts
from speech.corpus import UNHEARD_VOICES as UNHEARD_ENGLISH
from transformers import AutoProcessor, CohereAsrForConditionalGeneration, CohereAsrProcessor

BATCH = 16
NEW_TOKENS = 120
LONG, LONG_S = 40, 12.0  # how many long utterances of each language, and how long at most


@dataclass(frozen=True)
class Score:
    """Errors of one set in words (in characters where Chinese is written), and how many texts are right to the letter.

    Errors leave case and full stops aside, the last figure does not.
    """

    utterances: int
    units: int
    errors: int
    error_percent: float
    exact_percent: float


def edits(said: list[str], heard: list[str]) -> int:
    """Return the edit distance."""
    row = list(range(len(heard) + 1))
    for i, unit in enumerate(said, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (unit != other))
    return row[-1]


def units(text: str, language: str) -> list[str]:
    """Return the words of an English text or the characters of a Chinese one, bare of case and full stops."""
    bare = text.lower().replace(".", "").replace("。", "")
    return list(bare.replace(" ", "")) if language == "zh" else bare.split()


def transcribed(
    model: CohereAsrForConditionalGeneration, processor: CohereAsrProcessor, utterances: list[Utterance], batch: int
) -> list[str]:
    """Transcribe utterances of one language and one punctuation setting, `batch` at a time."""
    texts = []
    for at in range(0, len(utterances), batch):
        part = utterances[at : at + batch]
        inputs = processor(
            [utterance.clip.samples for utterance in part],
            language=part[0].language,
            punctuation=part[0].punctuation,
            sampling_rate=RATE,
            return_tensors="pt",
        )
        prompt = inputs["decoder_input_ids"].shape[1]
        ids = model.generate(**inputs, max_new_tokens=NEW_TOKENS)
        texts += processor.tokenizer.batch_decode(ids[:, prompt:], skip_special_tokens=True)
    return texts


def scored(utterances: list[Utterance], texts: list[str]) -> Score:
    """Compare transcripts with what was said."""
    pairs = [(units(u.text, u.language), units(text, u.language)) for u, text in zip(utterances, texts, strict=True)]
    errors = sum(edits(said, heard) for said, heard in pairs)
    total = sum(len(said) for said, _ in pairs)
    exact = sum(u.text == text for u, text in zip(utterances, texts, strict=True))
    return Score(
        utterances=len(utterances),
        units=total,
        errors=errors,
        error_percent=round(100 * errors / max(total, 1), 2),
        exact_percent=round(100 * exact / len(utterances), 1),
    )


def utterances_of(clips: list[Clip], language: str, punctuation: bool = True) -> list[Utterance]:
    """Return clips as utterances written in their own words."""
    return [Utterance(clip, clip.words, language, punctuation) for clip in clips]


def long_clips(clips: list[Clip], seed: int = 0) -> list[Clip]:
    """Put clips of one voice together up to LONG_S, with pauses."""
    rng, found = random.Random(seed), []
    voices = sorted({clip.voice for clip in clips})
    while len(found) < LONG:
        voice = rng.choice(voices)
        own = [clip for clip in clips if clip.voice == voice]
        chosen: list[Clip] = []
        while sum(len(clip.samples) for clip in chosen) < rng.uniform(5.0, LONG_S - 3.0) * RATE:
            chosen.append(rng.choice(own))
        found.append(chained(chosen, [rng.uniform(0.1, 0.5) for _ in chosen]))
    return found


def quiet_clips(count: int = 20) -> list[Clip]:
    """Return stretches of faint noise or plain silence, in which nothing is said."""
    noise = np.random.default_rng(0)
    levels = noise.choice([0.0, 1e-4, 1e-3, 1e-2], count)
    lengths = noise.integers(RATE // 2, 6 * RATE, count)
    pairs = zip(levels, lengths, strict=True)
    return [Clip((level * noise.standard_normal(n)).astype(np.float32), [], [], "noise") for level, n in pairs]


def padded(clip: Clip) -> Clip:
    """Put a little silence around a clip."""
    edge = np.zeros(RATE // 5, np.float32)
    return replace(clip, samples=np.concatenate([edge, clip.samples, edge]))


def all_sets(banks: Path, mandarin: Path, digits: Path) -> dict[str, list[Utterance]]:
    """Return what was never trained on, by kind."""
    english = evaluation_sets(banks, digits)
    chinese = [clip for path in sorted(mandarin.glob("*.npz")) for clip in bank.load(path)]
    held_out = [padded(clip) for clip in chinese if grammar.held_out(clip.words)]
    known = [clip for clip in held_out if clip.voice not in UNHEARD_VOICES]
    unheard = [padded(clip) for clip in chinese if clip.voice in UNHEARD_VOICES]
    sets = {f"en, {name}": utterances_of(clips, "en") for name, clips in english.items()}
    texts = english["synthetic, held-out texts"]
    sets["en, synthetic, held-out texts, no punctuation"] = utterances_of(texts, "en", punctuation=False)
    sets["en, synthetic, joined to 5..12 s"] = utterances_of(long_clips(texts), "en")
    sets["zh, synthetic, held-out texts"] = utterances_of(known, "zh")
    sets["zh, synthetic, held-out texts, no punctuation"] = utterances_of(known, "zh", punctuation=False)
    sets["zh, synthetic, voices never heard"] = utterances_of(unheard, "zh")
    sets["zh, synthetic, joined to 5..12 s"] = utterances_of(long_clips(known), "zh")
    strings = [clip for clip in texts if all(word in DIGITS["en"] for word in clip.words)]
    strings += english["human digits, unheard speaker"]
    sets["en digits under <|zh|>"] = [Utterance(clip, translated(clip.words, "en"), "zh", True) for clip in strings]
    sets["zh digits under <|en|>"] = [Utterance(clip, translated(clip.words, "zh"), "en", True) for clip in known]
    return sets


def chinese_clips(folder: Path) -> list[Clip]:
    """Read the shipped Chinese clips, one word a character."""
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [
        Clip(soundfile.read(folder / entry["file"], dtype="float32")[0], list(entry["text"]), [], entry["file"])
        for entry in entries
    ]


def main() -> None:
    """Measure one checkpoint and write its metrics.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True, help="folder of the shipped clips")
    parser.add_argument("--banks", type=Path, help="folder of the English banks; without it, only the shipped clips")
    parser.add_argument("--mandarin", type=Path, help="folder of the Mandarin banks")
    parser.add_argument("--digits", type=Path, help="folder of the Free Spoken Digit Dataset")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = CohereAsrForConditionalGeneration.from_pretrained(options.checkpoint, use_safetensors=True).eval()
    processor = AutoProcessor.from_pretrained(options.checkpoint)
    scores: dict[str, Score] = {}
    shipped = {"en": shipped_clips(options.clips), "zh": chinese_clips(options.clips / "zh")}
    for language, clips in shipped.items():
        utterances = utterances_of(clips, language)
        texts = transcribed(model, processor, utterances, batch=1)
        scores[f"{language}, shipped {'human' if language == 'en' else 'synthetic'} clips"] = scored(utterances, texts)
        for utterance, text in zip(utterances, texts, strict=True):
            print(f"{utterance.clip.voice}: {utterance.text} -> {text}")
    silent = transcribed(model, processor, utterances_of(quiet_clips(), "en"), BATCH)
    print(f"noise and silence: {sum(not text for text in silent)} of {len(silent)} empty")
    if options.banks:
        for name, utterances in all_sets(options.banks, options.mandarin, options.digits).items():
            scores[name] = scored(utterances, transcribed(model, processor, utterances, BATCH))
            print(f"{name}: {scores[name]}", flush=True)
        chinese = [clip for path in sorted(options.mandarin.glob("*.npz")) for clip in bank.load(path)]
        trained = Mandarin(chinese, random.Random(0)).clips
        facts = {
            "error_rates": {name: asdict(score) for name, score in scores.items()},
            "noise_and_silence": {"clips": len(silent), "empty": sum(not text for text in silent)},
            "unheard": {"speaker": UNHEARD_SPEAKER, "voices": [*UNHEARD_ENGLISH, *UNHEARD_VOICES]},
            "training": training_facts(options.checkpoint, options.banks, options.digits)
            | {
                "mandarin_strings": len(trained),
                "mandarin_minutes": round(sum(len(clip.samples) for clip in trained) / RATE / 60, 1),
                "mandarin_voices": sorted({clip.voice for clip in trained}),
            },
        }
        (options.checkpoint / "metrics.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    for name, score in scores.items():
        print(f"{name}: {score.error_percent} % of {score.units}, exact {score.exact_percent} %")


if __name__ == "__main__":
    main()
