"""Where the results of several files go."""

import json
import os

import pytest

from toolkit.errors import AudioError, OutputError
from toolkit.output.cues import CueLimits
from toolkit.output.formats import Document
from toolkit.output.result import Failure, Result
from toolkit.output.sinks import FolderSink, file_sink, output_names, stream_sink
from toolkit.transcript import Transcript, Word

FAILED = Failure("b.wav", AudioError("b.wav is damaged", "Copy it."))


def result(file="a.wav"):
    return Result(file, Transcript("hi", 1.0, (Word("hi", 0.0, 0.5, 1.0),), ()), 1.0, "portable", "m")


def interrupted_after(sink, count):
    for index in range(count):
        sink.add(index, result())
    raise KeyboardInterrupt


def test_a_stream_has_each_piece_at_once():
    out = []
    with stream_sink(Document("txt", several=True), out.append) as sink:
        assert sink.add(0, result()) == result()
        assert "".join(out) == "hi\n"
        sink.add(1, FAILED)
        sink.add(2, result())
    assert "".join(out) == "hi\nhi\n"


def test_json_that_was_begun_is_ended_if_the_run_is_interrupted():
    out = []
    with pytest.raises(KeyboardInterrupt), stream_sink(Document("json", several=True), out.append) as sink:
        interrupted_after(sink, 1)
    assert [entry["text"] for entry in json.loads("".join(out))] == ["hi"]


@pytest.mark.parametrize("form", ["json", "vtt", "tsv"])
def test_a_stream_that_was_not_begun_has_nothing_after_an_error(form):
    out = []
    with pytest.raises(AudioError), stream_sink(Document(form), out.append):
        raise FAILED.error
    assert out == []


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    with file_sink(path, Document("txt", several=True)) as sink:
        sink.add(0, result())
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), file_sink(path, Document("txt", several=True)) as sink:
        interrupted_after(sink, 2)
    assert (path.read_text(), os.listdir(tmp_path)) == ("hi\n", ["a.txt"])


def folder_sink(folder, names=("a", "b"), forms=("txt", "srt", "textgrid")):
    return FolderSink(folder, names, forms, CueLimits())


def test_a_folder_has_a_file_per_input_and_format(tmp_path):
    sink = folder_sink(tmp_path / "new" / "out")
    sink.check()
    assert not (tmp_path / "new").exists()
    sink.add(0, result())
    assert sink.add(1, FAILED) is FAILED
    assert sorted(os.listdir(tmp_path / "new" / "out")) == ["a.TextGrid", "a.srt", "a.txt"]


def test_a_result_that_cannot_be_written_is_a_failure(tmp_path):
    sink = folder_sink(tmp_path, names=("n" * 300, "b"))
    assert isinstance(failure := sink.add(0, result()), Failure)
    assert "File name too long" in failure.message
    assert sink.add(1, result()) == result()


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    folder_sink(tmp_path, names=("n" * 251,), forms=("txt",)).add(0, result())
    assert os.listdir(tmp_path) == ["n" * 251 + ".txt"]


def test_what_cannot_be_a_folder_is_refused_first(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.srt").mkdir()
    for folder, complaint in ((tmp_path / "file" / "out", "file is not a folder"), (tmp_path, "a.srt: it is a folder")):
        with pytest.raises(OutputError, match=complaint):
            folder_sink(folder).check()


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["x/talk.wav", "-", "b.tar.gz"], ["talk", "stdin", "b.tar"]),
        (["talk.wav", "talk.mp3", "a"], ["talk.wav", "talk.mp3", "a"]),
        (["Talk.wav", "talk.mp3"], ["Talk.wav", "talk.mp3"]),
    ],
)
def test_names(sources, names):
    assert output_names(sources) == names


@pytest.mark.parametrize("sources", [["x/a.wav", "y/a.wav"], ["a.wav", "a.wav"], ["a.wav", "A.WAV"], ["stdin", "-"]])
def test_two_results_never_have_one_name(sources):
    with pytest.raises(OutputError, match=f"the results of {sources[0]} and {sources[1]} would have one name"):
        output_names(sources)


def test_names_that_collide_with_a_kept_suffix():
    with pytest.raises(OutputError, match="would have one name"):
        output_names(["a.wav", "a.mp3", "a.wav.flac"])
