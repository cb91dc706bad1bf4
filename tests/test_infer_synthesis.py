"""`infer` for a model whose task is synthesis, added as a folder that knows no more than its pipeline's shape."""

import importlib
import io
import os
import re
import resource
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

import models

RATE, FRAME = 24000, 1920
ROOT = Path(__file__).resolve().parents[1]
FOLDER = {
    "__init__.py": """
from toolkit.model import ModelInfo, ModelOption
MODEL = ModelInfo("heron", __name__, "synthesis", "HeronForSpeech", "zoo/heron", "calls", options={
    "infer": (
        ModelOption("text", str, "", "What to say."),
        ModelOption("text_file", str, "", "A file that holds it."),
        ModelOption("voice", str, "", "Whose voice."),
        ModelOption("seed", int, 0, "Of the noise."),
        ModelOption("temperature", float, None, "Of the noise; none is the checkpoint's."),
        ModelOption("stream", bool, False, "Write audio as it is made."),
    ),
})
""",
    "pipeline.py": """
import numpy as np
from toolkit.errors import RuntimeFault, ToolkitError

class Pipeline:
    sample_rate = 24000
    frame_size = 1920
    calls = []
    on_frame = staticmethod(lambda index: None)  # called when a frame is asked for

    def __init__(self, bundle, runtime, *, voice, seed, temperature):
        self.calls.append((voice, seed, temperature))
        self.notes = []

    def load(self):
        self.calls.append("load")

    def chunks(self, text):
        if not any(c.isalpha() for c in text):
            raise ToolkitError("the text has no letters", "Give words.")
        return text.split(". ")

    def speak(self, text, progress=None):
        '''A frame a word.'''
        chunks, index = self.chunks(text), 0
        for number, chunk in enumerate(chunks):
            for word in chunk.split():
                self.on_frame(index)
                if word == "stop":
                    raise KeyboardInterrupt
                if word == "break":
                    raise RuntimeFault("it broke", "Report it.")
                if word != "silent":
                    yield frame(index) * (2 if word == "loud" else 1)
                index += 1
            progress(number + 1, len(chunks))
        if "endless" in text:
            self.notes.append("chunk 1 hit its frame budget")

def frame(index):
    return np.random.default_rng(index).uniform(-0.99, 0.99, 1920).astype(np.float32)
""",
}
TEXT = "one two. three four five"
SUMMARY = r"{}: {} s of speech, RTFx \d+\.\d\d, first audio after \d+ ms, {}, portable\n"


@pytest.fixture
def folder(tmp_path_factory):
    """A folder of models with one in it."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "heron").mkdir()
    for name, content in FOLDER.items():
        (folder / "heron" / name).write_text(content)
    return folder


@pytest.fixture
def heron(monkeypatch, folder):
    """The folder among the models, and `infer` imported after it."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder)])
    models.all_models.cache_clear()
    monkeypatch.delitem(sys.modules, "infer", raising=False)
    yield importlib.import_module("infer")
    for name in ("models.heron.pipeline", "models.heron"):
        sys.modules.pop(name, None)
    models.all_models.cache_clear()


@pytest.fixture
def run(heron, monkeypatch, capfdbinary, tmp_path):
    """Run the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr("commands.demo.ensure_demo_bundle", lambda model, on_step: tmp_path)
    monkeypatch.setattr("commands.infer_request.open_bundle", lambda path: path)
    monkeypatch.setattr("commands.infer_request.open_runtime", lambda *a, **k: types.SimpleNamespace(name="portable"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments, stdin=b"", model="heron"):
        monkeypatch.setattr(sys, "argv", ["infer", *map(str, arguments), "--model", model])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            heron.main()
        out, err = capfdbinary.readouterr()
        return caught.value.code or 0, out, err.decode()

    return call


@pytest.fixture
def on_frame(heron, monkeypatch):
    """A function that sets what is called when a frame is asked for, with its index."""
    pipeline = importlib.import_module("models.heron.pipeline").Pipeline
    return lambda function: monkeypatch.setattr(pipeline, "on_frame", staticmethod(function))


def calls():
    return importlib.import_module("models.heron.pipeline").Pipeline.calls


def spoken(frames):
    """[samples] what the model says."""
    frame = importlib.import_module("models.heron.pipeline").frame
    return np.concatenate([frame(index) for index in range(frames)])


def read(path):
    audio, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return audio


def assert_summary(err, destination, duration_s, chunks="2 text chunks"):
    assert re.fullmatch(SUMMARY.format(re.escape(str(destination)), duration_s, chunks), err), err


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file(run, tmp_path, name):
    code, out, err = run("--text", TEXT, "--output", name)
    assert (code, out, os.listdir(tmp_path)) == (0, b"", [name])
    assert np.abs(read(name) - spoken(5)).max() <= 1 / 32768
    assert_summary(err, name, "0.40")


def test_the_models_own_options_arrive(run):
    run("--text", TEXT, "--voice", "anna", "--seed", "7", "--temperature", "0.5", "--output", "a.wav")
    assert calls() == [("anna", 7, 0.5), "load"]


def test_an_option_without_a_default_is_none(run):
    code, _, err = run("--text", "one", "--output", "a.wav")
    assert calls() == [("", 0, None), "load"]
    assert code == 0
    assert_summary(err, "a.wav", "0.08", "1 text chunk")


@pytest.mark.parametrize("file", ["a.txt", "-"])
def test_a_text_file(run, tmp_path, file):
    content = "\ufeffgröße zwei\n".encode()
    (tmp_path / "a.txt").write_bytes(content)
    assert run("--text-file", file, "--output", "a.wav", stdin=content)[0] == 0
    assert len(read("a.wav")) == 2 * FRAME


def test_notes_come_before_the_summary(run):
    code, _, err = run("--text", "endless loud", "--output", "a.wav")
    budget, clipped, summary = err.splitlines(keepends=True)
    assert (code, budget) == (0, "note: chunk 1 hit its frame budget\n")
    assert re.fullmatch(r"note: \d{3} samples were too loud and are clipped\n", clipped)
    assert_summary(summary, "a.wav", "0.16", "1 text chunk")


def test_a_wav_that_grows(run, on_frame):
    lengths = []
    on_frame(lambda index: lengths.append(len(read("a.wav")) if index else os.path.exists("a.wav")))
    code, out, err = run("--text", TEXT, "--stream", "--output", "a.wav")
    assert (code, out) == (0, b"")
    assert lengths == [False, FRAME, 2 * FRAME, 3 * FRAME, 4 * FRAME]
    assert np.abs(read("a.wav") - spoken(5)).max() <= 1 / 32768
    first, summary = err.splitlines(keepends=True)
    assert re.fullmatch(r"a\.wav: first audio after \d+ ms\n", first)
    assert_summary(summary, "a.wav", "0.40")


def test_pcm_on_stdout(run):
    code, out, err = run("--text", TEXT, "--stream")
    assert (code, out) == (0, np.rint(spoken(5) * 32768).astype("<i2").tobytes())
    first, summary = err.splitlines(keepends=True)
    assert re.fullmatch(r"standard output: first audio after \d+ ms\n", first)
    assert_summary(summary, "standard output", "0.40")


def test_the_first_audio_is_out_and_told_before_the_second_frame_is_made(run, on_frame, capfdbinary):
    seen = []
    on_frame(lambda index: seen.append(capfdbinary.readouterr()))
    run("--text", "one two three", "--stream")
    (before, nothing), (frame, line), (second, rest) = seen
    assert (before, nothing, len(frame), len(second), rest) == (b"", b"", 2 * FRAME, 2 * FRAME, b"")
    assert re.fullmatch(rb"standard output: first audio after \d+ ms\n", line)


def test_time_is_the_models_and_not_the_readers(run, monkeypatch, on_frame):
    """A clock that jumps by a second a frame made, and by an hour a block written."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)

    def advance(seconds):
        clock.now += seconds

    def written(descriptor, data):
        advance(3600)

    on_frame(lambda index: advance(0.001 * 2**index))
    monkeypatch.setattr("toolkit.output.audio._write_all", written)
    code, _, err = run("--text", "one two three", "--stream")
    assert code == 0
    assert "first audio after 1 ms\n" in err
    assert f"0.24 s of speech, RTFx {0.24 / 0.007:.2f}, first audio after 1 ms" in err


@pytest.mark.parametrize("where", [["--output", "a.wav"], ["--output", "a.flac"]])
@pytest.mark.parametrize(("word", "code"), [("stop", 130), ("break", 4)])
def test_a_fault_leaves_no_file(run, tmp_path, where, word, code):
    found, out, err = run("--text", f"one two {word}", *where)
    assert (found, out, err.count("\n"), os.listdir(tmp_path)) == (code, b"", 1, [])


def test_ctrl_c_while_a_wav_grows(run):
    code, _, err = run("--text", "one two stop", "--stream", "--output", "a.wav")
    assert (code, err.splitlines()[1:]) == (
        130,
        ["error: interrupted: a.wav holds the first 0.16 s. Run the same command again for all of it."],
    )
    assert np.abs(read("a.wav") - spoken(2)).max() <= 1 / 32768


def test_a_fault_while_a_wav_grows(run):
    code, _, err = run("--text", "one two break", "--stream", "--output", "a.wav")
    assert (code, err.splitlines()[1:]) == (4, ["error: it broke. Report it."])
    assert len(read("a.wav")) == 2 * FRAME


def test_ctrl_c_while_pcm_is_streamed(run):
    code, out, err = run("--text", "one two stop", "--stream")
    assert (code, len(out), err.splitlines()[1:]) == (130, 4 * FRAME, ["error: interrupted"])


def test_a_full_disk(run, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        whole = run("--text", TEXT, "--output", "a.wav")
        growing = run("--text", TEXT, "--stream", "--output", "b.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (whole[0], whole[2]) == (
        2,
        "error: cannot write a.wav: File too large. Give a file in a writable folder with enough space.\n",
    )
    assert growing[0] == 2
    assert "error: cannot write b.wav: File too large" in growing[2]
    assert os.listdir(tmp_path) == ["b.wav"]
    assert len(read("b.wav")) == FRAME


def test_a_model_that_says_nothing(run, tmp_path):
    for more in (["--output", "a.wav"], ["--stream", "--output", "a.wav"], ["--stream"]):
        code, out, err = run("--text", "silent silent", *more)
        assert (code, out, err) == (4, b"", "error: the model made no audio. Report it with the text.\n")
    assert os.listdir(tmp_path) == []


BAD_USAGE = {
    "no_text": (["--output", "a.wav"], "give the words to speak with one of --text and --text-file"),
    "two_texts": (["--text", "a", "--text-file", "-", "--output", "a.wav"], "with one of --text and --text-file"),
    "blank": (["--text", " \n", "--output", "a.wav"], "--text has no words. Give the words to speak."),
    "blank_stdin": (["--text-file", "-", "--output", "a.wav"], "standard input is empty"),
    "missing_file": (["--text-file", "none.txt", "--output", "a.wav"], "--text-file none.txt cannot be read"),
    "audio": (
        ["a.wav", "--text", "a", "--output", "b.wav"],
        "heron speaks: give --text or --text-file instead of AUDIO",
    ),
    "track": (["--text", "a", "--track", "1", "--output", "a.wav"], "heron speaks: --track is for models that listen"),
    "format": (["--text", "a", "--format", "txt", "--output", "a.wav"], "heron speaks: --format is for models that"),
    "no_such_format": (
        ["--text", "a", "--format", "doc", "--output", "a.wav"],
        "heron speaks: --format is for models that listen",
    ),
    "nowhere": (["--text", "a"], "give --output FILE.wav or .flac, or --stream to write raw PCM to stdout"),
    "suffix": (["--text", "a", "--output", "a.mp3"], "cannot write a.mp3: audio is written as WAV or FLAC"),
    "streamed_suffix": (["--text", "a", "--stream", "--output", "a.txt"], "audio is written as WAV or FLAC"),
    "streamed_flac": (["--text", "a", "--stream", "--output", "a.flac"], "only a WAV can be read while it grows"),
    "no_folder": (["--text", "a", "--output", "none/a.wav"], "there is no folder none"),
    "folder": (["--text", "a", "--output", "folder.wav"], "it is a folder"),
    "no_such_option": (["--text", "a", "--output", "a.wav", "--max-symbols", "1"], "heron has no option --max-symbols"),
}


@pytest.mark.parametrize("case", BAD_USAGE)
def test_bad_usage(run, tmp_path, case):
    arguments, complaint = BAD_USAGE[case]
    (tmp_path / "folder.wav").mkdir()
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert complaint in err
    assert os.listdir(tmp_path) == ["folder.wav"]
    assert "models.heron.pipeline" not in sys.modules  # before any work


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_folder_that_is_read_only(run, monkeypatch, tmp_path, stream):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    code, _, err = run("--text", "a", "--output", tmp_path / "a.wav", *stream)
    assert (code, os.listdir(tmp_path)) == (2, [])
    assert f"the folder {tmp_path} is read-only" in err


@pytest.mark.parametrize("more", [["--output", "a.wav"], ["--stream", "--output", "a.wav"], ["--stream"]])
def test_a_text_that_the_model_refuses(run, tmp_path, more):
    code, out, err = run("--text", "123", *more)
    assert (code, out, err) == (2, b"", "error: the text has no letters. Give words.\n")
    assert os.listdir(tmp_path) == []


def test_pcm_is_not_for_a_terminal(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, err = run("--text", "a", "--stream")
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert "--stream writes raw PCM to stdout, a terminal here: pipe it, or give --output" in err
    assert run("--text", "a", "--stream", "--output", "a.wav")[0] == 0


def test_pcm_is_not_for_a_stdout_that_is_closed(run, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    code, _, err = run("--text", "a", "--stream")
    assert (code, err.count("\n"), "standard output is closed. Redirect it" in err) == (2, 1, True)


@pytest.mark.parametrize("model", ["parakeet-tdt", "qwen3-forced-aligner"])
def test_models_that_listen_need_audio(run, model):
    assert run(model=model) == (2, b"", "error: Missing argument 'AUDIO...'. See --help.\n")


def test_models_that_listen_do_not_stream(run):
    code, _, err = run("a.wav", "--stream", model="parakeet-tdt")
    assert (code, "parakeet-tdt has no option --stream" in err) == (2, True)


def test_help_shows_no_default_where_the_checkpoint_has_it(run):
    code, out, _ = run("--help")
    assert (code, b"--temperature" in out, b"[default: None]" in out) == (0, True, False)


def test_a_reader_that_leaves_ends_it_quietly(folder, tmp_path):
    """In a shell: what python leaves in its own buffers at the end would show here."""
    code = (
        "import sys, types, models, commands.infer_request as request;"
        "models.__path__.append(sys.argv.pop(1));"
        "request.open_bundle = lambda path: path;"
        "request.open_runtime = lambda *a, **k: types.SimpleNamespace(name='portable');"
        "request._demo_bundle = lambda model: None;"
        "import infer; infer.main()"
    )
    (tmp_path / "a.txt").write_text("word " * 1000)
    line = '"$0" -c "$1" "$2" --model heron --stream --text-file "$3" | head -c 1000; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, code, folder, tmp_path / "a.txt"],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert (len(done.stdout[:-4]), done.stdout[-4:]) == (1000, b"141\n")
    assert re.fullmatch(rb"(standard output: first audio after \d+ ms\n)?", done.stderr)
