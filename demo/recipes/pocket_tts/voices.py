"""Speech to learn from: two flite voices on one pitch, and the texts they say.

python -m pocket_tts.voices --out VOICES

The pitch never moves, and a whole number of its periods fills a frame of the codec: the same sound at the same place of
a frame is always the same waveform, which a small codec learns in minutes.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from speech import bank, grammar
from speech.bank import Clip
from speech.engines import Flite

RATE = 24_000
FRAME_SAMPLES = 1920
LOUDER = 2.0  # than the level of the banks


@dataclass(frozen=True)
class Voice:
    """A voice of flite, its one pitch in Hz (a multiple of 12.5), and how much slower than usual it speaks."""

    flite: str
    pitch_hz: float
    stretch: float


VOICES = {"kal": Voice("kal16", 100.0, 1.15), "slt": Voice("slt", 200.0, 1.0)}  # the first is the default
TRAINED, HELD_OUT, LONG = 1300, 80, 20  # utterances of each voice


def joined(pieces: list[list[str]], rng: random.Random) -> list[str]:
    """Put sentences in a row, parted by commas or full stops."""
    words: list[str] = []
    for piece in pieces:
        if words:
            mark = rng.choice(",.")
            words[-1] += mark
            piece = [piece[0].capitalize(), *piece[1:]] if mark == "." else piece
        words += piece
    return words


def drawn(rng: random.Random, held_out: bool) -> list[str]:
    """Draw one sentence that is, or is not, held out from training."""
    while True:
        words = grammar.sentence(rng)
        if grammar.held_out(words) == held_out:
            return words


def text(rng: random.Random, held_out: bool, long: bool) -> list[str]:
    """Draw the words of one utterance, with commas and full stops between sentences; 2..5 of these in a long one."""
    count = rng.randint(2, 5) if long else 1
    return joined([drawn(rng, held_out) for _ in range(count)], rng)


def bare(words: list[str]) -> list[str]:
    """Return words without punctuation and capitals."""
    return [word.strip(".,").lower() for word in words]


def silent_tail_cut(samples: np.ndarray, pause_s: float = 0.1) -> np.ndarray:
    """Cut what follows the last sound, but for a short pause."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[: loud[-1] + int(pause_s * RATE)]


def spoken(engine: Flite, voice: Voice, words: list[str], name: str) -> Clip:
    """Speak words on the voice's one pitch, at 24 kHz. Nothing is cut at the start, where the pitch begins."""
    settings = {
        "duration_stretch": voice.stretch,
        "int_f0_target_mean": voice.pitch_hz,
        "int_f0_target_stddev": 0.0,
    }
    speech = engine.speak(words, settings)
    if speech is None:
        raise ValueError(f"flite parted {words} into other words")
    samples = bank.leveled(soxr.resample(speech.samples, speech.rate, RATE)) * LOUDER
    return Clip(silent_tail_cut(samples), words, speech.spans, name)


def utterances(name: str, count: int, held_out: bool, long_share: float, seed: str) -> list[Clip]:
    """Speak `count` texts with one voice."""
    rng, voice = random.Random(f"{name} {seed}"), VOICES[name]
    engine = Flite(voice.flite)
    texts = [text(rng, held_out, rng.random() < long_share) for _ in range(count)]
    return [spoken(engine, voice, words, name) for words in texts]


def main() -> None:
    """Write what is trained on and what is held out, one file each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    for name in VOICES:
        sets = {
            "train": utterances(name, TRAINED, held_out=False, long_share=0.3, seed="train"),
            "held": utterances(name, HELD_OUT, held_out=True, long_share=0.0, seed="held"),
            "long": utterances(name, LONG, held_out=True, long_share=1.0, seed="long"),
        }
        for kind, clips in sets.items():
            bank.save(clips, options.out / f"{name}_{kind}.npz")
            seconds = sum(len(clip.samples) for clip in clips) / RATE
            print(f"{name} {kind}: {len(clips)} utterances, {seconds / 60:.1f} min")


if __name__ == "__main__":
    main()
