"""Options that models add to the commands: declared in `ModelInfo.options`, shown in --help, honoured or refused."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any, Optional

import typer

from toolkit.model import Command, ModelInfo, ModelOption


def with_model_options(function: Callable[..., Any], options: Iterable[ModelOption]) -> Callable[..., Any]:
    """Give a command the options of its models.

    Args:
        function: a Typer command whose parameter `extra: dict[str, Any]` takes the options that were given.
        options: what to add; an option that several models share is added once, with the help of each.

    Returns:
        A function with one more keyword parameter an option, for `typer.Typer.command`.
    """
    unique: dict[str, ModelOption] = {}
    for option in options:
        unique[option.name] = _merged(unique.get(option.name, option), option)

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in unique}
        given = {n: ",".join(v) if isinstance(v, list) else v for n, v in given.items() if v not in (None, [])}
        return function(*args, **kwargs, extra=given)

    base = [p for p in inspect.signature(function).parameters.values() if p.name != "extra"]
    added = [_parameter(option) for option in unique.values()]
    signature = inspect.Signature(base + added)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _merged(known: ModelOption, other: ModelOption) -> ModelOption:
    """One option for two models that both have it: each one's help, and a default only where they agree."""
    return replace(
        known,
        help=known.help if other.help in known.help else f"{known.help} {other.help}",
        default=known.default if known.default == other.default else "",
        choices=known.choices if known.choices == other.choices else (),
    )


def _parameter(option: ModelOption) -> inspect.Parameter:
    flag = f"--{option.name.replace('_', '-')}"
    flags = f"{flag}/--no-{option.name.replace('_', '-')}" if option.type is bool else flag
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    default = f"  [default: {option.default}]" if option.default not in (None, "") else ""
    shown = f"{option.help}{choices}{default}"
    kind: Any = list[option.type] if option.repeatable else option.type  # type: ignore[name-defined]
    annotation: Any = Annotated[Optional[kind], typer.Option(flags, help=shown)]  # noqa: UP045
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
        values = value.split(",") if declared[name].repeatable else [value]
        for unknown in (v for v in values if declared[name].choices and v not in declared[name].choices):
            raise typer.BadParameter(f"{flag} is one of {', '.join(declared[name].choices)}, not '{unknown}'")
    return {name: given.get(name, option.default) for name, option in declared.items()}
