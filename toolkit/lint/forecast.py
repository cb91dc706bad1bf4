"""The forecast of a bundle or a package: every rule on every function."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from milrun.errors import PackageError
from milrun.package import MODEL_SUFFIXES, open_package
from milrun.program import parse_program
from toolkit.bundle.bundle import read_manifest
from toolkit.bundle.manifest import MANIFEST
from toolkit.errors import BundleError
from toolkit.lint import convolutions, operations, programs, shapes
from toolkit.lint.rule import Rule, Severity
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

RULES: tuple[Rule, ...] = (*programs.RULES, *shapes.RULES, *operations.RULES, *convolutions.RULES)


@dataclass(frozen=True)
class Finding:
    """One place where a rule applies.

    Attributes:
        component: its name; the file's where it is no bundle's.
        function: name in the file.
        rule: with source and advice.
        detail: what was found.
        op: name of the op's first output; empty for the function as a whole.
        op_type: MIL type; empty as above.
        module: path of the PyTorch module, empty where the package does not say.
    """

    component: str
    function: str
    rule: Rule
    detail: str
    op: str = ""
    op_type: str = ""
    module: str = ""

    @property
    def severity(self) -> Severity:
        """Of its rule."""
        return self.rule.severity


@dataclass(frozen=True)
class Forecast:
    """What was looked at, and what was found.

    Attributes:
        path: bundle or package.
        target: the Mac it is for.
        functions: (component, function) -> ops that run.
        findings: in the order of components, functions and rules.
    """

    path: Path
    target: Target
    functions: dict[tuple[str, str], int]
    findings: tuple[Finding, ...]


def forecast(path: Path, target: Target) -> Forecast:
    """Apply every rule to every function.

    Args:
        path: a bundle, an `.mlpackage` or `.mlmodelc` folder, or an `.mlmodel` file.
        target: the Mac it is for.

    Raises:
        BundleError: it cannot be read.
    """
    functions: dict[tuple[str, str], int] = {}
    findings: list[Finding] = []
    for component, package in _packages(path):
        for view in _views(package):
            functions[component, view.function.name] = len(view.operations)
            findings += findings_of(component, view, target)
    return Forecast(path, target, functions, tuple(findings))


def findings_of(component: str, view: FunctionView, target: Target) -> Iterator[Finding]:
    """The findings of one function."""
    for rule in RULES:
        for hit in rule.check(view, target):
            op = hit.op
            where = (op.name, op.type, op.scope) if op is not None else ("", "", "")
            yield Finding(component, view.function.name, rule, hit.detail, *where)


def _packages(path: Path) -> Iterator[tuple[str, Path]]:
    """(component, package) of a bundle, or the one package."""
    if path.is_dir() and (path / MANIFEST).exists():
        for entry in read_manifest(path).components:
            yield from ((entry.name, path / package.file) for package in entry.packages)
    elif path.suffix in MODEL_SUFFIXES:
        yield path.stem, path
    else:
        read_manifest(path)  # says what is missing


def _views(path: Path) -> Iterator[FunctionView]:
    try:
        package = open_package(path)
        program = parse_program(package)
    except PackageError as error:
        raise BundleError(str(error), "Give a bundle that `convert` wrote, an .mlpackage or an .mlmodelc.") from error
    for _, function in sorted(program.functions.items()):
        yield FunctionView.of(package, function)
