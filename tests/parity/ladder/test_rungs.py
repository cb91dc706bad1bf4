import pytest

from parity.ladder.gates import chain_gates
from parity.ladder.rungs import LadderPlan, Rung
from toolkit.spec import Gate

RUNG = Rung("wrappers", "flow {function}, {steps} steps: latent", "Flow", "wrapper flow", Gate("why"))


def test_a_name_takes_its_fields():
    assert RUNG.named(function="step", steps=8) == "flow step, 8 steps: latent"
    assert RUNG.named(function="{steps}", steps="<b>") == "flow {steps}, <b> steps: latent"
    assert RUNG.label == "flow FUNCTION, STEPS steps: latent"


@pytest.mark.parametrize("fields", [{}, {"function": "step"}, {"function": "step", "steps": 1, "form": "split"}])
def test_other_fields_are_refused(fields):
    with pytest.raises(ValueError, match="has the fields \\['function', 'steps'\\]"):
        RUNG.named(**fields)


def test_one_gate_holds_for_all_cases_or_each_has_its_own():
    chain = Rung("decode", "logits", "Head", "packages in a row", chain_gates("PSNR 75 dB", int8="PSNR 42 dB"))
    assert RUNG.gate_for("int8") is RUNG.gate
    assert [chain.gate_for(case).at_most["rel_l2"] for case in ("fp32", "fp16")] == [1e-3, 0.03]
    measured = [chain.gate_for(case).measured for case in ("fp32", "fp16", "int8", "palette4")]
    assert measured == ["", "PSNR 75 dB", "PSNR 42 dB", ""]
    with pytest.raises(KeyError):
        chain.gate_for("int4")


def test_stages_are_those_of_the_rungs():
    assert LadderPlan((RUNG,)).stages == {"wrappers"}
