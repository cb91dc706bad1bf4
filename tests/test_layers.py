"""The arrows: commands -> models -> (wrappers, toolkit) -> milrun, and what may import torch and coremltools."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("milrun", "wrappers", "toolkit", "models")
# Room -> the rooms of ours that it may import.
ALLOWED = {
    "milrun": {"milrun"},
    "wrappers": {"wrappers"},
    "toolkit": {"toolkit", "milrun"},
    "models": {"models", "toolkit", "wrappers", "milrun"},
}
COREMLTOOLS = {"toolkit/quiet.py", "toolkit/runtimes/coreml.py", "milrun/standin.py"}
# The host side: runs on a Mac without torch and transformers.
TORCH_FREE = (
    "toolkit/audio",
    "toolkit/bundle",
    "toolkit/corpora",
    "toolkit/decoding",
    "toolkit/component.py",
    "toolkit/runtimes/coreml.py",
    "toolkit/runtimes/recording.py",
    "toolkit/errors.py",
    "commands/terminal.py",
    "commands/speaking.py",
    "models/*/pipeline.py",
    "models/*/__init__.py",
    "infer.py",
    "convert.py",
    "compare.py",
)


def imports(file, *, top_level_only=False):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources(*patterns):
    for pattern in patterns:
        for path in ROOT.glob(pattern):
            yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_go_one_way(room):
    for file in sources(room):
        for name in imports(file):
            top = name.split(".")[0]
            assert top not in ROOMS or top in ALLOWED[room], f"{file.relative_to(ROOT)} imports {name}"


def code_words(file):
    """Names and strings of a module, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id


def test_generic_code_names_no_model():
    models = [p.name for p in (ROOT / "models").iterdir() if (p / "__init__.py").exists()]
    for file in sources("toolkit", "milrun"):
        for word in code_words(file):
            assert not any(m in word.replace("-", "_") for m in models), f"{file.relative_to(ROOT)} names {word}"


def test_three_places_import_coremltools():
    for file in sources(*ROOMS, "infer.py", "convert.py", "compare.py"):
        if str(file.relative_to(ROOT)) not in COREMLTOOLS:
            assert not [n for n in imports(file) if n.split(".")[0] == "coremltools"], file


@pytest.mark.parametrize("pattern", TORCH_FREE)
def test_the_host_side_imports_no_torch(pattern):
    for file in sources(pattern):
        heavy = [n for n in imports(file) if n.split(".")[0] in ("torch", "transformers")]
        assert not heavy, f"{file.relative_to(ROOT)} imports {heavy}"


@pytest.mark.parametrize("command", ["convert", "infer", "compare"])
def test_commands_import_nothing_heavy_and_print_nothing(command):
    code = (
        f"import {command}, sys; heavy = {{'torch', 'transformers', 'coremltools', 'numpy', 'datasets', 'librosa'}};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_model_is_added_by_its_folder_alone(tmp_path):
    """A folder with `MODEL` appears in every command; nothing shared is edited."""
    package = tmp_path / "models" / "parrot"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from toolkit.model import ModelInfo, ModelOption\n"
        "MODEL = ModelInfo('parrot', __name__, 'synthesis', 'ParrotForSpeech', 'zoo/parrot', 'repeats',\n"
        "    options={'convert': (ModelOption('feathers', int, 3, 'How many.'),)})\n"
    )
    code = (
        "import sys, models; models.__path__.append(sys.argv.pop()); import convert; "
        "sys.argv[1:] = ['parrot', '--help']; convert.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "models")], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--feathers" in done.stdout
    assert "zoo/parrot" in done.stdout
