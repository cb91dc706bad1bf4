"""`infer` for a model whose task is alignment, added as a folder that knows no more than its pipeline's shape."""

import importlib
import io
import json
import sys
import types

import numpy as np
import pytest
import soundfile

import models

RATE = 8000
FOLDER = {
    "__init__.py": """
from toolkit.model import ModelInfo, ModelOption
MODEL = ModelInfo("magpie", __name__, "alignment", "MagpieForAlignment", "zoo/magpie", "points at words", options={
    "infer": (
        ModelOption("text", str, "", "The words that are said."),
        ModelOption("text_file", str, "", "A file that holds them."),
        ModelOption("language", str, "", "Its language."),
        ModelOption("wings", int, 2, "How many."),
    ),
})
""",
    "pipeline.py": """
from toolkit.transcript import Transcript, Word
from toolkit.errors import AudioError

class Pipeline:
    sample_rate = 8000
    calls = []

    def __init__(self, bundle, runtime, *, wings):
        self.calls.append(("wings", wings))

    def load(self, samples):
        self.calls.append(("load", samples))

    def align(self, samples, text, language, progress):
        self.calls.append(("align", len(samples), text, language))
        if not samples.any():
            raise AudioError("nobody speaks", "Speak.")
        progress(1, 1)
        words = tuple(Word(w, i, i if w.startswith("z") else i + 1, 1.0) for i, w in enumerate(text.split()))
        notes = ("it was hard",) * ("hard" in text)
        return Transcript(text, len(samples) / 8000, words, (), language, notes=notes)
""",
}


@pytest.fixture
def magpie(monkeypatch, tmp_path):
    """The folder among the models, and `infer` imported after it."""
    folder = tmp_path / "models" / "magpie"
    folder.mkdir(parents=True)
    for name, content in FOLDER.items():
        (folder / name).write_text(content)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder.parent)])
    models.all_models.cache_clear()
    monkeypatch.delitem(sys.modules, "infer", raising=False)
    yield importlib.import_module("infer")
    for name in ("models.magpie.pipeline", "models.magpie"):
        sys.modules.pop(name, None)
    models.all_models.cache_clear()


@pytest.fixture
def run(magpie, monkeypatch, capsys, tmp_path):
    """Run the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr("commands.demo.ensure_demo_bundle", lambda model, on_step: tmp_path)
    monkeypatch.setattr("commands.infer_request.open_bundle", lambda path: path)
    monkeypatch.setattr("commands.infer_request.open_runtime", lambda *a, **k: types.SimpleNamespace(name="portable"))

    def call(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["infer", *map(str, arguments), "--model", "magpie"])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            magpie.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(4 * RATE, np.float32) / 2, RATE)
    return tmp_path / "a.wav"


def calls():
    return importlib.import_module("models.magpie.pipeline").Pipeline.calls


def test_text_language_and_the_models_own_options_arrive(run, clip):
    assert run(clip, "--text", " one two ", "--language", "en", "--wings", "3") == (0, "one two\n", "")
    assert calls() == [("wings", 3), ("load", 4 * RATE), ("align", 4 * RATE, "one two", "en")]


def test_no_language_is_none(run, clip):
    assert run(clip, "--text", "one")[0] == 0
    assert calls()[-1] == ("align", 4 * RATE, "one", None)


@pytest.mark.parametrize("content", ["größe 篇\n", "\ufeffgröße 篇"], ids=["plain", "byte order mark"])
def test_a_text_file(run, clip, tmp_path, content):
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    assert run(clip, "--text-file", tmp_path / "a.txt") == (0, "größe 篇\n", "")


def test_text_from_stdin(run, clip):
    assert run(clip, "--text-file", "-", stdin="größe\n".encode()) == (0, "größe\n", "")


def test_audio_from_stdin(run, clip):
    assert run("-", "--text", "one", stdin=clip.read_bytes()) == (0, "one\n", "")


def test_json(run, clip):
    code, out, err = run(clip, "--text", "one zero", "--format", "json")
    result = json.loads(out)
    assert (code, result["zero_length"], result["tokens"], result["model"]) == (0, [1], [], "magpie")
    assert err == "note: 1 of 2 words have zero duration: zero (1.00 s)\n"


def test_a_note_of_the_model_is_a_line_on_stderr(run, clip):
    assert run(clip, "--text", "hard") == (0, "hard\n", f"note: {clip}: it was hard\n")


def test_a_textgrid(run, clip, tmp_path):
    code, _, err = run(clip, "--text", "one", "--format", "textgrid", "--output", tmp_path / "a.TextGrid")
    assert (code, err) == (0, "")
    assert (tmp_path / "a.TextGrid").read_text().startswith('File type = "ooTextFile"\n')


def test_words_without_length_are_one_line_however_many(run, clip):
    err = run(clip, "--text", " ".join(f"z{i}" for i in range(9)))[2]
    assert err.count("\n") == 1
    assert err.startswith("note: 9 of 9 words have zero duration: z0 (0.00 s), z1 (1.00 s)")
    assert err.endswith("z4 (4.00 s) and 4 more\n")


BAD_TEXT = {
    "none": ([], "one of --text and --text-file; neither was given"),
    "empty": (["--text", ""], "--text is empty"),
    "both": (["--text", "a", "--text-file", "a.txt"], "one of --text and --text-file; both were given"),
    "no_name": (["--text-file", ""], "--text-file has an empty path"),
    "blank": (["--text", " \n"], "--text has no words"),
    "blank_file": (["--text-file", "blank.txt"], "--text-file blank.txt has no words"),
    "blank_stdin": (["--text-file", "-"], "standard input is empty"),
    "missing": (["--text-file", "none.txt"], "--text-file none.txt cannot be read: No such file"),
    "folder": (["--text-file", "."], "--text-file . cannot be read: Is a directory"),
    "not_utf8": (["--text-file", "latin.txt"], "--text-file latin.txt is not UTF-8 text (byte 2)"),
    "two_files": (["a.wav", "--text", "a"], "magpie aligns one file with its text; 2 were given"),
    "no_such_option": (["--text", "a", "--max-symbols", "1"], "magpie has no option --max-symbols"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text(run, clip, monkeypatch, tmp_path, case):
    arguments, complaint = BAD_TEXT[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes("grün".encode("latin-1"))
    code, out, err = run(clip, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert "models.magpie.pipeline" not in sys.modules  # before any work


def test_audio_and_text_cannot_both_be_stdin(run, clip):
    code, out, err = run("-", "--text-file", "-", stdin=clip.read_bytes())
    assert (code, out) == (2, "")
    assert "standard input (-) can be read only once" in err


def test_an_audio_error_names_the_file(run, tmp_path):
    soundfile.write(tmp_path / "b.wav", np.zeros(RATE), RATE)
    code, _, err = run(tmp_path / "b.wav", "--text", "a")
    assert (code, err) == (
        2,
        f"note: {tmp_path}/b.wav is silent: all its samples are 0\nerror: {tmp_path}/b.wav: nobody speaks. Speak.\n",
    )


def test_help_shows_the_options_without_an_empty_default(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "--text-file" in out
    assert "[default: ]" not in out
