"""Audio as it comes in real life, made of a clip: from the telephone, an MP3, quiet, silent; without ffmpeg or sox."""

import io

import numpy as np
import soundfile
import soxr

RATE = 16000


def telephone(audio):
    """8 kHz, 16 bits: above 4 kHz there is next to nothing."""
    narrow = np.round(soxr.resample(audio, RATE, 8000) * 32768).clip(-32768, 32767) / 32768
    return soxr.resample(narrow.astype(np.float32), 8000, RATE)


def from_mp3(audio):
    """Decoded from a lossy form."""
    file = io.BytesIO()
    soundfile.write(file, audio, RATE, format="MP3")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def quieter(level_db):
    """By so many decibels."""
    return lambda audio: (audio * 10 ** (level_db / 20)).astype(np.float32)


KINDS = {
    "telephone": telephone,
    "mp3": from_mp3,
    "-60 dB": quieter(-60),
    "-80 dB": quieter(-80),
    "silence": np.zeros_like,
}
