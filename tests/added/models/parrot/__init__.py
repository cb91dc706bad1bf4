"""Parrot: one linear layer that hears a letter in each frame of sound. It is here to be added, and removed again."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="parrot",
    package=__name__,
    task="transcription",
    architecture="ParrotForSpeech",
    default_checkpoint="zoo/parrot",
    summary="repeats what it hears, a letter a frame",
    components=("ear",),
    word_times=False,
    options={"convert": (ModelOption("frames", int, 64, "Frames of one call."),)},
)
