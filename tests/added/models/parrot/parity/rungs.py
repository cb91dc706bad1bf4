"""The rungs of Parrot."""

from parity.ladder.gates import chain_gates, mel_gate, wrapper_gate
from parity.ladder.rungs import Rung
from toolkit.spec import Gate

FRAMES = Rung("features", "frames", "NumPy", "the pipeline", mel_gate("max abs 0"))
SCORES = Rung("wrappers", "ear: scores", "NumPy", "wrapper ear", wrapper_gate(""))
CHAIN = Rung("decode", "scores", "NumPy", "the pipeline", chain_gates(""))
NEAR_TIES = Gate("float16 turns a letter only at a near tie", {"wrong_percent": 2.0})
LETTERS = Rung("task", "letters", "NumPy", "the pipeline", NEAR_TIES)
RUNGS = (FRAMES, SCORES, CHAIN, LETTERS)
