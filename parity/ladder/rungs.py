"""Rungs: what the ladder compares with what, and within which gate, declared as data.

Those of a model are `RUNGS` of its `rungs` module, in the ladder's order; those of
every model are `parity.ladder.shared_rungs.SHARED`. docs/ladder.md is made from them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from toolkit.spec import Gate

Gates = Gate | Mapping[str, Gate] | None


@dataclass(frozen=True)
class Rung:
    """One output of one stage.

    Attributes:
        stage: of the ladder.
        output: name of its row, with `{fields}` where it depends on a function, a form or a number of steps.
        reference: what makes the reference value.
        candidate: what of ours is compared with it.
        gate: the limits; or by what runs, `fp16`, `fp32`, or the compression of its weights; None only informs.
        needs: components without which it cannot be compared.
        only: a condition in words under which alone it is compared; empty where it always is.
    """

    stage: str
    output: str
    reference: str
    candidate: str
    gate: Gates
    needs: tuple[str, ...] = ()
    only: str = ""

    def gate_for(self, case: str) -> Gate | None:
        """The gate that holds for what runs: a precision, or a compression."""
        return self.gate[case] if isinstance(self.gate, Mapping) else self.gate

    def named(self, **fields: object) -> str:
        """The row's name.

        Raises:
            ValueError: other fields than those of `output`.
        """
        if set(fields) != (wanted := self._fields()):
            raise ValueError(f"rung '{self.output}' has the fields {sorted(wanted)}, not {sorted(fields)}")
        return self.output.format(**fields)

    @property
    def label(self) -> str:
        """The name with its fields in capitals, as in `encoder FUNCTION: encoder`."""
        return self.output.format(**{name: name.upper() for name in self._fields()})

    def _fields(self) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(self.output) if name}


@dataclass(frozen=True)
class LadderPlan:
    """The rungs of a ladder, and what is under test on them.

    Attributes:
        rungs: in the ladder's order.
        case: precision, or compression, of what runs in the stages decode and task.
        planned: components that the model has wrappers of.
        held: components that the bundle has packages of.
    """

    rungs: Sequence[Rung]
    case: str = "fp32"
    planned: Collection[str] = ()
    held: Collection[str] = ()

    @property
    def stages(self) -> set[str]:
        """The stages that have a rung."""
        return {rung.stage for rung in self.rungs}

    def gate(self, rung: Rung) -> Gate | None:
        """The gate of a rung for what runs.

        Raises:
            ValueError: it is not declared.
        """
        if rung not in self.rungs:
            raise ValueError(f"rung '{rung.output}' of the stage {rung.stage} is not declared")
        return rung.gate_for(self.case)

    def missing(self, stage: str, compared: Collection[str]) -> dict[str, str]:
        """Rungs of a stage that nothing was compared for: the name shown -> why.

        Args:
            stage: that ran.
            compared: `Rung.output` of those that were. Rungs of one name take each other's place.
        """
        return {
            rung.label: self._why(rung) for rung in self.rungs if rung.stage == stage and rung.output not in compared
        }

    def _why(self, rung: Rung) -> str:
        there = self.planned if rung.stage == "wrappers" else self.held
        if absent := [name for name in rung.needs if name not in there]:
            return f"nothing was compared: the bundle holds no {', '.join(absent)}"
        return "nothing was compared" + (f": only {rung.only}" if rung.only else "")
