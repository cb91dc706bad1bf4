"""The proof: the reference, and what is compared with it."""

from models.pocket_tts.parity.comparison import measure
from models.pocket_tts.parity.exercise import exercise
from models.pocket_tts.parity.rungs import RUNGS
from parity.ladder.contract import ModelParity

PARITY = ModelParity(rungs=RUNGS, measure=measure, exercise=exercise)
