"""A model really is one folder: `parrot` is added to a copy of the tree, converted, heard, compared, and removed.

What is added lies in tests/added as it would lie in the tree: models/parrot and wrappers/parrot.py, nothing else.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models import all_models

ROOT = Path(__file__).resolve().parents[1]
ADDED = ROOT / "tests/added"
HOUSES = ("commands", "milrun", "models", "parity", "toolkit", "wrappers")
CLIP = "demo/clips/ps_cards_001.wav"
ALPHABET = "cahk"  # a bird's
DIGESTS = (
    "import json; from models import all_models; from toolkit.bundle.sources import source_digests; "
    "print(json.dumps({m.id: source_digests([f'{m.package}.export', 'toolkit.export.package']) "
    "for m in all_models().values()}))"
)


class Copy:
    """A copy of the code in a folder of its own, with the demo clips and no demo checkpoint."""

    def __init__(self, folder):
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for house in HOUSES:
            shutil.copytree(ROOT / house, folder / house, ignore=ignored)
        for command in ("convert.py", "infer.py", "compare.py"):
            shutil.copy(ROOT / command, folder)
        (folder / "demo").mkdir()
        (folder / "demo/clips").symlink_to(ROOT / "demo/clips")

    def python(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder), "HF_HUB_OFFLINE": "1"},
            check=False,
        )

    def run(self, command, *arguments):
        """A command that ends well: its stdout."""
        done = self.python(f"{command}.py", *map(str, arguments))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def digests(self):
        done = self.python("-c", DIGESTS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def add(self):
        shutil.copytree(ADDED, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    def remove(self):
        shutil.rmtree(self.folder / "models/parrot")
        (self.folder / "wrappers/parrot.py").unlink()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def before(copy):
    """The digests of the real models' sources, before anything is added."""
    return copy.digests()


@pytest.fixture(scope="module")
def parrot(copy, before):
    """The copy with the model in it."""
    copy.add()
    return copy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parrot")
    (folder / "config.json").write_text(json.dumps({"architectures": ["ParrotForSpeech"], "alphabet": ALPHABET}))
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((len(ALPHABET), 160)).astype(np.float32)
    bias = np.array([0.3, 0.0, -0.3, 0.1], np.float32)
    save_file({"weight": weight, "bias": bias}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def bundle(parrot, checkpoint):
    parrot.run("convert", "parrot", "--checkpoint", checkpoint, "--output", "bundle", "--frames", "32")
    return "bundle"


def test_what_is_added_is_one_folder_and_one_wrapper():
    files = {f.relative_to(ADDED) for f in ADDED.rglob("*.py")}
    assert {f for f in files if f.parts[:2] != ("models", "parrot")} == {Path("wrappers/parrot.py")}


def test_the_other_models_do_not_notice(parrot, before):
    assert set(before) == set(all_models())
    assert {model: digests for model, digests in parrot.digests().items() if model != "parrot"} == before


def test_it_is_heard(parrot, bundle):
    text = parrot.run("infer", CLIP, "--bundle", bundle).strip()
    assert set(text) <= set(ALPHABET)
    assert len(set(text)) > 1


def test_it_is_compared(parrot, bundle):
    shown = parrot.run("compare", "parrot", "--bundle", bundle, "--num-files", "1")
    assert "parrot: " in shown


def test_its_bundle_is_stale_when_its_wrapper_changes(parrot, bundle):
    file = parrot.folder / "wrappers/parrot.py"
    text = file.read_text()
    try:
        file.write_text(text.replace("torch.tanh", "torch.sigmoid"))
        done = parrot.python("infer.py", CLIP, "--bundle", bundle)
    finally:
        file.write_text(text)
    assert done.returncode == 2
    assert "ear was made by another version of wrappers.parrot. Rebuild it: `convert parrot" in done.stderr


def test_a_shared_folder_without_a_model_breaks_no_command(parrot, checkpoint, tmp_path):
    """In a copy of the copy where parrot is the only model, so that `compare` over all of them is short."""
    alone = Copy(tmp_path)
    alone.add()
    for model in all_models().values():
        shutil.rmtree(alone.folder / Path(*model.package.split(".")))
    shutil.copytree(checkpoint, alone.folder / "demo/checkpoints/parrot")
    for name, text in (("blocks", '"""Shared."""\n'), ("_hidden", 'raise ImportError("not to be imported")\n')):
        (alone.folder / "models" / name).mkdir()
        (alone.folder / "models" / name / "__init__.py").write_text(text)
    assert "parrot: " in alone.run("compare", "--num-files", "1")


def test_it_is_removed_again(parrot, bundle, before):
    """Last in this file: the folder goes, and everything is as it was."""
    parrot.remove()
    assert parrot.digests() == before
    assert "parrot" not in parrot.run("convert", "list")
    done = parrot.python("infer.py", CLIP, "--bundle", bundle)
    assert done.returncode == 2
    assert "no model 'parrot'" in done.stderr
