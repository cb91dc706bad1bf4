"""Made once a worker: a bundle of each demo checkpoint, with small fixed lengths."""

from functools import cache

import pytest

from commands.conversion import ConvertRequest, convert, prepare
from models import find_model
from parity.ladder.subject import Clip
from toolkit.corpora.open import open_corpus

OPTIONS = {
    "parakeet-tdt": {"audio_seconds": "4"},
    "cohere-transcribe": {"audio_seconds": "4", "decoder": "stateful", "max_tokens": 40},
    "qwen3-forced-aligner": {"audio_seconds": "4", "sequence_lengths": "128"},
}


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    """Faults are planted in what runs anywhere; the stage device takes two machines."""
    monkeypatch.setattr("parity.ladder.engine.platform.system", lambda: "no Mac")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Model -> its bundle; not to be changed."""
    folder = tmp_path_factory.mktemp("planted")

    def bundle(model):
        request = ConvertRequest(find_model(model), "demo", output=folder / model, options=OPTIONS[model])
        return convert(prepare(request)).bundle

    return cache(bundle)


@pytest.fixture(scope="session")
def clips():
    """Model -> its first clips."""

    def first(model):
        examples = open_corpus("demo", 2, find_model(model).demo_clips)
        return [Clip.from_example(example, 16000) for example in examples]

    return cache(first)
