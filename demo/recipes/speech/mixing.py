"""Utterances for training: whole synthetic sentences, synthetic sentences with human digits in them, digit strings."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from speech import grammar
from speech.bank import RATE, Clip, leveled

FADE = RATE // 200  # 5 ms at both ends of every cut


@dataclass(frozen=True)
class Piece:
    """A cut of speech, or silence where `word` is empty."""

    samples: np.ndarray
    word: str


def faded(samples: np.ndarray) -> np.ndarray:
    """Return a copy that starts and ends softly."""
    samples = samples.copy()
    length = min(FADE, len(samples) // 2)
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return samples


def silence(seconds: float) -> Piece:
    """Return digital silence."""
    return Piece(np.zeros(int(seconds * RATE), np.float32), "")


def joined(pieces: list[Piece], voice: str) -> Clip:
    """Put pieces end to end."""
    spans, at = [], 0
    for piece in pieces:
        if piece.word:
            spans.append((at / RATE, (at + len(piece.samples)) / RATE))
        at += len(piece.samples)
    samples = np.concatenate([piece.samples for piece in pieces])
    return Clip(samples, [piece.word for piece in pieces if piece.word], spans, voice)


def pieces_of(clip: Clip) -> list[Piece]:
    """Cut a clip at its word boundaries; the silences stay as pieces without a word."""
    pieces, at = [], 0
    for word, (start_s, end_s) in zip(clip.words, clip.spans, strict=True):
        start, end = max(at, int(start_s * RATE)), int(end_s * RATE)
        pieces += [Piece(clip.samples[at:start], ""), Piece(clip.samples[start:end], word)]
        at = max(at, end)
    return [*pieces, Piece(clip.samples[at:], "")]


class Mixer:
    """Draws endless training utterances from the synthetic clips and the human digits (speaker -> clips)."""

    def __init__(self, synthetic: list[Clip], human: dict[str, list[Clip]], seed: int) -> None:
        self.rng = random.Random(seed)
        self.synthetic = [clip for clip in synthetic if not grammar.held_out(clip.words)]
        self.human = {name: self._by_digit(clips) for name, clips in human.items()}
        self.cuts: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        for clip in self.synthetic:
            for piece in pieces_of(clip):
                if piece.word and len(piece.samples) > RATE // 20:
                    self.cuts[clip.voice][piece.word].append(piece.samples)
        # A voice joins the collages once it has said every word.
        self.voices = [name for name, cuts in self.cuts.items() if len(cuts) == len(grammar.WORDS)]

    @staticmethod
    def _by_digit(clips: list[Clip]) -> dict[str, list[np.ndarray]]:
        digits: dict[str, list[np.ndarray]] = defaultdict(list)
        for clip in clips:
            digits[clip.words[0]].append(clip.samples)
        return digits

    def _human(self, speaker: str, word: str) -> np.ndarray:
        samples = self.rng.choice(self.human[speaker][word])
        if self.rng.random() < 0.4:  # connected speech loses the ends of its words
            cut = len(samples) // 12
            samples = samples[self.rng.randint(0, cut) : len(samples) - self.rng.randint(0, cut)]
        return faded(samples) * 10 ** (self.rng.gauss(0, 3) / 20)

    def _gap(self) -> Piece:
        return silence(0.0 if self.rng.random() < 0.45 else self.rng.uniform(0.0, 0.3))

    def _text(self, source: Callable[[random.Random], list[str]]) -> list[str]:
        words = source(self.rng)
        while grammar.held_out(words):
            words = source(self.rng)
        return words

    def digits(self) -> Clip:
        """Return a digit string of one human speaker."""
        speaker = self.rng.choice(list(self.human))
        words = self._text(lambda rng: grammar.digit_string(rng, longest=7))
        pieces = []
        for word in words:
            pieces += [Piece(self._human(speaker, word), word), self._gap()]
        return joined(pieces, f"human:{speaker}")

    def spliced(self) -> Clip:
        """Return a synthetic sentence, most of its digits said by one human speaker."""
        clip, speaker = self.rng.choice(self.synthetic), self.rng.choice(list(self.human))
        pieces = [
            replace(piece, samples=self._human(speaker, piece.word))
            if piece.word in grammar.DIGITS and self.rng.random() < 0.8
            else piece
            for piece in pieces_of(clip)
        ]
        return joined(pieces, f"{clip.voice}+{speaker}")

    def collage(self) -> Clip:
        """Return a new sentence put together from cut words: human digits, the rest of one synthetic voice."""
        voice, speaker = self.rng.choice(self.voices), self.rng.choice(list(self.human))
        words = self._text(grammar.sentence)
        pieces = []
        for word in words:
            human = word in grammar.DIGITS and self.rng.random() < 0.7
            samples = self._human(speaker, word) if human else faded(self.rng.choice(self.cuts[voice][word]))
            pieces += [Piece(samples, word), self._gap() if self.rng.random() < 0.5 else silence(0.0)]
        return joined(pieces, f"{voice}+{speaker}")

    def draw(self) -> Clip:
        """Return one utterance with silence around it."""
        kind = self.rng.random()
        if kind < 0.3:
            clip = self.rng.choice(self.synthetic)
        else:
            clip = self.spliced() if kind < 0.5 else self.collage() if kind < 0.7 else self.digits()
        before, after = (self.rng.choice((0.02, 0.1, 0.3, 0.5)) * self.rng.random() for _ in range(2))
        spans = [(start + before, end + before) for start, end in clip.spans]
        samples = np.concatenate([silence(before).samples, leveled(clip.samples), silence(after).samples])
        return replace(clip, samples=samples, spans=spans)
