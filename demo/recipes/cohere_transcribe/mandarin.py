"""Mandarin digit strings spoken by espeak-ng: banks for training, and the shipped test clips.

python -m cohere_transcribe.mandarin --out mandarin_banks --clips ../clips/zh

Debian's espeak-ng lacks the long Chinese dictionary and spells most Han digits out in English, so the engine is
given pinyin; the words of a clip are the Han characters all the same.
"""

import argparse
import hashlib
import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from speech import bank, grammar
from speech.bank import RATE, Clip
from speech.engines import Espeak, Spoken

HAN = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九")
PINYIN = ("ling2", "yi1", "er4", "san1", "si4", "wu3", "liu4", "qi1", "ba1", "jiu3")
VARIANTS = ("f1", "f2", "f4", "f5", "m1", "m2", "m3", "m5", "m7", "klatt", "klatt4", "edward2", "steph", "max", "zac")
UNHEARD_VARIANTS = ("f3", "m4")
LONGEST = 9
SHIPPED = (("f3", 3), ("m4", 5), ("f3", 8))  # variant and number of digits of each shipped clip


class Mandarin(Espeak):
    """espeak-ng's pinyin voice with one of its variants; slower than the English ones, as its digits are short."""

    def __init__(self, variant: str) -> None:
        super().__init__(f"cmn-latn-pinyin+{variant}")

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak Han digits."""
        self.chunks, self.starts = [], []
        for parameter, low, high in ((self.RATE, 80, 170), (self.PITCH, 25, 75), (self.RANGE, 30, 80)):
            self.lib.espeak_SetParameter(parameter, rng.randint(low, high), 0)
        text = " ".join(PINYIN[HAN.index(word)] for word in words).encode() + b"\0"
        self.lib.espeak_Synth(text, len(text), 0, 1, 0, 1, None, None)
        starts = self.starts[: len(words)]  # one event too many may come at the very end
        if len(starts) != len(words):
            return None
        samples = np.concatenate(self.chunks)
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        return Spoken(samples, self.rate, list(pairwise([*starts, float(loud[-1] + 1) / self.rate])))


def digit_string(rng: random.Random) -> list[str]:
    """Return 1..9 random Han digits."""
    return [rng.choice(HAN) for _ in range(rng.randint(1, LONGEST))]


def clip_from(engine: Mandarin, words: list[str], rng: random.Random, voice: str) -> Clip | None:
    """Speak words, at 16 kHz and the common level."""
    spoken = engine(words, rng)
    if spoken is None:
        return None
    samples = bank.leveled(bank.soxr.resample(spoken.samples, spoken.rate, RATE))
    return Clip(samples, words, spoken.spans, voice)


def synthesise(variant: str, count: int) -> list[Clip]:
    """Speak `count` random digit strings with one variant."""
    rng, engine, voice = random.Random(variant), Mandarin(variant), f"espeak:cmn+{variant}"
    clips = [clip_from(engine, digit_string(rng), rng, voice) for _ in range(count)]
    return [clip for clip in clips if clip is not None]


def shipped(variant: str, length: int, seed: int) -> Clip:
    """Speak one held-out string with an unheard variant, with a little silence around it."""
    rng, engine = random.Random(seed), Mandarin(variant)
    words = [rng.choice(HAN) for _ in range(length)]
    while length >= 4 and not grammar.held_out(words):
        words = [rng.choice(HAN) for _ in range(length)]
    clip = clip_from(engine, words, rng, f"espeak:cmn+{variant}")
    if clip is None:
        raise RuntimeError(f"espeak-ng did not tell the words of {words} apart")
    edge = np.zeros(RATE // 4, np.float32)
    spans = [(start + 0.25, end + 0.25) for start, end in clip.spans]
    return replace(clip, samples=np.concatenate([edge, clip.samples, edge]), spans=spans)


def write_clips(folder: Path) -> None:
    """Write the shipped clips and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed, (variant, length) in enumerate(SHIPPED):
        clip = shipped(variant, length, seed)
        path = folder / f"espeak_digits_{variant}_{length}.wav"
        soundfile.write(path, clip.samples, RATE, subtype="PCM_16")
        times = [[word, round(a, 3), round(b, 3)] for word, (a, b) in zip(clip.words, clip.spans, strict=True)]
        entry = {
            "file": path.name,
            "text": "".join(clip.words),
            "words": times,
            "word_times": "espeak-ng's own events",
            "source": "made by demo/recipes/cohere_transcribe/mandarin.py with espeak-ng 1.51 (synthetic speech)",
            "licence": "CC0-1.0",
            "speaker": f"espeak-ng voice cmn-latn-pinyin, variant {variant} (synthetic)",
            "seconds": round(len(clip.samples) / RATE, 4),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "language": "zh",
        }
        lines.append(json.dumps(entry, ensure_ascii=False))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write one bank for every variant, and the shipped clips where asked."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the banks to write")
    parser.add_argument("--count", type=int, default=160, help="strings a voice")
    parser.add_argument("--clips", type=Path, help="folder of the shipped clips to write")
    options = parser.parse_args()
    for variant in (*VARIANTS, *UNHEARD_VARIANTS):
        clips = synthesise(variant, options.count)
        bank.save(clips, options.out / f"espeak_cmn_{variant}.npz")
        print(f"{variant}: {len(clips)} clips, {sum(len(clip.samples) for clip in clips) / RATE / 60:.1f} min")
    if options.clips:
        write_clips(options.clips)


if __name__ == "__main__":
    main()
