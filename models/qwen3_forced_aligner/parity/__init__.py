"""The proof: the reference, and what is compared with it."""

from models.qwen3_forced_aligner.parity.comparison import measure
from models.qwen3_forced_aligner.parity.exercise import decision_logits, exercise
from models.qwen3_forced_aligner.parity.rungs import RUNGS
from parity.ladder.contract import ModelParity

PARITY = ModelParity(rungs=RUNGS, measure=measure, exercise=exercise, decision_logits=decision_logits)
