"""Faults of a checkpoint's weights: none may become a bundle, whose gates would all pass on random numbers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import damaged_checkpoints as damaged

CODEC = "audio_tokenizer"


@dataclass(frozen=True)
class LoadingFault:
    """One thing that is wrong with the weights of one model.

    Attributes:
        name: what is wrong, in words.
        model: whose demo checkpoint is copied.
        plant: damages the copy.
        shows: what the message says.
        part: folder within the checkpoint whose weights they are; empty is the model itself.
    """

    name: str
    model: str
    plant: Callable[[Path], None]
    shows: str
    part: str = ""


def faults(model: str, damages: Iterable[damaged.Damage], part: str = "", suffix: str = "") -> Iterator[LoadingFault]:
    """The faults that damages are in one model."""
    for damage in damages:
        shows = ", ".join(word for word in damage.words if word != "{tensor}")
        yield LoadingFault(f"{damage.name}{suffix}", model, damage.apply, shows, part)


FAULTS = (
    *(f for model, sizes in damaged.OF_SIZES.items() for f in faults(model, (*damaged.OF_WEIGHTS, *sizes))),
    *faults("pocket-tts", damaged.OF_WEIGHTS, CODEC, ", of the codec"),
)
