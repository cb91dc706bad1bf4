"""Real audio of any length."""

from functools import cache

import numpy as np

from toolkit.corpora.open import open_corpus

RATE = 16000


@cache
def _demo_audio():
    return np.concatenate([example.samples(RATE) for example in open_corpus("demo")])


def clip(seconds):
    """The demo clips one after the other, again and again, cut to a length."""
    return np.resize(_demo_audio(), round(seconds * RATE))
