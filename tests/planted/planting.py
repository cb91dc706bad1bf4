"""Where a fault is planted: a copy of the code's behaviour, of a bundle's constants or of its packages."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.localise.damage import Damage
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.bundle.checksums import sha256_of_path


@dataclass(frozen=True)
class Site:
    """One test's own ground.

    Attributes:
        bundle: a sound one; not to be changed.
        folder: empty, to write into.
        monkeypatch: undoes what it changes in code.
    """

    bundle: Bundle
    folder: Path
    monkeypatch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Op:
    """What the comparison op by op has to name.

    Attributes:
        type: MIL op; PyTorch's (`aten::add`) for one that the package lacks.
        module: path in the wrapper.
    """

    type: str
    module: str


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        name: what is wrong, in words.
        model: of the bundle.
        stage: to blame.
        where: begins the row that the verdict names.
        plant: damages; returns the bundle to compare.
        op: the first one out of bounds, for a damaged package.
        clips: how many it needs to show.
        timed: whether the corpus has times of words.
        sound: what became of the recording, such as a telephone; None for nothing.
    """

    name: str
    model: str
    stage: str
    where: str
    plant: Callable[[Site], Bundle]
    op: Op | None = None
    clips: int = 1
    timed: bool = True
    sound: Callable[[np.ndarray], np.ndarray] | None = None


def patched(owner: Any, name: str, value: Any) -> Callable[[Site], Bundle]:
    """Other code under a name."""

    def plant(site: Site) -> Bundle:
        site.monkeypatch.setattr(owner, name, value)
        return site.bundle

    return plant


def with_host(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Site], Bundle]:
    """Other constants in the manifest.

    Args:
        change: of the host section to what is other in it.
    """

    def plant(site: Site) -> Bundle:
        manifest = site.bundle.manifest
        host = {**manifest.host, **change(manifest.host)}
        return replace(site.bundle, manifest=manifest.model_copy(update={"host": host}))

    return plant


def damaged_package(component: str, change: Callable[[Damage], None]) -> Callable[[Site], Bundle]:
    """A copy of the bundle in which one package was changed and its checksum with it."""

    def plant(site: Site) -> Bundle:
        copy = copied(site)
        package = copy / f"{component}.mlpackage"
        damage = Damage(package, site.folder)
        change(damage)
        damage.save()
        shutil.rmtree(package)
        damage.path.rename(package)
        return sealed(copy)

    return plant


def copied(site: Site) -> Path:
    """A copy of the bundle's folder."""
    return Path(shutil.copytree(site.bundle.path, site.folder / "bundle"))


def sealed(folder: Path) -> Bundle:
    """A bundle whose packages were exchanged, with checksums that fit them."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    for component in manifest["components"]:
        for package in component["packages"]:
            package["sha256"] = sha256_of_path(folder / package["file"])
    file.write_text(json.dumps(manifest))
    return open_bundle(folder)
