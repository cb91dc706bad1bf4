"""The inputs of a function are bound to its module's `forward` by position; the names say whether that is right."""

import inspect
from typing import TYPE_CHECKING

from toolkit.errors import RuntimeFault
from toolkit.spec import FunctionSpec

if TYPE_CHECKING:
    import torch


def check_parameters(module: "torch.nn.Module", function: FunctionSpec) -> None:
    """Compare the positional parameters of `forward` with the declared inputs, name by name and in order.

    Args:
        module: the wrapper.
        function: declares the inputs; `*states` at the end of `forward` takes all inputs that are left.

    Raises:
        RuntimeFault: they differ; the message lists both.
    """
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for p in inspect.signature(module.forward).parameters.values() if p.kind not in kinds]
    named = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    declared = [tensor.name for tensor in function.inputs]
    takes_rest = len(named) < len(parameters)
    if named != (declared[: len(named)] if takes_rest else declared):
        taken = [f"*{p.name}" if p.kind is inspect.Parameter.VAR_POSITIONAL else p.name for p in parameters]
        raise RuntimeFault(
            f"forward of {type(module).__name__} ({function.name}) takes ({', '.join(taken)}), "
            f"its export declares ({', '.join(declared)})",
            "Give the inputs in the model's export.py the names and the order of forward's parameters.",
        )
