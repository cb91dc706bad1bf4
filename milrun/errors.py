"""The errors of milrun.

MilrunError
├── PackageError          the package cannot be read: missing, truncated, corrupt, of a kind not run
├── UnsupportedOpsError   the program holds ops that milrun does not implement (all of them are listed)
├── InputError            predict was called with wrong names, shapes, dtypes or state
└── OpError               an op failed, or broke the type the program declares for it
"""


class MilrunError(Exception):
    """Base of all errors that milrun raises on purpose."""


class PackageError(MilrunError):
    """The package is missing, damaged, or of a kind that milrun does not run."""


class UnsupportedOpsError(MilrunError):
    """The program uses ops that are not in `milrun.OPS`.

    Args:
        missing: op type -> how often it occurs.
    """

    def __init__(self, missing: dict[str, int]) -> None:
        self.missing = missing
        listed = ", ".join(f"{name} (x{count})" for name, count in sorted(missing.items()))
        super().__init__(f"milrun does not implement: {listed}. See docs/adding-an-op.md")


class InputError(MilrunError):
    """A call does not fit the function's declared inputs or states."""


class OpError(MilrunError):
    """An op failed while running.

    Args:
        op_type: MIL op type, e.g. `gather`.
        op_name: name of the op's first output in the program.
        reason: what went wrong.
        inputs: one description an input, e.g. `x: float16 [1, 8, 4]`.
        scope: path of the PyTorch module that the op came from, where the package says so.
    """

    def __init__(
        self, op_type: str, op_name: str, reason: str, inputs: list[str] | None = None, scope: str = ""
    ) -> None:
        self.op_type, self.op_name, self.reason, self.scope = op_type, op_name, reason, scope
        self.inputs = inputs or []
        given = f" (inputs: {'; '.join(self.inputs)})" if self.inputs else ""
        where = f" from {scope}" if scope else ""
        super().__init__(f"op '{op_name}' ({op_type}{where}): {reason}{given}")
