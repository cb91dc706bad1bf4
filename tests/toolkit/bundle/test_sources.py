"""Which code makes a model's bundles stale: what its export imports, in any copy of the tree, and nothing else."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands.conversion import PACKAGER, sources_of
from models import all_models
from toolkit.bundle.sources import changed_sources, find_module, module_below, source_digests

ROOT = Path(__file__).resolve().parents[3]
MADE_BY_ALL = {"toolkit.spec", PACKAGER, "toolkit.export.compress"}
HOST = "toolkit.export.host_assets"
IMPORTED = {
    "cohere-transcribe": {
        "wrappers.cohere_transcribe",
        "wrappers.cached_decoder",
        "wrappers.attention",
        "wrappers.conformer",
        "toolkit.export.cached_decoder",
        HOST,
    },
    "parakeet-tdt": {"wrappers.parakeet_tdt", "wrappers.conformer", "wrappers.attention", HOST},
    "pocket-tts": {
        "models.pocket_tts.checkpoint",
        "models.pocket_tts.voice_file",
        "wrappers.pocket_tts",
        "wrappers.pocket_tts_codec",
        "wrappers.pocket_tts_flow",
        "wrappers.attention",
        "wrappers.rope",
    },
    "qwen3-forced-aligner": {
        "wrappers.qwen3_forced_aligner",
        "wrappers.qwen3",
        "wrappers.attention",
        "wrappers.conformer",
        "wrappers.rope",
        HOST,
    },
}


def write(root, modules):
    """Modules below a root: path without suffix -> source."""
    for name, text in modules.items():
        file = root / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def finder(root):
    """The modules below a root, in place of those that can be imported."""
    return lambda name: module_below(root, name.split("."))


def found(root, *roots):
    return set(source_digests(roots or ("models.bird.export",), finder(root)))


@pytest.mark.parametrize("model", sorted(IMPORTED))
def test_a_models_sources_are_what_its_export_imports(model):
    info = all_models()[model]
    assert set(sources_of(info)) == {f"{info.package}.export"} | IMPORTED[model] | MADE_BY_ALL


POCKET = ("models.pocket_tts.export", PACKAGER)


@pytest.fixture
def edited(tmp_path):
    """The digests of PocketTTS' sources in a copy of the tree that was edited."""

    def digests(edit):
        for house in ("models", "wrappers", "toolkit"):
            shutil.copytree(ROOT / house, tmp_path / house, ignore=shutil.ignore_patterns("__pycache__"))
        edit(tmp_path)
        return source_digests(POCKET, finder(tmp_path))

    return digests


def appended(file, text):
    def edit(root):
        (root / file).write_text((root / file).read_text() + text)

    return edit


@pytest.mark.parametrize(
    "file",
    [
        "models/pocket_tts/checkpoint.py",
        "models/pocket_tts/export.py",
        "wrappers/pocket_tts_codec.py",
        "wrappers/rope.py",
        "toolkit/spec.py",
        "toolkit/export/package.py",
    ],
)
def test_an_edit_of_what_the_export_imports_is_seen(edited, file):
    before, after = source_digests(POCKET), edited(appended(file, "\nMORE = 1\n"))
    assert [name for name in before if before[name] != after[name]] == [file.removesuffix(".py").replace("/", ".")]


@pytest.mark.parametrize(
    "file",
    [
        "wrappers/qwen3.py",
        "models/pocket_tts/pipeline.py",
        "models/pocket_tts/__init__.py",
        "models/pocket_tts/parity/rungs.py",
        "models/parakeet_tdt/export.py",
        "toolkit/errors.py",
        "toolkit/export/checkpoint.py",
        "toolkit/bundle/bundle.py",
    ],
)
def test_an_edit_of_other_code_is_not(edited, file):
    assert edited(appended(file, "\nMORE = 1\n")) == source_digests(POCKET)


def test_a_new_wrapper_and_a_new_model_change_nothing(edited):
    def add(root):
        write(root, {"wrappers/parrot": "import torch\n", "models/parrot/export": "from wrappers import parrot\n"})

    assert edited(add) == source_digests(POCKET)


def test_comments_docstrings_and_layout_change_nothing(edited):
    def reword(root):
        file = root / "wrappers/pocket_tts.py"
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body[0].value.value = "Reworded."
        file.write_text(f"# no comment and no empty line is where it was\n{ast.unparse(tree)}\n'''Said after.'''\n")

    assert edited(reword) == source_digests(POCKET)


def test_a_new_docstring_changes_nothing(tmp_path):
    write(
        tmp_path, {"models/a/export": "class A:\n    x = 1\n", "models/b/export": "class A:\n    'An A.'\n    x = 1\n"}
    )
    digests = source_digests(("models.a.export", "models.b.export"), finder(tmp_path))
    assert len(set(digests.values())) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import wrappers.wing", {"wrappers.wing"}),
        ("import wrappers", {"wrappers"}),
        ("from wrappers import wing as w", {"wrappers.wing"}),
        ("from wrappers import SPAN", {"wrappers"}),
        ("from wrappers.wing import Wing", {"wrappers.wing"}),
        ("from wrappers.wing import *", {"wrappers.wing"}),
        ("from .nest import Egg", {"models.bird.nest"}),
        ("from . import nest", {"models.bird.nest"}),
        ("from .. import _shared", {"models._shared"}),
        ("from models._shared import song", {"models._shared.song"}),
        ("def plan():\n    from wrappers import wing", {"wrappers.wing"}),
        ("if TYPE_CHECKING:\n    from wrappers import wing\nelse:\n    from wrappers import tail", set()),
        ("import torch, numpy as np\nfrom transformers import Bird", set()),
        ("from toolkit.errors import BirdError\nfrom toolkit.bundle import bundle", set()),
        ("from models.bird.export import plan", set()),  # a circle ends
    ],
)
def test_how_an_import_is_followed(tmp_path, text, expected):
    ours = ("wrappers/__init__", "wrappers/wing", "wrappers/tail", "models/_shared/__init__", "models/_shared/song")
    others = ("toolkit/errors", "toolkit/bundle/bundle", "torch", "numpy", "transformers")
    write(tmp_path, dict.fromkeys((*ours, *others, "models/bird/nest"), "") | {"models/bird/export": text})
    assert found(tmp_path) == {"models.bird.export"} | expected


def test_imports_are_followed_from_module_to_module(tmp_path):
    write(
        tmp_path, {"models/bird/export": "from wrappers import wing", "wrappers/wing": "from wrappers import feather"}
    )
    write(tmp_path, {"wrappers/feather": "", "wrappers/beak": ""})
    assert found(tmp_path) == {"models.bird.export", "wrappers.wing", "wrappers.feather"}


def test_changed_sources_are_named(tmp_path):
    for root, wing in (("old", "SPAN = 1"), ("new", "SPAN = 2")):
        write(tmp_path / root, {"models/bird/export": "from wrappers import wing", "wrappers/wing": wing})
    recorded = source_digests(("models.bird.export",), finder(tmp_path / "old"))
    assert changed_sources(recorded, finder(tmp_path / "old")) == []
    assert changed_sources(recorded, finder(tmp_path / "new")) == ["wrappers.wing"]
    (tmp_path / "new/wrappers/wing.py").unlink()
    assert changed_sources(recorded, finder(tmp_path / "new")) == ["wrappers.wing"]


@pytest.mark.parametrize("name", ["", "wrappers.nothing", "no_such_house.wing", "wrappers./etc/passwd", "wrappers.."])
def test_a_name_that_is_no_module_has_no_file(name):
    assert find_module(name) is None


def test_a_root_without_a_file_is_refused():
    with pytest.raises(ModuleNotFoundError, match=r"models\.nothing\.export"):
        source_digests(("models.nothing.export",))


def test_a_digest_is_the_same_in_every_python(tmp_path):
    """Taken with 3.11, 3.12 and 3.13, whose trees have other fields."""
    text = '''from typing import Generic
@cached(size=None, **options)
class Wing(Generic[T], metaclass=Meta):
    """A wing."""
    span: float = 1e-5
    async def beat(self, /, n: "int", *rest: T, up=-1, **more) -> str | None:
        match n:
            case {"a": [1, *_], **others} if (k := others): return f"{k!r:>{n}} {n=} {'a' 'b'}" "c"
            case None | Wing(span=3.5): raise ValueError from None
        try: ...
        except* (OSError, ValueError) as error: del error
        return {**more, 1: 2j, "x": (lambda *, y=None: y)(y=True)}
'''
    write(tmp_path, {"models/bird/export": text})
    (digest,) = source_digests(("models.bird.export",), finder(tmp_path)).values()
    assert digest == "d8b5dd36d87d6469dee3d8dd35af99e0feed8f9c81cfc4ab9e20f0598fd4b14e"


def test_sources_are_found_without_importing_anything():
    code = (
        "import sys; from toolkit.bundle.sources import source_digests; "
        "source_digests(['models.parakeet_tdt.export']); "
        "sys.exit(str({'torch', 'typer', 'numpy', 'models', 'wrappers'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr.strip()) == ("", "")


def test_a_model_outside_the_tree_is_found(tmp_path):
    """Where `models.__path__` has another folder, as the tests of added models do."""
    write(tmp_path, {"bird/export": "from wrappers import rope\n"})
    code = (
        "import sys, models; models.__path__.append(sys.argv[1]); from toolkit.bundle.sources import source_digests; "
        "print(*source_digests(['models.bird.export']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr) == ("models.bird.export wrappers.rope\n", "")
