"""Standard output in a shell: readers that leave, full devices, other encodings, closed descriptors, signals."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRINTS = """
import sys, typer
from commands.terminal import new_app, print_text, run
app = new_app()

@app.command()
def command(text: str = "text"):
    print_text(text)
    print_text("more")

run(app, prints="--prints" in sys.orig_argv)
"""
WAITS = """
import sys, time, typer
from pathlib import Path
from commands.terminal import new_app, run
from toolkit.output.files import replacing
app = new_app()

@app.command()
def command(path: Path):
    with replacing(path):
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)

run(app)
"""


def shell(line, script=PRINTS, **options):
    """Run a line of bash with `$P` for the script; the exit code of its first command is the last word of stdout."""
    command = f'P() {{ "$0" -c "$SCRIPT" "$@"; }}; {line}'
    environment = {"PATH": "/usr/bin:/bin", "SCRIPT": script, "PYTHONPATH": str(ROOT)} | options
    done = subprocess.run(["bash", "-c", command, sys.executable], capture_output=True, cwd=ROOT, env=environment)
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_reader_that_has_left():
    assert shell("P | true; exit ${PIPESTATUS[0]}")[::2] == (141, "")


@pytest.mark.parametrize("module", ["convert", "compare", "infer"])
def test_a_reader_of_help_that_has_left(module):
    script = f"import {module}; {module}.main()"
    assert shell("P --help | true; exit ${PIPESTATUS[0]}", script)[::2] == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device():
    line = "error: cannot write standard output: No space left on device. Write to a file, or make room.\n"
    assert shell("P > /dev/full") == (2, b"", line)


CLOSED = "error: standard output is closed. Redirect it, to /dev/null if need be.\n"


def test_a_closed_stdout():
    assert shell("P >&-") == (2, b"", CLOSED)


def test_a_closed_stdout_is_refused_before_the_work():
    script = PRINTS.replace('"--prints" in sys.orig_argv', "True").replace('print_text("more")', "1 / 0")
    assert shell("P >&-", script) == (2, b"", CLOSED)


def test_a_closed_stderr_leaves_stdout_alone():
    assert shell("P 2>&-") == (0, b"text\nmore\n", "")
    assert shell("P --bogus 2>&-") == (2, b"", "")


def test_a_stderr_whose_reader_has_left():
    assert shell("P --bogus 2> >(true); exit $?")[0] == 2


NOTE = "note: standard output is written as UTF-8, not as {}, the encoding of this locale\n"


@pytest.mark.parametrize("encoding", ["iso8859-1", "ascii"])
def test_an_encoding_that_lacks_letters(encoding):
    code, out, err = shell("P --text 'grün 六'", PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert (code, out.decode(), err) == (0, "grün 六\nmore\n", NOTE.format(encoding))


def test_ascii_text_needs_no_note():
    assert shell("P", PYTHONIOENCODING="latin-1") == (0, b"text\nmore\n", "")


def test_bytes_that_are_no_utf_8():
    assert shell(r"P --text $'\xff.wav'", PYTHONUTF8="1") == (0, b"\\udcff.wav\nmore\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_to_end_leaves_nothing_half_written(tmp_path, number, code):
    command = [sys.executable, "-c", WAITS, str(tmp_path / "a.txt")]
    # A shell's job in the background ignores Ctrl-C, and so would its children.
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, cwd=ROOT, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
    ) as process:
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
        assert process.stderr.read() == "error: interrupted\n"
    assert (process.returncode, list(tmp_path.iterdir())) == (code, [])


def test_a_file_that_looks_like_an_option(tmp_path):
    (tmp_path / "-dash.wav").touch()
    code, _, err = shell(f"cd {tmp_path}; P -dash.wav")
    assert (code, err) == (2, "error: No such option: -d. For the file -dash.wav, write ./-dash.wav\n")


@pytest.mark.parametrize(
    ("module", "word", "found"), [("infer", "--max", "--max-words"), ("convert", "ins", "inspect")]
)
def test_completion(module, word, found):
    words = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "COMP_WORDS": f"{module} {word}", "COMP_CWORD": "1"}
    script = f"import sys, {module}; sys.argv[0] = '{module}'; {module}.main()"
    code, out, err = shell("P", script, **words, **{f"_{module.upper()}_COMPLETE": "complete_bash"})
    assert (code, err) == (0, "")
    assert found in out.decode().split()


@pytest.mark.parametrize("module", ["convert", "compare", "infer"])
def test_the_version_without_torch(module):
    script = f"import sys, {module}\ntry: {module}.main()\nfinally: assert 'torch' not in sys.modules"
    code, out, err = shell("P --version", script)
    assert (code, err) == (0, "")
    assert out.startswith(b"speech-coreml 0.")
    assert b", Python 3." in out
    assert b", torch " in out
