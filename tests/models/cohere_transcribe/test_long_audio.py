"""Audio longer than a window: cut where the class cuts it, and the same text."""

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from tests.gates import MEL, assert_within
from tests.models.audio import RATE, clip
from tests.models.cohere_transcribe.host import CACHE, PROMPT, ids, opened, planned, stock
from tests.models.cohere_transcribe.tiny import save_tiny_checkpoint

TOKENS = CACHE - PROMPT + 1


@pytest.fixture(scope="module")
def pipeline(small, tmp_path_factory):
    """With the window of 35 s that the class has."""
    return opened(tmp_path_factory.mktemp("long"), planned(small, audio_seconds="10,35"), decoder="external")


def lengths(cuts):
    return [cut.stop - cut.start for cut in cuts]


@pytest.mark.parametrize(("seconds", "pieces"), [(30, 1), (34.99, 1), (35, 1), (35.01, 2), (40, 2), (75, 3)])
def test_cuts_are_those_of_the_class(pipeline, small, seconds, pieces):
    extractor = AutoProcessor.from_pretrained(small).feature_extractor
    expected = [len(chunk) for chunk in extractor._split_audio_chunks_energy(torch.from_numpy(clip(seconds)))]
    cuts = pipeline.cuts(clip(seconds))
    assert lengths(cuts) == expected
    assert len(cuts) == pieces
    assert cuts[-1].stop == len(clip(seconds))


@pytest.mark.parametrize("seconds", [40, 75])
@pytest.mark.parametrize(("language", "joint"), [("en", " "), ("zh", "")])
def test_text_equals_the_class(pipeline, small, seconds, language, joint, monkeypatch):
    monkeypatch.setattr(pipeline, "language", language)
    expected, done = stock(small, clip(seconds), language, tokens=TOKENS), []
    transcript = pipeline.transcribe(clip(seconds), lambda *step: done.append(step))
    assert transcript.text == expected.text
    parts = [segment.text.strip() for segment in transcript.segments]
    assert transcript.text.strip() == joint.join(parts)
    assert all(parts)
    assert len(parts) == len(expected.tokens)
    assert done == [(k + 1, len(parts)) for k in range(len(parts))]
    spoken = [token.id for token in transcript.tokens]
    assert spoken == [t for piece in expected.tokens for t in piece if t not in pipeline.host.special_ids]
    assert [(s.start_s, s.end_s) for s in transcript.segments] == [
        (cut.start / RATE, cut.stop / RATE) for cut in pipeline.cuts(clip(seconds))
    ]


def test_each_piece_says_what_the_class_says_of_it(pipeline, small):
    audio = clip(40)
    expected = stock(small, audio, tokens=TOKENS)
    for cut, tokens, length in zip(pipeline.cuts(audio), expected.tokens, expected.lengths, strict=True):
        mel, ours = pipeline.features(audio[cut])
        assert ours == length
        assert ids(pipeline.decode(pipeline.encode(mel, ours))) == tokens


@pytest.mark.parametrize("window", [1, 2, 4, 5])
def test_no_piece_is_next_to_nothing_where_windows_are_short(small, tmp_path, window):
    short = opened(tmp_path, planned(small, audio_seconds=str(window)))
    cut = lengths(short.cuts(clip(20)))
    assert sum(cut) == 20 * RATE
    assert max(cut) <= window * RATE
    assert min(cut[:-1]) >= window * RATE / 2
    assert cut[-1] >= 0.1 * RATE


def test_a_bundle_without_a_long_window_cuts_at_its_own(small, tmp_path):
    short = opened(tmp_path, planned(small, audio_seconds="2,6"))
    assert short.longest_s == 6.0
    transcript = short.transcribe(clip(14))
    assert len(transcript.segments) >= 3
    assert all(s.end_s - s.start_s <= 6.0 for s in transcript.segments)
    for segment in transcript.segments:
        piece = clip(14)[round(segment.start_s * RATE) : round(segment.end_s * RATE)]
        assert segment.text == stock(small, piece, tokens=TOKENS).text


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A checkpoint whose extractor adds the noise that the published one adds."""
    folder = tmp_path_factory.mktemp("noisy")
    save_tiny_checkpoint(folder)
    processor = AutoProcessor.from_pretrained(folder)
    processor.feature_extractor.dither = 1e-5
    processor.save_pretrained(folder)
    return folder


def test_with_its_noise_features_and_text_equal_the_class(noisy, tmp_path):
    plan, audio = planned(noisy), clip(3.3)
    audio[RATE : 2 * RATE] = 0
    expected = AutoProcessor.from_pretrained(noisy)(audio, language="en", sampling_rate=RATE)
    (mel,) = expected["input_features"].numpy()
    loud, quiet = (opened(tmp_path, plan, dither=dither) for dither in (True, False))
    ours, length = loud.features(audio)
    assert length == int(expected["attention_mask"].sum())
    assert_within(MEL, ours[:length], mel[:length])
    assert np.abs(quiet.features(audio)[0][:length] - mel[:length]).max() > 0.02
    assert loud.transcribe(audio).text == stock(noisy, audio, tokens=TOKENS).text
