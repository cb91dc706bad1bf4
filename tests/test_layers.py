"""The arrows between rooms, what a reference may import, and what may import torch and coremltools."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("milrun", "wrappers", "toolkit", "parity", "models", "speech_coreml", "commands")
# The rooms from the ground up: a room imports from rooms below it, never from its own height or above.
# A package without an entry of its own belongs to the nearest one around it.
ROOMS = (
    ("milrun",),
    ("wrappers",),
    ("toolkit.audio.whole",),  # the structure of files: nothing but the standard library
    ("toolkit",),  # errors, spec, component, model, transcript, quiet: the ground
    ("toolkit.text", "toolkit.audio", "toolkit.output", "toolkit.bundle", "parity", "parity.measures"),
    ("toolkit.loops", "toolkit.corpora", "toolkit.contract", "toolkit.lint", "toolkit.publish"),
    ("toolkit.export", "toolkit.batch"),
    ("toolkit.runtimes",),
    ("parity.ladder",),
    ("parity.localise", "parity.report.html"),
    ("parity.report",),
    ("models",),
    ("models.*",),  # export and pipeline: the product
    ("models.*.parity",),  # the proof
    ("speech_coreml",),
    ("commands",),
)
HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
# Beside the heights: what a house may import at all.
ALLOWED = {
    "milrun": {"milrun"},
    "wrappers": {"wrappers"},
    "toolkit": {"toolkit", "milrun"},
    "parity": {"parity", "toolkit", "milrun"},
    "models": {"models", "parity", "toolkit", "wrappers"},
    "speech_coreml": {"speech_coreml", "models", "toolkit"},
    "commands": {"commands", "speech_coreml", "models", "parity", "toolkit", "milrun"},
}
COREMLTOOLS = {"toolkit/quiet.py", "toolkit/runtimes/coreml.py", "milrun/standin/__init__.py", "milrun/standin/plan.py"}
COMMANDS = ("convert.py", "infer.py", "compare.py")
# The host side: runs on a Mac without torch and transformers.
TORCH_FREE = (
    "toolkit/audio",
    "toolkit/bundle",
    "toolkit/corpora",
    "toolkit/lint",
    "toolkit/loops",
    "toolkit/output",
    "toolkit/publish",
    "toolkit/text",
    "toolkit/*.py",
    "commands/output_options.py",
    "toolkit/runtimes/coreml.py",
    "toolkit/runtimes/recording.py",
    "toolkit/runtimes/system.py",
    "commands/listening.py",
    "commands/speaking.py",
    "commands/options.py",
    "commands/terminal.py",
    "models/*/pipeline.py",
    "models/*/__init__.py",
    "speech_coreml",
    *COMMANDS,
)


def tree_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def run_nodes(node):
    """The nodes of a module that run: what stands under TYPE_CHECKING does not."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from run_nodes(child)


def imports(file, nodes=ast.walk):
    """Full names of what a module imports, those inside functions too."""
    for node in nodes(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (name if is_ours(name := f"{node.module}.{a.name}") else node.module for a in node.names)


def is_ours(name):
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def sources(*patterns):
    for pattern in patterns:
        for path in ROOT.glob(pattern):
            yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module):
    """The nearest room around a module; a model's name counts as `*`."""
    parts = module.split(".")
    if parts[0] == "models" and len(parts) > 1:
        parts[1] = "*"
    return next(room for k in range(len(parts), 0, -1) if (room := ".".join(parts[:k])) in HEIGHT)


@pytest.mark.parametrize("house", HOUSES)
def test_arrows_between_rooms_go_down(house):
    for file in sources(house):
        module = module_of(file)
        here = room_of(module)
        for name in imports(file):
            if name.split(".")[0] not in HOUSES:
                continue
            there = room_of(name)
            arrow = f"{file.relative_to(ROOT)} ({here}) imports {name} ({there})"
            assert name.split(".")[0] in ALLOWED[house], arrow
            assert there == here or HEIGHT[there] < HEIGHT[here], arrow
            if "*" in there and "*" in here:
                assert name.split(".")[1] == module.split(".")[1], f"one model calls another: {arrow}"


def test_every_package_has_its_height():
    """A new package must say where it stands, and a room of the table must exist."""
    packages = {module_of(p) for house in HOUSES for p in sources(f"{house}/**/__init__.py", f"{house}/__init__.py")}
    named = {room_of(package) for package in packages}
    models = {p for p in packages if p.startswith("models.")}
    rooms_of_milrun = {f"milrun.{room}" for room in ("command", "comparison", "compiled", "ops", "standin")}
    assert packages - models - set(HEIGHT) == rooms_of_milrun
    assert set(HEIGHT) - named == {"toolkit.contract", "toolkit.batch"}  # modules that stand above their package


def test_no_file_is_in_a_circle():
    files = {module_of(f): f for f in sources(*HOUSES)}
    arrows = {m: {n for n in imports(f) if n in files and n != m} for m, f in files.items()}
    while free := {m for m, names in arrows.items() if not names}:
        arrows = {m: names - free for m, names in arrows.items() if m not in free}
    assert not arrows, f"circles among {sorted(arrows)}"


@pytest.mark.parametrize("file", sorted(ROOT.glob("models/*/parity/reference.py")), ids=lambda f: f.parts[-3])
def test_a_reference_imports_nothing_that_it_judges(file):
    """Only transcripts, the loading that refuses an incomplete checkpoint, and float64: no part of the port."""
    ours = {name for name in imports(file) if name.split(".")[0] in HOUSES}
    assert ours <= {"toolkit.transcript", "toolkit.export.pretrained", "parity.measures.float64"}


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
    for file in sources("toolkit", "parity", "milrun"):
        for word in code_words(file):
            assert not any(m in word.replace("-", "_") for m in models), f"{file.relative_to(ROOT)} names {word}"


def test_few_places_import_coremltools():
    for file in sources(*HOUSES, *COMMANDS):
        if str(file.relative_to(ROOT)) not in COREMLTOOLS:
            assert not [n for n in imports(file) if n.split(".")[0] == "coremltools"], file


@pytest.mark.parametrize("house", ["milrun", "wrappers", "toolkit", "parity", "models"])
def test_only_the_commands_know_the_command_line(house):
    """A library raises its own errors; what they look like on a terminal is the commands' affair."""
    files = [file for file in sources(house) if file.name != "__main__.py"]
    assert not [file for file in files if any(name.split(".")[0] == "typer" for name in imports(file))]


@pytest.mark.parametrize("pattern", TORCH_FREE)
def test_the_host_side_imports_no_torch(pattern):
    files = list(sources(pattern))
    assert files
    for file in files:
        heavy = [n for n in imports(file, run_nodes) if n.split(".")[0] in ("torch", "transformers")]
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
