"""What a block of `predictions()` is: the system that coremltools is told of, what goes wrong on request, counts."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

# The newest system and specification that coremltools 9.0 knows.
MACOS_VERSION = (26, 0)
SPECIFICATION_VERSION = 10

# Called with the path as it was given, the compute units by coremltools' name, and the function.
Ask = Callable[[str, str, str], str | None]


@dataclass
class Predictions:
    """What `predictions()` yields; every attribute may be changed inside the block.

    Attributes:
        macos: the version that coremltools and the binding are told of.
        refuse: asked at each load; a text is the reason why Core ML refuses it, None lets it pass.
        fail: asked at each prediction; a text is the error that it ends with.
        crash: asked at each prediction; any text kills this process with SIGKILL, as Core ML's compiler can. Try it in
            a child process, which inherits the block when it is forked.
        loads: how many models were loaded.
        compiles: how many packages were compiled, those that `MLModel` compiles to load them included.
    """

    macos: tuple[int, ...] = MACOS_VERSION
    refuse: Ask | None = None
    fail: Ask | None = None
    crash: Ask | None = None
    loads: int = 0
    compiles: int = 0

    def at_load(self, path: str, compute_units: str, function: str) -> None:
        """Refuse a load where that is asked for.

        Raises:
            RuntimeError: `refuse` gave a reason.
        """
        if self.refuse and (reason := self.refuse(path, compute_units, function)):
            raise RuntimeError(reason)

    def at_predict(self, path: str, compute_units: str, function: str) -> None:
        """Crash or fail a prediction where that is asked for.

        Raises:
            RuntimeError: `fail` gave a reason.
        """
        if self.crash and self.crash(path, compute_units, function):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail and (reason := self.fail(path, compute_units, function)):
            raise RuntimeError(reason)
