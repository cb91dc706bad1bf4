"""Options that models add to the commands: declared in `ModelInfo.options`, shown in --help, honoured or refused."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Optional

import typer

from toolkit.model import Command, ModelInfo, ModelOption


def with_model_options(
    function: Callable[..., Any], command: Command, models: Iterable[ModelInfo]
) -> Callable[..., Any]:
    """Give a command the options of its models.

    Args:
        function: a Typer command whose parameter `extra: dict[str, Any]` takes the options that were given.
        command: its name.
        models: whose options to add. One that several models declare is added once, with what each says of it; where
            there are several models, the help names those that take an option.

    Returns:
        A function with one more keyword parameter an option, for `typer.Typer.command`.
    """
    models, declared = list(models), dict[str, list[tuple[ModelInfo, ModelOption]]]()
    for model in models:
        for option in model.options.get(command, ()):
            declared.setdefault(option.name, []).append((model, option))

    @functools.wraps(function)
    def with_extra(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in declared}
        given = {n: ",".join(v) if isinstance(v, list) else v for n, v in given.items() if v not in (None, [])}
        return function(*args, **kwargs, extra=given)

    base = [p for p in inspect.signature(function).parameters.values() if p.name != "extra"]
    added = [_parameter(takers, labelled=len(models) > 1) for takers in declared.values()]
    signature = inspect.Signature(base + added)
    with_extra.__signature__ = signature  # type: ignore[attr-defined]
    with_extra.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return with_extra


def _parameter(takers: Sequence[tuple[ModelInfo, ModelOption]], *, labelled: bool) -> inspect.Parameter:
    """One parameter for all models that take it, with a sentence for each meaning."""
    option = takers[0][1]
    flag = f"--{option.name.replace('_', '-')}"
    flags = f"{flag}/--no-{option.name.replace('_', '-')}" if option.type is bool else flag
    meanings: dict[str, list[str]] = {}
    for model, meant in takers:
        meanings.setdefault(_help(meant), []).append(model.id)
    shown = [f"[{', '.join(names)}] {text}" if labelled else text for text, names in meanings.items()]
    kind: Any = list[option.type] if option.repeatable else option.type  # type: ignore[name-defined]
    annotation: Any = Annotated[Optional[kind], typer.Option(flags, help=" ".join(shown))]  # noqa: UP045
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(option: ModelOption) -> str:
    """Its sentence, the choices and the default; a choice of one says what the model cannot do."""
    if len(option.choices) == 1:
        return f"{option.help} Only {option.choices[0]}."
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    default = {True: "on", False: "off"}[option.default] if option.type is bool else option.default
    return " ".join(f"{option.help}{choices}{f' [default: {default}]' if default not in (None, '') else ''}".split())


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
        values, choices = value.split(",") if declared[name].repeatable else [value], declared[name].choices
        for unknown in (v for v in values if choices and v not in choices):
            allowed = f"one of {', '.join(choices)}" if len(choices) > 1 else f"{choices[0]} only"
            why = f". {declared[name].help}" if len(choices) == 1 else ""
            raise typer.BadParameter(f"{flag} is {allowed}, not '{unknown}'{why}")
    return {name: given.get(name, option.default) for name, option in declared.items()}
