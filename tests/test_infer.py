"""`infer` as a user runs it: formats, options, and one clear line with the documented exit code for bad input."""

import json
import os
import shutil
import stat
import sys

import numpy as np
import pytest
import soundfile
from transformers import ParakeetForTDT

import infer as command
from tests.command_runner import command_runner
from tests.models.parakeet_tdt.host import ReferenceRuntime, host_bundle, host_constants
from tests.models.parakeet_tdt.tiny import DEMO
from toolkit.audio.read import read_audio

RATE = 16000
CLIP = DEMO.parents[1] / "clips" / "ps_cards_001.wav"


@pytest.fixture(scope="module")
def model():
    return ParakeetForTDT.from_pretrained(DEMO).eval()


@pytest.fixture
def run(model, monkeypatch, capsys, tmp_path):
    """Run the command in this process on the demo checkpoint: (exit code, stdout, stderr)."""
    host = host_constants(model, (501, 1501), overlap_s=4.0)
    folder = tmp_path / "bundle"
    folder.mkdir()
    bundle = host_bundle(folder, host)
    (folder / "manifest.json").write_text(bundle.manifest.model_dump_json())
    monkeypatch.setattr("commands.demo.ensure_demo_bundle", lambda model, on_step: folder)
    monkeypatch.setattr("commands.infer_request.open_bundle", lambda path: bundle)
    monkeypatch.setattr("commands.infer_request.open_runtime", lambda *a, **k: ReferenceRuntime(model, host))
    capsys.readouterr()
    return command_runner(command, monkeypatch, capsys)


def written(path, samples, **options):
    soundfile.write(path, np.asarray(samples, np.float32), RATE, **options)
    return path


def text(path, content):
    path.write_text(content)
    return path


def test_a_clip(run):
    assert run(CLIP) == (0, "ten of clubs\n", "")


def test_several_files_as_json(run):
    code, out, _ = run(CLIP, CLIP, "--format", "json")
    assert code == 0
    assert [(entry["file"], entry["text"]) for entry in json.loads(out)] == [(str(CLIP), "ten of clubs")] * 2


def test_json_of_one_file(run):
    result = json.loads(run(CLIP, "--format", "json")[1])
    assert list(result) == ["text", "duration_s", "words", "tokens", "rtfx", "runtime", "model"]
    assert (result["model"], [w["text"] for w in result["words"]]) == ("parakeet-tdt", ["ten", "of", "clubs"])


def test_a_track(run, tmp_path):
    assert run(CLIP, "--track", "1") == (0, "ten of clubs\n", "")
    code, out, err = run(CLIP, "--track", "2")
    assert (code, out) == (2, "")
    assert "has 1 audio track, and no track 2" in err


@pytest.mark.parametrize(("form", "begins"), [("srt", "1\n00:00:00,"), ("vtt", "WEBVTT\n\n00:00:00.")])
def test_subtitles(run, form, begins):
    assert run(CLIP, "--format", form)[1].startswith(begins)


def test_a_textgrid(run):
    code, out, err = run(CLIP, "--format", "textgrid")
    assert (code, err) == (0, "")
    assert [word for word in ("ten", "of", "clubs") if f'text = "{word}"' in out] == ["ten", "of", "clubs"]


def test_output_is_written_whole_and_nothing_beside_it(run, tmp_path):
    target = tmp_path / "out" / "a.txt"
    target.parent.mkdir()
    assert run(CLIP, "--output", target) == (0, "", "")
    assert target.read_text() == "ten of clubs\n"
    assert os.listdir(target.parent) == ["a.txt"]
    assert stat.S_IMODE(target.stat().st_mode) & stat.S_IRUSR


BAD_AUDIO = {
    "text": (lambda p: text(p / "a.wav", "no audio"), "contains text, not audio"),
    "empty": (lambda p: text(p / "a.wav", ""), "empty file"),
    "no_samples": (lambda p: written(p / "a.wav", []), "0 samples"),
    "nan": (lambda p: written(p / "a.wav", [0, np.nan] * 900, subtype="FLOAT"), "900 NaN"),
    "too_short": (lambda p: written(p / "a.wav", np.ones(100)), "shortest usable"),
    "folder": (lambda p: p, "is a folder without audio files"),
    "missing": (lambda p: p / "none.wav", "does not exist"),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio(run, tmp_path, case):
    make, complaint = BAD_AUDIO[case]
    target = tmp_path / "out.txt"
    code, out, err = run(make(tmp_path), "--output", target)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert not target.exists()


@pytest.mark.parametrize("case", [case for case in BAD_AUDIO if case != "folder"])
def test_bad_audio_among_others_costs_none_of_them(run, tmp_path, case):
    make, complaint = BAD_AUDIO[case]
    code, out, err = run(CLIP, make(tmp_path), CLIP)
    assert (code, out, err.count("\n")) == (2, "ten of clubs\n" * 2, 2)
    assert complaint in err
    assert err.endswith("error: 1 of 3 files failed\n")


def test_the_audio_is_never_written_over(run, tmp_path):
    clip = shutil.copy(CLIP, tmp_path / "a.wav")
    code, out, err = run(clip, "--output", tmp_path / "bundle" / ".." / "a.wav")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is one of the audio files" in err
    assert clip.read_bytes() == CLIP.read_bytes()


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there on macOS")
def test_a_runtime_that_is_not_here_is_refused_before_any_work(run, monkeypatch):
    monkeypatch.setattr(
        "commands.infer_request._demo_bundle", lambda model: pytest.fail("the demo bundle was asked for")
    )
    code, out, err = run(CLIP, "--runtime", "coreml")
    assert (code, out, err.count("\n")) == (3, "", 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bundle", "/nowhere/bundle"], "no bundle at /nowhere/bundle"),
        (["--output", "/nowhere/a.txt"], "no folder /nowhere"),
        (["--output", "/"], "it is a folder"),
        (["--output", "n" * 300], "File name too long"),
        (["--output-dir", "n" * 300], "File name too long"),
        (["--model", "wav"], "no model 'wav'"),
        (["--runtime", "tpu"], "tpu"),
        (["--format", "txt,doc"], "not 'doc'"),
        (["--max-symbols", "-1"], "--max-symbols"),
        (["--max-symbols", "ten"], "--max-symbols is ten"),
        (["--checkpoint", "demo"], "No such option"),
        (["-", "-"], "standard input (-) can be read only once"),
        ([CLIP, "--format", "textgrid"], "--format textgrid is for one file; 2 were given"),
        (["--text", "ten of clubs"], "parakeet-tdt has no option --text"),
    ],
)
def test_bad_options(run, arguments, complaint):
    code, out, err = run(CLIP, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


def test_silence_and_a_very_short_clip_pass(run, tmp_path):
    assert run(written(tmp_path / "a.wav", np.zeros(RATE)))[0] == 0
    assert run(written(tmp_path / "b.wav", np.zeros(800)))[0] == 0


BATCHES = {
    "two formats": (["--format", "txt,json"], "--format txt,json is 2 formats, which need --output-dir"),
    "two outputs": (["--output", "a.txt", "--output-dir", "out"], "--output and --output-dir cannot be combined"),
    "no cues": (["--max-words", "3"], "--max-words is for --format tsv, srt, vtt"),
    "zero": (["--max-lines", "0", "--format", "srt"], "--max-lines"),
    "levels": (["--quiet", "--verbose"], "--quiet and --verbose cannot be combined"),
    "one name": ([CLIP, "--output-dir", "out"], "would have one name"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_bad_batches(run, tmp_path, monkeypatch, case):
    arguments, complaint = BATCHES[case]
    monkeypatch.chdir(tmp_path)
    code, out, err = run(CLIP, *arguments)
    assert (code, out, err.count("\n"), os.listdir(tmp_path)) == (2, "", 1, ["bundle"])
    assert complaint in err


@pytest.fixture
def recordings(tmp_path):
    """A folder with a good, a damaged and another good recording."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    shutil.copy(CLIP, folder / "a.wav")
    (folder / "b.wav").write_bytes(CLIP.read_bytes()[:20000])
    shutil.copy(CLIP, folder / "c.wav")
    return folder


def test_a_folder_to_a_folder_in_several_formats(run, recordings, tmp_path):
    code, out, err = run(recordings, "--format", "txt,srt", "--output-dir", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 2)
    assert "b.wav is damaged" in err
    assert sorted(os.listdir(tmp_path / "out")) == ["a.srt", "a.txt", "c.srt", "c.txt"]
    assert (tmp_path / "out" / "c.txt").read_text() == "ten of clubs\n"


def test_all_formats(run, tmp_path):
    assert run(CLIP, "--format", "all", "--output-dir", tmp_path / "out") == (0, "", "")
    suffixes = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert suffixes == {".txt", ".json", ".tsv", ".srt", ".vtt", ".TextGrid"}


def test_one_output_has_what_succeeded(run, recordings, tmp_path):
    target = tmp_path / "all.json"
    assert run(recordings, "--format", "json", "--output", target)[0] == 2
    entries = json.loads(target.read_text())
    assert [entry.get("text") for entry in entries] == ["ten of clubs", None, "ten of clubs"]
    assert "is damaged" in entries[1]["error"]


def test_an_output_stays_if_nothing_succeeded(run, recordings, tmp_path):
    target = text(tmp_path / "all.txt", "before")
    code, _, err = run(recordings / "b.wav", recordings / "b.wav", "--output", target)
    assert (code, target.read_text()) == (2, "before")
    assert err.endswith("error: 2 of 2 files failed\n")


def test_the_worst_file_decides_the_code(run, recordings, monkeypatch):
    def read(source, rate, **options):
        if source.endswith("c.wav"):
            raise ZeroDivisionError("ours")
        return read_audio(source, rate, **options)

    monkeypatch.setattr("speech_coreml.audio.read_audio", read)
    code, out, err = run(recordings)
    assert (code, out) == (4, "ten of clubs\n")
    assert "Traceback" in err
    assert err.endswith("c.wav: internal fault: ZeroDivisionError: ours\nerror: 2 of 3 files failed\n")


def test_the_limits_of_subtitles(run):
    assert run(CLIP, "--format", "srt", "--max-words", "1")[1].count("-->") == 3
    assert run(CLIP, "--format", "vtt", "--max-line-width", "6")[1].count("ten of\nclubs") == 1
    assert run(CLIP, "--format", "tsv", "--max-line-width", "6", "--max-lines", "1")[1].count("\n") == 3


def test_silence_is_said(run, tmp_path):
    silent = written(tmp_path / "a.wav", np.zeros(RATE))
    notes = f"note: {silent} is silent: all its samples are 0\nnote: no speech was found in {silent}\n"
    assert run(silent) == (0, "\n", notes)
    assert run(silent, "--format", "srt") == (0, "", notes)
    assert run(silent, "--quiet") == (0, "\n", "")


def test_verbose_has_a_line_a_file(run):
    err = run(CLIP, CLIP, "--verbose")[2]
    assert err.count("s of audio, RTFx ") == 2


@pytest.mark.slow
def test_ten_minutes(run, tmp_path):
    clip = soundfile.read(CLIP, dtype="float32")[0]
    code, out, _ = run(written(tmp_path / "a.wav", np.resize(clip, 600 * RATE)), "--format", "json")
    result = json.loads(out)
    assert (code, result["duration_s"]) == (0, 600.0)
    assert result["tokens"][-1]["start_s"] > 595
