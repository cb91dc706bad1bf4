"""Models that are not there yet: Git LFS pointers in place of a file, and zip archives."""

import re
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import PackageError
from milrun.__main__ import main
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_program

X = np.ones((1, 8), np.float32)
WEIGHT = np.arange(128, dtype=np.float32).reshape(16, 8)
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234567\n"


@pytest.fixture
def package(tmp_path):
    return save_program(lambda x: mb.linear(x=x, weight=WEIGHT), {"x": X}, tmp_path, "iOS17")


@pytest.fixture
def compiled(package, tmp_path):
    return write_compiled(package, tmp_path / "op.mlmodelc")


def refused(path, *parts):
    with pytest.raises(PackageError) as caught:
        milrun.load(path)
    for part in parts:
        assert part in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["Manifest.json", "model.mlmodel", "weight.bin"])
def test_a_pointer_in_a_package(package, name):
    (file,) = package.rglob(name)
    file.write_text(POINTER)
    refused(package, f"{name} is a Git LFS pointer", "1,234,567 bytes", "git lfs pull")


@pytest.mark.parametrize("name", ["model.mil", "coremldata.bin", "weight.bin"])
def test_a_pointer_in_a_compiled_model(compiled, name):
    (file,) = compiled.rglob(name)
    file.write_text(POINTER)
    refused(compiled, f"{name} is a Git LFS pointer", "1,234,567 bytes", "git lfs pull")


def test_a_pointer_in_place_of_an_archive_or_a_bare_model(tmp_path):
    for name in ("a.mlmodel", "a.mlpackage.zip", "a.mlmodelc"):
        (tmp_path / name).write_text(POINTER)
        refused(tmp_path / name, f"{name} is a Git LFS pointer")


def test_a_pointer_without_a_size(tmp_path):
    (tmp_path / "a.mlmodel").write_text(POINTER.split("size")[0])
    refused(tmp_path / "a.mlmodel", "not the content that it stands for")


def zipped(folder, archive, prefix):
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.rglob("*")):
            opened.write(file, f"{prefix}{file.relative_to(folder)}")
    return archive


def follow(message):
    """Run the command of a message; returns the folder that it fills."""
    command = shlex.split(re.search("`(.*)`", message)[1])
    subprocess.run([sys.executable, *command[1:]], check=True)
    return command[-1]


@pytest.mark.parametrize("name", ["op.mlpackage.zip", "op.mlpackage", "a name.zip", "op.mlmodelc"])
@pytest.mark.parametrize("inside", ["op.mlpackage", "deep/er/op.mlmodelc"])
def test_a_model_in_an_archive(package, compiled, tmp_path, name, inside):
    folder = tmp_path / "downloads"
    folder.mkdir()
    archive = zipped(compiled if inside.endswith("c") else package, folder / name, f"{inside}/")
    message = refused(archive, f"is a zip archive that holds '{inside}'")
    assert list(folder.iterdir()) == [archive]
    assert milrun.load(f"{follow(message)}/{inside}").predict({"x": X})


@pytest.mark.parametrize("form", ["package", "compiled"])
def test_an_archive_of_a_models_parts(form, tmp_path, request):
    archive = zipped(request.getfixturevalue(form), tmp_path / "model.zip", "")
    assert milrun.load(follow(refused(archive, "of the parts of a model"))).predict({"x": X})


def test_archives_without_a_model(tmp_path, capsys):
    archive = tmp_path / "x.mlpackage.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("__MACOSX/op.mlpackage/._Manifest.json", "")
        opened.writestr("read\nme.txt", "")
    refused(archive, "holds no Core ML model", "read\\nme.txt")
    assert main([str(archive)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    archive.write_bytes(archive.read_bytes()[:40])
    refused(archive, "damaged zip archive")
