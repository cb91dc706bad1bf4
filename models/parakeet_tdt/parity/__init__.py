"""The proof: the reference, and what is compared with it."""

from models.parakeet_tdt.parity.comparison import measure
from models.parakeet_tdt.parity.exercise import decision_logits, exercise
from models.parakeet_tdt.parity.rungs import RUNGS
from parity.ladder.contract import ModelParity

PARITY = ModelParity(rungs=RUNGS, measure=measure, exercise=exercise, decision_logits=decision_logits)
