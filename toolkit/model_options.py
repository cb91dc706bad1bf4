"""Options that models add to the commands: declared in `ModelInfo.options`, shown in --help, honoured or refused."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Optional

import typer

from toolkit.model import Command, ModelInfo, ModelOption


def with_model_options(function: Callable[..., Any], options: Iterable[ModelOption]) -> Callable[..., Any]:
    """Give a command the options of its models.

    Args:
        function: a Typer command whose parameter `extra: dict[str, Any]` takes the options that were given.
        options: what to add; an option that two models share is added once.

    Returns:
        A function with one more keyword parameter an option, for `typer.Typer.command`.
    """
    unique = {option.name: option for option in options}

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        given = {name: value for name in unique if (value := kwargs.pop(name)) is not None}
        return function(*args, **kwargs, extra=given)

    base = [p for p in inspect.signature(function).parameters.values() if p.name != "extra"]
    added = [_parameter(option) for option in unique.values()]
    signature = inspect.Signature(base + added)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _parameter(option: ModelOption) -> inspect.Parameter:
    flag = f"--{option.name.replace('_', '-')}"
    flags = f"{flag}/--no-{option.name.replace('_', '-')}" if option.type is bool else flag
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    default = f"  [default: {option.default}]" if option.default != "" else ""
    shown = f"{option.help}{choices}{default}"
    annotation: Any = Annotated[Optional[option.type], typer.Option(flags, help=shown)]  # noqa: UP045
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def resolve_options(model: ModelInfo, command: Command, given: dict[str, Any]) -> dict[str, Any]:
    """The model's options for a command: what was given, else the defaults.

    Raises:
        typer.BadParameter: an option that this model does not have, or a value outside its choices.
    """
    declared = {option.name: option for option in model.options.get(command, ())}
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in declared:
            raise typer.BadParameter(f"{model.id} has no option {flag}")
        if declared[name].choices and value not in declared[name].choices:
            raise typer.BadParameter(f"{flag} is one of {', '.join(declared[name].choices)}, not '{value}'")
    return {name: given.get(name, option.default) for name, option in declared.items()}
