"""Compiled models of a bundle: compiled once for a package and a system, and kept beside the bundle.

Core ML specialises a compiled model for the device under the path of its folder, so that the next start finds both.
A package's folder is `<bundle>/.compiled/<package>-<its sha256>-<system>/`; where the bundle cannot be written, it is
in the user's cache. What was tried on which compute units is remembered in it.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import PackageEntry
from toolkit.cache import cache_folder, made_once
from toolkit.spec import ComputeUnits

FOLDER = ".compiled"
_COMPLETE, _TRIED = "complete.json", "tried.json"
_MADE = "ok"

Compile = Callable[[Path, Path], None]
"""Compiles a package (first) into a folder `X.mlmodelc` (second), which does not exist."""


@dataclass(frozen=True)
class CompiledModel:
    """A compiled package on this machine.

    Attributes:
        path: `X.mlmodelc`.
        fresh: whether it was compiled now.
    """

    path: Path
    fresh: bool

    def tried(self, function: str, units: ComputeUnits) -> str | None:
        """What became of a function on these units: empty for well, a reason for badly, None for never tried."""
        found = self._record().get(f"{function} {units}")
        return None if found is None else "" if found == _MADE else found

    def remember(self, function: str, units: ComputeUnits, reason: str) -> None:
        """Keep what became of a function on these units; an empty reason for well."""
        record = self._record() | {f"{function} {units}": reason or _MADE}
        fresh = self.path.parent / f"{_TRIED}.{os.getpid()}"
        fresh.write_text(json.dumps(record, indent=1), encoding="utf-8")
        fresh.replace(self.path.parent / _TRIED)

    def _record(self) -> dict[str, str]:
        try:
            record = json.loads((self.path.parent / _TRIED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


class CompiledModels:
    """The compiled packages of one bundle.

    Args:
        bundle: an opened bundle.
        system: what a compiled model depends on beside its package, such as the build of macOS.
        compile_package: makes one.
    """

    def __init__(self, bundle: Bundle, system: str, compile_package: Compile) -> None:
        self._bundle, self._system, self._compile = bundle, system, compile_package

    def get(self, package: PackageEntry, before: Callable[[], None] = lambda: None) -> CompiledModel:
        """A package, compiled: from the cache, or made now in place of what is stale, half-written or damaged.

        Args:
            package: of the bundle.
            before: called where it has to be made.
        """
        for root in self._roots():
            folder = self._folder(root, package)
            if _is_whole(folder):
                return CompiledModel(_model_in(folder, package), fresh=False)
        before()
        return self._made(package)

    def _made(self, package: PackageEntry) -> CompiledModel:
        root = next(root for root in self._roots() if _writable(root))
        folder = self._folder(root, package)

        def make(fresh: Path) -> None:
            self._compile(self._bundle.path / package.file, _model_in(fresh, package))
            (fresh / _COMPLETE).write_text(json.dumps({"package": package.file}), encoding="utf-8")
            self._drop_stale(root, package, folder)

        return CompiledModel(_model_in(folder, package), fresh=made_once(folder, _is_whole, make))

    def _roots(self) -> tuple[Path, Path]:
        return self._bundle.path / FOLDER, cache_folder("compiled")

    def _folder(self, root: Path, package: PackageEntry) -> Path:
        return root / f"{Path(package.file).stem}-{package.sha256[:16]}-{self._system}"

    def _drop_stale(self, root: Path, package: PackageEntry, kept: Path) -> None:
        """Compiled models of the same package as it was before, or of another system; only beside the bundle.

        `kept` is the present one's place: another process may have put it there and be reading it.
        """
        if root.name != FOLDER:
            return
        for folder in root.iterdir():
            if folder != kept and not folder.name.startswith(".") and _package_of(folder) in (package.file, None):
                shutil.rmtree(folder, ignore_errors=True)


def _model_in(folder: Path, package: PackageEntry) -> Path:
    return folder / f"{Path(package.file).stem}.mlmodelc"


def _is_whole(folder: Path) -> bool:
    name = _package_of(folder)
    return name is not None and (folder / f"{Path(name).stem}.mlmodelc").is_dir()


def _package_of(folder: Path) -> str | None:
    """The package that a finished folder was made of; None for one that is half-written."""
    try:
        return str(json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))["package"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _writable(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(root, os.W_OK)
