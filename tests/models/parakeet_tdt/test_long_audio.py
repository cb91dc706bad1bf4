"""A file longer than the window: the same words as the reference on the whole file, within a stated bound."""

import json

import jiwer
import numpy as np
import pytest
import soundfile

from models.parakeet_tdt.export import plan
from models.parakeet_tdt.parity.reference import Reference
from models.parakeet_tdt.pipeline import Pipeline
from tests.models.parakeet_tdt.host import host_bundle
from tests.models.parakeet_tdt.tiny import DEMO
from toolkit.runtimes.eager import EagerRuntime

CLIPS = DEMO.parents[1] / "clips"
# Window in seconds -> share of words that may differ from the reference's own on the whole file. The encoder sees one
# window, the reference all of the file, so the words need not be equal. Measured: 0.0, 3.3 and 5.5 %; the demo was
# trained on 5 s at most and stands near many ties on a minute (docs/numerics.md).
BOUNDS = {30: 0.02, 15: 0.04, 10: 0.06}
# Points of word error rate against the transcript by which ours may be worse than the reference on the whole file.
WORSE = 0.02


@pytest.fixture(scope="module")
def long_audio():
    """The demo clips said three times over with pauses between: about a minute, 90 words."""
    clips = [soundfile.read(file, dtype="float32")[0] for file in sorted(CLIPS.glob("*.wav"))]
    pause = np.zeros(4800, np.float32)
    return np.concatenate([part for clip in clips * 3 for part in (clip, pause)])


@pytest.fixture(scope="module")
def transcript():
    lines = [json.loads(line) for line in (CLIPS / "manifest.jsonl").read_text().splitlines()]
    return " ".join([line["text"] for line in sorted(lines, key=lambda line: line["file"])] * 3)


@pytest.fixture(scope="module")
def reference_text(long_audio):
    return Reference(DEMO).run(long_audio).text


@pytest.mark.parametrize("window_s", BOUNDS)
def test_windows_give_the_words_of_the_reference_on_the_whole_file(
    tmp_path, long_audio, transcript, reference_text, window_s
):
    exported = plan(DEMO, {"audio_seconds": str(window_s)})
    pipeline = Pipeline(host_bundle(tmp_path, exported.host), EagerRuntime(exported))
    text = pipeline.transcribe(long_audio).text
    assert len(long_audio) > 1.5 * window_s * pipeline.sample_rate, "several windows"
    assert len(reference_text.split()) > 60
    assert jiwer.wer(reference_text, text) <= BOUNDS[window_s]
    assert jiwer.wer(transcript, text) <= jiwer.wer(transcript, reference_text) + WORSE
