import io
import json

import datasets
import numpy as np
import pytest
import soundfile

from toolkit.corpora import fleurs, hub
from toolkit.corpora.example import Example, WordTime
from toolkit.corpora.folder import folder_examples
from toolkit.corpora.librispeech import librispeech_examples
from toolkit.corpora.open import check_corpus, open_corpus
from toolkit.errors import ToolkitError

RATE = 8000


def write_tone(file, seconds=0.25, channels=1):
    samples = np.tile(np.sin(np.arange(int(seconds * RATE)) * 0.3)[:, None] * 0.5, (1, channels))
    soundfile.write(file, samples, RATE)


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a", "c"):
        write_tone(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text(f" text of {name}\n")
    write_tone(tmp_path / "no_text.wav")
    return tmp_path


def test_demo_clips_come_in_the_manifest_order_with_their_words():
    examples = list(open_corpus("demo"))
    assert len(examples) >= 3
    assert len({e.id for e in examples}) == len(examples)
    assert all(e.text and len(e.samples(16000)) for e in examples)
    assert any(isinstance(e.words[0], WordTime) for e in examples if e.words)
    assert [e.id for e in open_corpus("demo", 2)] == [e.id for e in examples[:2]]


def test_audio_beside_txt_sorted_by_name(folder):
    examples = list(open_corpus(str(folder)))
    assert [(e.id, e.text) for e in examples] == [("a", "text of a"), ("b", "text of b"), ("c", "text of c")]
    assert len(examples[0].samples(16000)) == 4000


@pytest.mark.parametrize("name", ["d.webm", "d.MKA", "d.amr", "d"])
def test_the_text_beside_it_decides_what_is_a_recording(folder, name):
    (folder / "a.wav").rename(folder / name)
    (folder / "a.txt").rename(folder / "d.txt")
    for other in ("d.json", "d.srt", "d.TextGrid", ".d.wav"):
        (folder / other).write_text("no audio")
    (folder / "d.folder").mkdir()
    assert [e.audio.name for e in open_corpus(str(folder))] == ["b.wav", "c.wav", name]


def test_what_macos_leaves_is_no_audio(folder):
    for name in ("._a.wav", "._a.txt", ".DS_Store", "._manifest.jsonl"):
        (folder / name).write_bytes(b"AppleDouble")
    assert [e.id for e in open_corpus(str(folder))] == ["a", "b", "c"]


@pytest.mark.parametrize("keys", [("file", "text"), ("audio", "sentence"), ("audio_filepath", "transcript")])
def test_manifest_wins_and_may_use_the_usual_keys(folder, keys):
    line = {keys[0]: "c.wav", keys[1]: "see", "words": [["see", 0.1, 0.2]]}
    (folder / "manifest.jsonl").write_text(json.dumps(line) + "\n\n")
    (example,) = open_corpus(str(folder))
    assert (example.id, example.text, example.words) == ("c", "see", (WordTime("see", 0.1, 0.2),))
    assert [e.id for e in folder_examples(folder / "manifest.jsonl")] == ["c"]


def test_checked_before_any_work(folder):
    check_corpus("demo")
    check_corpus("librispeech")
    check_corpus("fleurs:all")
    check_corpus(str(folder))
    (folder / "manifest.jsonl").write_text("".join(f'{{"file": "{n}.wav", "text": "see"}}\n' for n in "az"))
    check_corpus(str(folder), 1)
    with pytest.raises(ToolkitError, match=r"z\.wav does not exist"):
        check_corpus(str(folder))
    for name in ("fleurs", "fleurs:", "fleurs:xx", "nosuch", "demo:en"):
        with pytest.raises(ToolkitError):
            check_corpus(name)
    with pytest.raises(ToolkitError, match="needs a language"):
        next(iter(open_corpus("fleurs")))


def test_lazy(folder):
    (folder / "a.wav").write_bytes(b"broken")
    assert next(iter(open_corpus(str(folder)))).id == "a"


def test_fewer_than_asked_for_is_said(folder, capsys):
    assert len(list(open_corpus(str(folder), 5))) == 3
    assert "holds 3 utterances, fewer than the 5 asked for" in capsys.readouterr().err


def test_exactly_enough_is_silent(folder, capsys):
    assert len(list(open_corpus(str(folder), 3))) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("not json\n", "line 1"), ('{"file": "a.wav"}\n', "line 1"), ("[1]\n", "line 1")],
)
def test_bad_manifest_is_one_clear_error(tmp_path, content, message):
    (tmp_path / "manifest.jsonl").write_text(content)
    with pytest.raises(ToolkitError, match=message):
        list(open_corpus(str(tmp_path)))


def test_no_such_folder_and_empty_folder(tmp_path):
    with pytest.raises(ToolkitError, match="no data set 'nowhere'"):
        list(open_corpus("nowhere"))
    with pytest.raises(ToolkitError, match=r"no audio file with a \.txt"):
        list(open_corpus(str(tmp_path)))


def test_samples_are_mixed_and_resampled():
    stereo = Example("x", "t", np.stack([np.ones(800), np.zeros(800)], axis=1).astype(np.float32), 8000)
    mono = stereo.samples(16000)
    assert mono.shape == (1600,)
    assert mono.dtype == np.float32
    assert abs(float(mono[400:1200].mean()) - 0.5) < 1e-3


def hub_folder(folder, configs):
    """A data set as parquet, in the layout that `datasets` finds by itself; configuration -> its rows of text."""
    header = "---\nconfigs:\n"
    for config, rows in configs.items():
        stream = io.BytesIO()
        soundfile.write(stream, np.sin(np.arange(1600) * 0.2), 16000, format="FLAC")
        audio = {"bytes": stream.getvalue(), "path": ""}
        (folder / config).mkdir()
        datasets.Dataset.from_list([row | {"audio": audio} for row in rows]).to_parquet(
            folder / config / "test-0.parquet"
        )
        header += f"- config_name: {config}\n  data_files:\n  - split: test\n    path: {config}/test-*.parquet\n"
    (folder / "README.md").write_text(header + "---\n")
    return folder


@pytest.fixture
def librispeech_folder(tmp_path):
    return hub_folder(tmp_path, {"clean": [{"id": f"1-2-{n}", "text": f"HELLO {n}"} for n in range(3)]})


def test_librispeech_streams_from_a_local_stand_in(librispeech_folder):
    examples = list(librispeech_examples(str(librispeech_folder)))
    assert [(e.id, e.text) for e in examples] == [(f"1-2-{n}", f"HELLO {n}") for n in range(3)]
    assert examples[0].samples(16000).shape == (1600,)


def test_librispeech_without_a_network_is_one_clear_line(monkeypatch):
    def refuse(*where):
        raise ConnectionError("unreachable")

    monkeypatch.setattr(hub, "load", refuse)
    with pytest.raises(ToolkitError, match=r"cannot stream LibriSpeech test-clean \(ConnectionError\)"):
        list(open_corpus("librispeech", 1))


def test_fleurs_streams_a_language_or_all_of_them(tmp_path):
    rows = {
        config: [{"id": 7, "raw_transcription": f"{code} {n}", "transcription": "plain"} for n in range(3)]
        for code, config in fleurs.CONFIGS.items()
    }
    folder = str(hub_folder(tmp_path, rows))
    german = list(fleurs.fleurs_examples("de", 2, folder))
    assert [(e.id, e.text, e.language) for e in german] == [("de-0000-7", "de 0", "de"), ("de-0001-7", "de 1", "de")]
    every = list(fleurs.fleurs_examples("all", 1, folder))
    assert [e.language for e in every] == list(fleurs.CONFIGS)
    assert every[0].samples(16000).shape == (1600,)


def test_fleurs_names_the_languages_it_has():
    with pytest.raises(ToolkitError, match=r"ar, de, el, .* not 'xx'"):
        list(open_corpus("fleurs:xx", 1))


def test_demo_folders_are_taken_in_turn():
    names = [e.id for e in open_corpus("demo", 4, (".", "other"))]
    first, other = [e.id for e in open_corpus("demo", 2)], [e.id for e in open_corpus("demo", 2, ("other",))]
    assert names == [first[0], other[0], first[1], other[1]]


def test_transcript_that_is_no_utf8(folder):
    (folder / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolkitError, match="cannot be read as UTF-8"):
        list(open_corpus(str(folder)))
