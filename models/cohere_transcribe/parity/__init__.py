"""The proof: the reference, and what is compared with it."""

from models.cohere_transcribe.parity.comparison import measure
from models.cohere_transcribe.parity.exercise import exercise
from models.cohere_transcribe.parity.rungs import RUNGS
from parity.ladder.contract import ModelParity

PARITY = ModelParity(rungs=RUNGS, measure=measure, exercise=exercise)
