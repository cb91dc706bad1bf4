"""Banks of speech with word times: made by the engines, or read from the folder of human digit recordings.

python -m speech.bank flite:slt 400 --out banks/flite_slt.npz
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr
from speech import grammar
from speech.engines import Span, engine_from_name

RATE = 16_000
GAP_S = 0.12  # shorter silences between words are given to the earlier word
LEVEL = 0.05  # RMS of every clip


@dataclass(frozen=True)
class Clip:
    """One recording at 16 kHz: samples float32 [N], its words, (start_s, end_s) of each, and who speaks."""

    samples: np.ndarray
    words: list[str]
    spans: list[Span]
    voice: str


def leveled(samples: np.ndarray) -> np.ndarray:
    """Scale samples to the common RMS level."""
    return (samples * (LEVEL / (np.sqrt(np.mean(samples**2)) + 1e-8))).astype(np.float32)


def close_gaps(spans: list[Span]) -> list[Span]:
    """Let every word reach to the next one where the silence between them is short."""
    ends = [b[0] if 0 < b[0] - a[1] < GAP_S else min(a[1], b[0]) for a, b in pairwise(spans)]
    return [(start, end) for (start, _), end in zip(spans, [*ends, spans[-1][1]], strict=True)]


def synthesise(name: str, count: int, seed: int, text: Callable[[random.Random], list[str]]) -> list[Clip]:
    """Speak `count` random sentences of `text` with the engine called `name`."""
    rng = random.Random(f"{name} {seed}")
    engine = engine_from_name(name)
    clips: list[Clip] = []
    for _ in range(count):
        words = text(rng)
        spoken = engine(words, rng)
        if spoken is None:
            continue
        samples = leveled(soxr.resample(spoken.samples, spoken.rate, RATE))
        clips.append(Clip(samples, words, close_gaps(spoken.spans), name))
    return clips


def save(clips: list[Clip], path: Path) -> None:
    """Write clips into one .npz: 16-bit samples end to end, and their words as JSON."""
    peak = 4.0  # samples at LEVEL 0.05 stay far below
    audio = np.concatenate([np.round(clip.samples / peak * 32767).astype(np.int16) for clip in clips])
    lines = [[len(clip.samples), clip.words, clip.spans, clip.voice] for clip in clips]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, audio=audio, lines=np.array(json.dumps(lines)), peak=np.float32(peak))


def load(path: Path) -> list[Clip]:
    """Read what `save` wrote."""
    with np.load(path) as stored:
        audio = stored["audio"].astype(np.float32) * (float(stored["peak"]) / 32767)
        lines = json.loads(str(stored["lines"]))
    clips, at = [], 0
    for length, words, spans, voice in lines:
        clips.append(Clip(audio[at : at + length], words, [tuple(span) for span in spans], voice))
        at += length
    return clips


def trimmed(samples: np.ndarray, floor: float = 0.03) -> np.ndarray:
    """Cut the quiet ends of a recording (10 ms steps, `floor` of the loudest step)."""
    step = RATE // 100
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    loud = np.flatnonzero(np.sqrt((frames**2).mean(1)) > floor * np.sqrt((frames**2).mean(1)).max())
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def human_digits(folder: Path) -> dict[str, list[tuple[int, Clip]]]:
    """Read the Free Spoken Digit Dataset: speaker -> [(index of the recording, clip)]."""
    speakers: dict[str, list[tuple[int, Clip]]] = {}
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, index = path.stem.split("_")
        samples, rate = soundfile.read(path, dtype="float32")
        samples = leveled(trimmed(soxr.resample(samples, rate, RATE)))
        span = (0.0, len(samples) / RATE)
        clip = Clip(samples, [grammar.DIGITS[int(digit)]], [span], f"human:{speaker}")
        speakers.setdefault(speaker, []).append((int(index), clip))
    return speakers


def main() -> None:
    """Make one bank with one engine."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("engine", help="for example flite:slt, espeak:en-us+f3, piper:joe, hibari:heart")
    parser.add_argument("count", type=int, help="how many sentences")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--common", action="store_true", help="speak common English, not the domain")
    options = parser.parse_args()
    text = grammar.common_english if options.common else grammar.sentence
    clips = synthesise(options.engine, options.count, options.seed, text)
    save(clips, options.out)
    seconds = sum(len(clip.samples) for clip in clips) / RATE
    print(f"{options.engine}: {len(clips)} clips, {seconds / 60:.1f} min")


if __name__ == "__main__":
    main()
