"""The code that decides what a component computes: which modules that is, and a sha256 of each.

Files are read and parsed, never imported, so that `infer` checks a bundle without torch.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Where imports are followed, beside the house of the root itself (`models`).
SHARED_HOUSES = ("wrappers", "toolkit")
# An export imports these too, and they decide nothing that a package computes: where it runs, messages, silence, the
# bundle's own files, a check of names, the host's loops, and the search for a checkpoint. Its weights are in the
# fingerprint by content, as are the values of the options and the names of the components.
UNDECIDING = (
    "toolkit.cache",
    "toolkit.compute_units",
    "toolkit.errors",
    "toolkit.hub",
    "toolkit.listing",
    "toolkit.mac_files",
    "toolkit.options",
    "toolkit.quiet",
    "toolkit.bundle",
    "toolkit.loops",
    "toolkit.export.binding",
    "toolkit.export.checkpoint",
    "toolkit.export.layout",
    "toolkit.export.pretrained",
    "toolkit.export.source",
    "toolkit.export.tensors",
    "toolkit.export.weights",
)

FindModule = Callable[[str], Path | None]
"""The file of a module by its full name, None where there is none."""


def find_module(name: str) -> Path | None:
    """The file of a module, found without importing it or the packages around it."""
    house, *parts = name.split(".")
    if not all(part.isidentifier() for part in (house, *parts)):
        return None
    try:
        spec = importlib.util.find_spec(house)
    except ValueError:  # a module that was not imported in the ordinary way, such as __main__
        return None
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next((file for folder in folders if (file := module_below(Path(folder), parts))), None)


def module_below(folder: Path, parts: Iterable[str]) -> Path | None:
    """The file of the module whose name, below the package in `folder`, has these parts."""
    path = Path(folder, *parts)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def source_digests(roots: Iterable[str], find: FindModule = find_module) -> dict[str, str]:
    """Every module that the roots import, and its sha256, in alphabetical order.

    Imports are followed into the roots' own houses, wrappers/ and toolkit/, those inside functions too, but for
    `UNDECIDING` and for what only the type checker reads. The `__init__` of a package counts where a name is taken
    from it: a model's summary and options decide nothing, since the values of the options are in the fingerprint.

    Args:
        roots: full names, such as `models.parakeet_tdt.export`.
        find: finds the file of a module.

    Returns:
        Module -> sha256 of its syntax tree without docstrings: comments, layout and the version of Python change
        nothing.

    Raises:
        ModuleNotFoundError: there is no file of a root.
    """
    roots = tuple(roots)
    houses = {root.split(".")[0] for root in roots}.union(SHARED_HOUSES)
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        if (file := find(module)) is None:
            raise ModuleNotFoundError(f"no file of the module {module}", name=module)
        found[module] = _digest(file)
        waiting += [name for name in _imports(file, module, houses, find) if not _within(name, UNDECIDING)]
    return dict(sorted(found.items()))


def changed_sources(recorded: Mapping[str, str], find: FindModule = find_module) -> list[str]:
    """The recorded modules that are no longer there, or have another sha256.

    A module that is imported since then shows in the module that imports it.
    """
    files = {module: find(module) for module in recorded}
    return [module for module, file in files.items() if file is None or _digest(file) != recorded[module]]


def _imports(file: Path, module: str, houses: Iterable[str], find: FindModule) -> Iterator[str]:
    """Full names of the modules of ours that a module imports."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _run_nodes(_tree(file)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if _within(a.name, houses) and find(a.name))
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            if _within(base, houses):
                names = (name if find(name := f"{base}.{a.name}") else base for a in node.names)
                yield from (name for name in names if find(name))


def _base(node: ast.ImportFrom, package: str) -> str:
    """The full name of what stands between `from` and `import`."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _run_nodes(child)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(_content(_tree(file)).encode()).hexdigest()


def _content(value: Any) -> str:
    """A syntax tree as text, the same in every version of Python: fields and parts of f-strings that are empty, of
    which newer versions have more, are left out."""
    if isinstance(value, ast.JoinedStr):
        return f"JoinedStr({','.join(_content(part) for part in value.values if not _is_empty(part))})"
    if isinstance(value, ast.AST):
        fields = ((name, field) for name, field in ast.iter_fields(value) if field is not None and field != [])
        return f"{type(value).__name__}({','.join(f'{name}={_content(field)}' for name, field in fields)})"
    if isinstance(value, list):
        return f"[{','.join(_content(item) for item in value if not _is_docstring(item))}]"
    return repr(value)


def _is_docstring(node: Any) -> bool:
    """Whether this is a string that stands as a statement, which nothing is computed from."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_empty(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and part.value == ""
