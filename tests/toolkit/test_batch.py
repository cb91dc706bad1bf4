"""Several files, one after the other."""

import types

import numpy as np
import pytest

from toolkit.batch import Listener
from toolkit.errors import AudioError, Interrupted
from toolkit.output.result import Failure, Result
from toolkit.transcript import Transcript

PIPELINE = types.SimpleNamespace(sample_rate=4, load=lambda samples: None)
MODEL = types.SimpleNamespace(id="m", task="transcription")


def outcomes(*errors):
    """The outcomes of files that end with these errors; None is a file without."""
    queue = list(errors)

    def call(samples, progress):
        if error := queue.pop(0):
            raise error
        return Transcript("hi", len(samples) / 4, (), ())

    listener = Listener(PIPELINE, call, MODEL, "portable", read=lambda source, rate: np.zeros(2 * rate, np.float32))
    return listener.outcomes([f"{index}.wav" for index in range(len(errors))])


def test_an_error_stops_no_other_file():
    fault = ValueError("ours")
    first, second, third, fourth = outcomes(None, AudioError("too short", "Speak."), fault, None)
    assert isinstance(first, Result)
    assert (first.file, first.transcript.duration_s) == ("0.wav", 2.0)
    assert (second.message, second.exit_code) == ("1.wav: too short. Speak.", 2)
    assert third == Failure("2.wav", fault)
    assert (third.exit_code, fourth.file) == (4, "3.wav")


def test_an_outcome_is_there_before_the_next_file_begins():
    made = outcomes(None, KeyboardInterrupt())
    assert isinstance(next(made), Result)
    with pytest.raises(KeyboardInterrupt):
        next(made)


def test_an_interruption_ends_it():
    with pytest.raises(Interrupted):
        list(outcomes(Interrupted("stopped", "Go on."), None))
