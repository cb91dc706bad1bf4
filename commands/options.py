"""Options that models add to the commands: declared in `ModelInfo.options`, shown in --help, honoured or refused."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models import find_model
from toolkit.model import Command, ModelInfo, ModelOption

UnitsOption = Annotated[
    str | None,
    typer.Option(
        help="Core ML only: auto, ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE, or COMPONENT=UNITS, comma-separated "
        "(default: $SPEECH_COREML_COMPUTE_UNITS, else each component's own).",
        metavar="UNITS",
    ),
]
Takers = Sequence[tuple[ModelInfo, ModelOption]]


def with_model_options(
    function: Callable[..., Any], command: Command, models: Iterable[ModelInfo]
) -> Callable[..., Any]:
    """Give a command the options of its models.

    Args:
        function: a Typer command whose parameter `extra: dict[str, Any]` takes the options that were given.
        command: its name.
        models: whose options to add. An option that several models declare is added once, with each model's sentence.
            In the help, the options of a model stand in a panel of its name.

    Returns:
        A function with one more keyword parameter per option, for `typer.Typer.command`.

    Raises:
        TypeError: two models declare one option with different types.
    """
    models, declared = list(models), dict[str, list[tuple[ModelInfo, ModelOption]]]()
    for model in models:
        for option in model.options.get(command, ()):
            declared.setdefault(option.name, []).append((model, option))
    for takers in declared.values():
        _check_types(command, takers)

    @functools.wraps(function)
    def with_extra(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in declared}
        given = {n: ",".join(v) if isinstance(v, list) else v for n, v in given.items() if v not in (None, [])}
        return function(*args, **kwargs, extra=given)

    base = [p for p in inspect.signature(function).parameters.values() if p.name != "extra"]
    added = [_parameter(takers) for takers in declared.values()]
    signature = inspect.Signature(base + added)
    with_extra.__signature__ = signature  # type: ignore[attr-defined]
    with_extra.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return with_extra


def _check_types(command: str, takers: Takers) -> None:
    """One flag of one command has one type, or the values of one model would be read as another's."""
    (first, meant), *others = takers
    for model, option in others:
        if (option.type, option.repeatable) != (meant.type, meant.repeatable):
            kinds = [f"{m.id}: {_kind(o)}" for m, o in ((first, meant), (model, option))]
            raise TypeError(f"{command} {_flag(option.name)} has two types ({', '.join(kinds)}): give it another name")


def _kind(option: ModelOption) -> str:
    return f"{option.type.__name__}{', repeatable' if option.repeatable else ''}"


def _parameter(takers: Takers) -> inspect.Parameter:
    """One parameter for all models that take it, with a sentence for each meaning."""
    option = takers[0][1]
    flag = _flag(option.name)
    flags = f"{flag}/--no-{flag[2:]}" if option.type is bool else flag
    meanings: dict[str, list[str]] = {}
    for model, meant in takers:
        meanings.setdefault(_help(meant), []).append(model.id)
    several = len(meanings) > 1
    shown = [f"{', '.join(names)}: {text}" if several else text for text, names in meanings.items()]
    panel = ", ".join(model.id for model, _ in takers)
    annotation: Any = Annotated[
        _annotation(takers) | None, typer.Option(flags, help=" ".join(shown), rich_help_panel=panel)
    ]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _annotation(takers: Takers) -> Any:
    option = takers[0][1]
    if option.repeatable:
        return list[option.type]  # type: ignore[name-defined]
    alike = {meant.choices for _, meant in takers} == {option.choices}
    return Literal[option.choices] if option.choices and alike else option.type


def _help(option: ModelOption) -> str:
    """Its sentence, the choices where Typer does not show them, and the default."""
    choices = f" One of {', '.join(option.choices)}." if option.choices and option.repeatable else ""
    default = {True: "on", False: "off"}[option.default] if option.type is bool else option.default
    shown = f" (default: {default})" if default not in (None, "") else ""
    return " ".join(f"{option.help}{choices}{shown}".split())


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def resolve_options(model: ModelInfo, command: Command, given: dict[str, Any]) -> dict[str, Any]:
    """The model's options for a command: the values given, else the defaults.

    Raises:
        typer.BadParameter: an option that this model does not have, or a value outside its choices.
    """
    declared = {option.name: option for option in model.options.get(command, ())}
    for name, value in given.items():
        if name not in declared:
            raise typer.BadParameter(f"{model.id} has no option {_flag(name)}")
        values, choices = value.split(",") if declared[name].repeatable else [value], declared[name].choices
        for unknown in (v for v in values if choices and v not in choices):
            raise typer.BadParameter(f"{_flag(name)} is one of {', '.join(choices)}, not '{unknown}'")
    return {name: given.get(name, option.default) for name, option in declared.items()}


def model_of_bundle(name: str | None, bundle: Path) -> ModelInfo:
    """The model that a bundle was made from.

    Args:
        name: the model asked for, which must be that one; None for any.
        bundle: folder.

    Raises:
        typer.BadParameter: the bundle is of another model than the one asked for.
        BundleError: it is not a bundle.
    """
    from toolkit.bundle.bundle import read_manifest  # brings pydantic, which `--help` does not need

    asked = find_model(name) if name else None
    found = find_model(read_manifest(bundle).model)
    if asked not in (None, found):
        raise typer.BadParameter(f"{bundle} is a bundle of {found.id}, not of {name}")
    return found
