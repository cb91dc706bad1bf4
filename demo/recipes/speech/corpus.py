"""What is trained on, and what never is: the banks, the human digits, the shipped clips."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from speech import bank, grammar
from speech.bank import RATE, Clip, Span
from speech.mixing import Mixer, Piece, joined, silence

UNHEARD_SPEAKER = "theo"
UNHEARD_VOICES = ("flite:awb",)
HELD_OUT_INDICES = range(5)  # recordings of the heard speakers kept for evaluation
STRING = 5  # digits put together to one utterance of the evaluation


def trained_on(clip: Clip) -> bool:
    """Say whether a synthetic clip may be trained on: neither its voice nor its text is held out."""
    return clip.voice not in UNHEARD_VOICES and not grammar.held_out(clip.words)


def mixer_from_folders(banks: Path, digits: Path, seed: int) -> Mixer:
    """Load all that may be trained on: the banks but for the unheard voices, the digits but for those held out."""
    synthetic = [clip for path in sorted(banks.glob("*.npz")) for clip in bank.load(path)]
    synthetic = [clip for clip in synthetic if clip.voice not in UNHEARD_VOICES]
    human = {
        speaker: [clip for index, clip in clips if index not in HELD_OUT_INDICES]
        for speaker, clips in bank.human_digits(digits).items()
        if speaker != UNHEARD_SPEAKER
    }
    return Mixer(synthetic, human, seed)


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


def training_facts(checkpoint: Path, banks: Path, digits: Path) -> dict[str, Any]:
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
