"""Training utterances in two languages: short, long, silent, and now and then with the other language's token."""

import random
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from cohere_transcribe.mandarin import HAN, UNHEARD_VARIANTS, digit_string
from cohere_transcribe.text import DIGITS, translated, written
from speech import grammar
from speech.bank import RATE, Clip, leveled
from speech.mixing import Mixer, Piece, faded, joined, pieces_of, silence

UNHEARD_VOICES = tuple(f"espeak:cmn+{variant}" for variant in UNHEARD_VARIANTS)
LONG_S = (6.0, 15.0)


@dataclass(frozen=True)
class Utterance:
    """Sound, the words said, and the words to be written under the prompt of `language`."""

    clip: Clip
    words: list[str]
    language: str
    punctuation: bool

    @property
    def text(self) -> str:
        """The transcript."""
        return written(self.words, self.language, self.punctuation)


class Mandarin:
    """Draws Mandarin digit strings, as spoken or put together from the cut digits of one voice."""

    def __init__(self, clips: list[Clip], rng: random.Random) -> None:
        self.rng = rng
        self.clips = [clip for clip in clips if clip.voice not in UNHEARD_VOICES and not grammar.held_out(clip.words)]
        self.cuts: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        for clip in self.clips:
            for piece in pieces_of(clip):
                if piece.word and len(piece.samples) > RATE // 20:
                    self.cuts[clip.voice][piece.word].append(piece.samples)

    def _collage(self) -> Clip:
        voice = self.rng.choice([name for name, cuts in self.cuts.items() if len(cuts) == len(HAN)])
        words = digit_string(self.rng)
        while grammar.held_out(words):
            words = digit_string(self.rng)
        gap_s, pieces = self.rng.choice((0.0, 0.1, 0.3)), []
        for word in words:
            samples = faded(self.rng.choice(self.cuts[voice][word]))
            pieces += [Piece(samples, word), silence(self.rng.uniform(0, gap_s))]
        return joined(pieces, voice)

    def draw(self) -> Clip:
        """Return one utterance with silence around it."""
        clip = self._collage() if self.rng.random() < 0.5 else self.rng.choice(self.clips)
        before, after = (self.rng.choice((0.02, 0.1, 0.3, 0.5)) * self.rng.random() for _ in range(2))
        spans = [(start + before, end + before) for start, end in clip.spans]
        samples = np.concatenate([silence(before).samples, leveled(clip.samples), silence(after).samples])
        return replace(clip, samples=samples, spans=spans)


def chained(clips: list[Clip], gaps_s: list[float]) -> Clip:
    """Put clips one after the other, with a gap behind each."""
    samples, words, spans, at = [], [], [], 0
    for clip, gap_s in zip(clips, gaps_s, strict=True):
        spans += [(start + at / RATE, end + at / RATE) for start, end in clip.spans]
        words += clip.words
        samples += [clip.samples, silence(gap_s).samples]
        at += len(clip.samples) + len(samples[-1])
    return Clip(np.concatenate(samples), words, spans, clips[0].voice)


class Utterances:
    """Draws endless training utterances."""

    def __init__(self, english: Mixer, mandarin: list[Clip], seed: int, long_share: float = 0.12) -> None:
        self.rng, self.long_share = random.Random(seed), long_share
        self.english, self.mandarin = english, Mandarin(mandarin, self.rng)

    def _clip(self, language: str) -> Clip:
        return self.english.draw() if language == "en" else self.mandarin.draw()

    def _long(self, language: str) -> Clip:
        wanted, clips, gaps_s = self.rng.uniform(*LONG_S), [], []
        while sum(len(clip.samples) / RATE for clip in clips) + sum(gaps_s) < wanted - 1.0:
            clips.append(self._clip(language))
            gaps_s.append(self.rng.choice((0.0, 0.2, 0.8)) * self.rng.random())
        return chained(clips, gaps_s)

    def _nothing(self) -> Clip:
        """Return a stretch without speech: silence, a hum or clicks (the augmenter adds its noise)."""
        samples = np.zeros(int(self.rng.uniform(0.4, 6.0) * RATE), np.float32)
        kind = self.rng.random()
        if kind < 0.3:
            times = np.arange(len(samples)) / RATE
            samples += np.float32(0.02 * self.rng.random()) * np.sin(2 * np.pi * self.rng.uniform(50, 800) * times)
        elif kind < 0.5:
            for _ in range(self.rng.randint(1, 4)):
                samples[self.rng.randrange(len(samples))] = self.rng.uniform(-0.3, 0.3)
        return Clip(samples.astype(np.float32), [], [], "nothing")

    def draw(self) -> Utterance:
        """Return one utterance and how it is to be written."""
        language = "en" if self.rng.random() < 0.7 else "zh"
        kind, punctuation = self.rng.random(), self.rng.random() < 0.6
        if kind < 0.03:
            return Utterance(self._nothing(), [], language, punctuation)
        clip = self._long(language) if kind < 0.03 + self.long_share else self._clip(language)
        words = clip.words
        # The token, not the sound, decides the script: some digit strings are written in the other language.
        if all(word in DIGITS[language] for word in words) and self.rng.random() < 0.2:
            other = translated(words, language)
            if not grammar.held_out(other):
                return Utterance(clip, other, "zh" if language == "en" else "en", punctuation)
        return Utterance(clip, words, language, punctuation)
