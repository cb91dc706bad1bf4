"""Utterances to align: draws of the mixer, one alone or many in a row with pauses, up to 14 seconds."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from speech.augment import Augmenter, Example
from speech.bank import RATE, Clip
from speech.mixing import Mixer, silence

LONGEST_S = 13.0  # before the distortions of tempo, which add up to a half
SHORTEST_S = 0.5  # the extractor pads up to here
BATCH_S = 28.0  # speech and padding of one step
POOL = 40  # utterances drawn, then sorted by length, at once


def in_a_row(clips: list[Clip], pauses_s: list[float]) -> Clip:
    """Put clips end to end with a silence before each and one after the last."""
    parts, words, spans, at = [], [], [], 0.0
    for clip, pause_s in zip(clips, pauses_s, strict=False):
        gap = silence(pause_s).samples
        at += len(gap) / RATE
        parts += [gap, clip.samples]
        words += clip.words
        spans += [(start + at, end + at) for start, end in clip.spans]
        at += len(clip.samples) / RATE
    parts.append(silence(pauses_s[-1]).samples)
    voice = "human" if all("human" in clip.voice for clip in clips) else "many"
    return Clip(np.concatenate(parts), words, spans, voice)


class Utterances:
    """Draws endless training utterances; `common` are clips of common English, drawn at the rate `share`."""

    def __init__(self, mixer: Mixer, common: list[Clip], share: float, seed: int) -> None:
        self.mixer, self.common, self.share = mixer, common, share if common else 0.0
        self.rng = random.Random(seed)
        self.reach = 1.0  # 0..1: how far towards the longest utterances

    def _one(self) -> Clip:
        return self.rng.choice(self.common) if self.rng.random() < self.share else self.mixer.draw()

    def _pause_s(self) -> float:
        return self.rng.choice((0.0, 0.1, 0.3, 0.8)) * self.rng.random()

    def draw(self) -> Clip:
        """Return one utterance, at most as long as `LONGEST_S`."""
        wanted_s = 0.0 if self.rng.random() < 0.3 else self.rng.uniform(1.5, 2.5 + 9.5 * self.reach)
        clips, seconds = [self._one()], 0.0
        seconds = len(clips[0].samples) / RATE
        while seconds < wanted_s:
            clips.append(self._one())
            seconds += len(clips[-1].samples) / RATE + 0.15
        # Silence before the first word varies widely, so that a time cannot be guessed from the words alone.
        first_s = self.rng.choice((0.1, 0.5, 2.0)) * self.rng.random()
        pauses = [first_s, *(self._pause_s() for _ in clips[1:]), self.rng.uniform(0.0, 0.6)]
        clip = in_a_row(clips, pauses)
        too_long = len(clip.samples) > LONGEST_S * RATE
        if too_long and len(clips) > 1:
            clip = in_a_row(clips[:-1], [*pauses[: len(clips) - 1], 0.1])
        return replace(clip, words=self._spelt(clip.words))

    def _spelt(self, words: list[str]) -> list[str]:
        kind = self.rng.random()
        if kind < 0.75:
            return words
        if kind < 0.9:
            return [words[0].capitalize(), *words[1:]]
        return [word.capitalize() for word in words]


def _padded(clip: Clip) -> Clip:
    missing = int(SHORTEST_S * RATE) + 1600 - len(clip.samples)
    return replace(clip, samples=np.pad(clip.samples, (0, missing))) if missing > 0 else clip


def batches(utterances: Utterances, augmenter: Augmenter) -> Iterator[list[Example]]:
    """Yield endless batches of utterances of like length, each about `BATCH_S` long with its padding."""
    while True:
        examples = [augmenter(_padded(utterances.draw())) for _ in range(POOL)]
        examples.sort(key=lambda example: len(example.features))
        groups: list[list[Example]] = [[]]
        for example in examples:
            if (len(groups[-1]) + 1) * len(example.features) > BATCH_S * 100:
                groups.append([])
            groups[-1].append(example)
        # A short last group would make a noisy step.
        if len(groups) > 1 and len(groups[-1]) < 4:
            groups[-2] += groups.pop()
        utterances.rng.shuffle(groups)
        yield from groups
