"""Writing a bundle: a staging folder beside the output, whole components in it, one rename at the end.

A killed or interrupted run leaves `<output>.partial` with the components that were finished; the same command takes
them up again. A folder under the output's own name is always whole. One process at a time writes an output.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from toolkit.bundle.checksums import sha256_of_path
from toolkit.bundle.manifest import MANIFEST, AssetEntry, ComponentEntry, Manifest
from toolkit.bundle.place import place_of, staging_of, take_place, tidy
from toolkit.errors import OutputError
from toolkit.lock import Report, one_writer
from toolkit.mac_files import colliding, is_clutter

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
    errno.EXDEV: "what is there cannot be renamed (it may belong to a container's image)",
    errno.ENOTEMPTY: "a file of the former bundle is still in use",
}


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into an OutputError."""
    try:
        yield
    except OSError as error:
        number = _errno(error)
        if number not in _DISK_ERRORS:
            raise
        raise _refusal(path, _DISK_ERRORS[number]) from error
    except RuntimeError as error:  # coremltools' weight writer (C++) reports a full disk so
        if "FileWriter" not in str(error) and "No space left" not in str(error):
            raise
        raise _refusal(path, f"the weights could not be written ({error})") from error


def _errno(error: OSError) -> int | None:
    """The errno; that of the first file where `shutil.copytree` gathered its errors as text."""
    first = re.search(r"\[Errno (\d+)\]", str(error)) if isinstance(error, shutil.Error) else None
    return int(first.group(1)) if first else error.errno


def _refusal(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"cannot write {path}: {reason}", "Give --output, and TMPDIR, a writable disk with enough space."
    )


@contextlib.contextmanager
def staging_for(output: Path, report: Report) -> Iterator["Staging"]:
    """The staging folder of an output, for this process alone.

    Args:
        output: where the bundle will stand.
        report: told if another process is waited for.

    Raises:
        OutputError: the output is taken by something that is not a bundle, or cannot be written.
    """
    place = place_of(output)
    with contextlib.ExitStack() as held:
        with writing_to(output):
            place.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(one_writer(place, report))
            tidy(place)
        staging = Staging(place)
        try:
            yield staging
        finally:
            staging.abandon()


class Staging:
    """The folder in which a bundle is put together; its writer holds the output's lock (`staging_for`).

    Args:
        output: where the bundle will stand.

    Raises:
        OutputError: the output is taken by something that is not a bundle, or cannot be written.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = staging_of(output)
        if output.exists() and not (output / MANIFEST).is_file() and not _is_empty_folder(output):
            raise OutputError(f"{output} exists and is not a bundle", "Give --output another folder.")
        with writing_to(output):
            self.path.mkdir(parents=True, exist_ok=True)

    def discard_all(self) -> None:
        """Start from nothing."""
        with writing_to(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True, exist_ok=True)

    def finished(self, name: str) -> ComponentEntry | None:
        """What a component's record says, if its packages stand here or in the present output and are undamaged."""
        here = self._record(name) or _manifest_entry(self.path, name)  # the latter of a run that died while publishing
        if here is not None and _undamaged(here, self.path):
            return here
        there = _manifest_entry(self.output, name)
        return self._take_from_output(there) if there is not None and _undamaged(there, self.output) else None

    def _record(self, name: str) -> ComponentEntry | None:
        try:
            return ComponentEntry.model_validate_json((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None

    def _take_from_output(self, entry: ComponentEntry) -> ComponentEntry:
        with writing_to(self.path):
            for package in entry.packages:
                target = self.path / package.file
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(self.output / package.file, target, copy_function=link_or_copy)
        self.add(entry)
        return entry

    @contextlib.contextmanager
    def component_folder(self, name: str) -> Iterator[Path]:
        """An empty folder for one component's packages; they move into the staging folder when the block ends well."""
        folder = self.path / f".{name}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with writing_to(self.path):
                folder.mkdir()
                yield folder
                for package in sorted(folder.glob("*.mlpackage")):
                    target = self.path / package.name
                    shutil.rmtree(target, ignore_errors=True)
                    package.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, entry: ComponentEntry) -> None:
        """Record a component as whole."""
        with writing_to(self.path):
            (self.path / f"{entry.name}.json").write_text(entry.model_dump_json(), encoding="utf-8")

    def add_assets(self, assets: Mapping[str, bytes]) -> tuple[AssetEntry, ...]:
        """Write the host files.

        Raises:
            OutputError: two names are one file on a Mac; or the disk refuses.
        """
        if pair := colliding(assets):
            raise OutputError(
                f"{pair[0]} and {pair[1]} would be one file on a Mac, whose disks ignore case",
                "Rename one of them in the checkpoint.",
            )
        with writing_to(self.path):
            for name, content in assets.items():
                (self.path / name).write_bytes(content)
        return tuple(AssetEntry(file=name, sha256=sha256_of_path(self.path / name)) for name in assets)

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest, drop what it does not name and put the bundle in its place.

        A bundle that is there already, the same and whole, stays: it may be in use, and have compiled models in it.
        """
        if _same_and_whole(self.output, manifest):
            shutil.rmtree(self.path, ignore_errors=True)
            return
        wanted = {*manifest.files, MANIFEST}
        with writing_to(self.output):
            (self.path / MANIFEST).write_text(manifest.text, encoding="utf-8")
            for item in self.path.iterdir():
                if item.name not in wanted:
                    _remove(item)
            take_place(self.path, self.output)

    def abandon(self) -> None:
        """After a failure: keep the staging folder only if it holds a finished component."""
        if not self.worth_keeping:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def worth_keeping(self) -> bool:
        """Whether it holds a finished component."""
        return any(self.path.glob("*.json"))


def _manifest_entry(folder: Path, name: str) -> ComponentEntry | None:
    try:
        return Manifest.model_validate(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))).component(name)
    except (OSError, ValueError):
        return None


def _same_and_whole(folder: Path, manifest: Manifest) -> bool:
    file = folder / MANIFEST
    if not file.is_file() or file.read_text(encoding="utf-8") != manifest.text:
        return False
    assets = all((folder / a.file).is_file() and sha256_of_path(folder / a.file) == a.sha256 for a in manifest.assets)
    return assets and all(_undamaged(component, folder) for component in manifest.components)


def _undamaged(entry: ComponentEntry, folder: Path) -> bool:
    return all((folder / p.file).is_dir() and sha256_of_path(folder / p.file) == p.sha256 for p in entry.packages)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and all(is_clutter(Path(item.name)) for item in path.iterdir())


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A second name of a file, or a copy where the disk has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
