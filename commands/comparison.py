"""`compare`: the ladder, or the op-level debugger in its place."""

from typing import Any

from commands.compare_request import CompareRequest, chosen_models, options_of
from commands.comparing import compare_models
from commands.localising import localise

__all__ = ["CompareRequest", "chosen_models", "options_of", "run_comparison"]


def run_comparison(request: CompareRequest, layers: str | None, *, ranges: bool, given: dict[str, Any]) -> None:
    """Do what `compare` was asked for; `given` are the options of models that were given on the command line."""
    if layers is not None or ranges:
        localise(request, layers, ranges=ranges, given=given)
    else:
        compare_models(request)
