"""The proof: the reference, and what is compared with it."""

from models.parrot.parity.comparison import measure
from models.parrot.parity.exercise import exercise
from models.parrot.parity.rungs import RUNGS
from parity.ladder.contract import ModelParity

PARITY = ModelParity(rungs=RUNGS, measure=measure, exercise=exercise)
