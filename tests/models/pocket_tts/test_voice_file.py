"""Voice files in Kyutai's three formats and in ours, and those that are none."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_bytes
from safetensors.torch import save_file

import convert
from models.pocket_tts.checkpoint import load_voices, voice_sizes
from models.pocket_tts.voice_file import EMBEDS, KEYS, LATENTS, VALUES, VoiceSizes, read_voice
from tests.command_runner import command_runner
from tests.gates import float32_sums
from tests.models.pocket_tts.host import opened, planned, referred, say
from tests.models.pocket_tts.tiny import save_tiny_checkpoint, tiny_voice
from tests.published_layouts.kyutai import VOICE_FORMATS, kyutai_voice
from toolkit.errors import CheckpointError, ToolkitError

TEXT = "Go on."
CLOSE = float32_sums(5)
FRAMES = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kyutai") / "checkpoint"


@pytest.fixture(scope="module")
def model(folder):
    return save_tiny_checkpoint(folder)


@pytest.fixture(scope="module")
def sizes(model):
    return voice_sizes(model.config, clones=True)


@pytest.fixture(scope="module")
def latents(model):
    return tiny_voice(FRAMES, model)


def saved(voice, tmp_path):
    save_file(voice, tmp_path / "voice.safetensors")
    return tmp_path / "voice.safetensors"


@pytest.mark.parametrize("form", VOICE_FORMATS)
def test_kyutais_formats_speak_as_the_latents_do(folder, model, latents, tmp_path, form):
    """On the host, and in the reference under the same noise."""
    plan = planned(folder)
    own = opened(tmp_path / "bundle", plan, voice=str(saved({LATENTS: latents}, tmp_path)))
    own.load()
    theirs = opened(tmp_path / "bundle", plan, voice=str(saved(kyutai_voice(model, latents, form), tmp_path)))
    ours, others = (say(pipeline, pipeline.chunks(TEXT)[0]) for pipeline in (own, theirs))
    np.testing.assert_allclose(others.latents[:3], ours.latents[:3], **CLOSE)
    assert theirs.voice.length == FRAMES + (form != "v1.0")
    run = referred(folder).run(TEXT, theirs.voice, theirs.noise(0), flow_steps=1, max_frames=3)
    np.testing.assert_allclose(others.latents[:3], run.latents, **CLOSE)


@pytest.mark.parametrize("form", VOICE_FORMATS[1:])
def test_rows_that_are_not_used_and_their_nan_are_left_out(model, sizes, latents, tmp_path, form):
    tight, spare = (read_voice(saved(kyutai_voice(model, latents, form, spare=n), tmp_path), sizes) for n in (0, 4))
    assert tight[KEYS].shape[2] == FRAMES + 1
    for side in (KEYS, VALUES):
        np.testing.assert_array_equal(tight[side], spare[side])


def test_bfloat16_is_read(model, sizes, latents, tmp_path):
    voice = read_voice(saved({LATENTS: latents.bfloat16()}, tmp_path), sizes)
    np.testing.assert_array_equal(voice[LATENTS], latents.bfloat16().float().numpy())


def without_a_layer(state):
    return {name: tensor for name, tensor in state.items() if ".layers.1." not in name}


def without_counts(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("/offset")}


def too_many(state):
    return state | {name: tensor + 100 for name, tensor in state.items() if name.endswith("/offset")}


def with_nan_in_use(state):
    return state | {name: tensor * float("nan") for name, tensor in state.items() if name.endswith("1.self_attn/cache")}


def padded(state):
    return state | {name: tensor + 2 for name, tensor in state.items() if name.endswith("/pad")}


def of_another_model(state):
    return {name: tensor[..., :4] if name.endswith("cache") else tensor for name, tensor in state.items()}


BAD = {
    without_a_layer: "lacks a layer",
    without_counts: "of 0 positions",
    too_many: "of 110 positions",
    with_nan_in_use: "NaN or infinite",
    padded: "2 positions of padding",
    of_another_model: "not a voice file of this checkpoint",
    lambda state: {"else": torch.zeros(3)}: r"not a voice file of this checkpoint \(else \[3\]\)",
    lambda state: {LATENTS: torch.zeros(3, 5)}: "not a voice file of this checkpoint",
    lambda state: {EMBEDS: torch.zeros(0, 48)}: "not a voice file of this checkpoint",
}


@pytest.mark.parametrize(("change", "complaint"), BAD.items())
def test_what_is_no_voice_names_the_file(model, sizes, latents, tmp_path, change, complaint):
    state = change(kyutai_voice(model, latents, "now"))
    with pytest.raises(ToolkitError, match=rf"voice\.safetensors.*{complaint}"):
        read_voice(saved({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path), sizes)


def test_latents_need_weights_that_project_them(sizes, latents, tmp_path):
    fields = {name: getattr(sizes, name) for name in VoiceSizes.__dataclass_fields__}
    with pytest.raises(ToolkitError, match="weights without voice cloning"):
        read_voice(saved({LATENTS: latents}, tmp_path), VoiceSizes(**fields | {"clones": False}))


def test_a_bad_voice_does_not_fail_the_others(folder, model, sizes, latents, tmp_path, monkeypatch, capsys):
    """Kyutai's voice was once handed through unread, and failed the conversion."""
    voices = folder / "voices"
    save_file(kyutai_voice(model, latents, "now"), voices / "theirs.safetensors")
    save_file({"else": torch.zeros(3)}, voices / "broken.safetensors")
    found, notes = load_voices(folder, sizes)
    assert list(found) == ["anna", "bert", "theirs"]
    assert set(load_bytes(found["theirs"])) == {KEYS, VALUES}
    assert len(notes) == 1
    assert notes[0].startswith("broken.safetensors is left out: it is not a voice file of this checkpoint")
    run = command_runner(convert, monkeypatch, capsys)
    code, out, err = run("pocket-tts", "--checkpoint", folder, "--output", tmp_path / "b", "--dry-run", "--json")
    assert (code, err) == (0, f"note: {notes[0]}\n")
    assert "voice-theirs.safetensors" in json.loads(out)["assets"]


@pytest.fixture
def copied(folder, tmp_path):
    """A checkpoint's voices that a test may add to."""
    shutil.copytree(folder / "voices", tmp_path / "voices", ignore=shutil.ignore_patterns("theirs*", "broken*"))
    return tmp_path


def test_voices_that_differ_in_case_are_refused(copied, sizes):
    """A Mac would keep one of the two files in the bundle."""
    shutil.copy(copied / "voices" / "anna.safetensors", copied / "voices" / "Anna.safetensors")
    with pytest.raises(CheckpointError, match=r"the voices (anna and Anna|Anna and anna) differ in case"):
        load_voices(copied, sizes)


def test_a_file_of_finder_is_no_voice(copied, sizes):
    (copied / "voices" / "._anna.safetensors").write_bytes(b"AppleDouble")
    assert [list(found) for found in load_voices(copied, sizes)] == [["anna", "bert"], []]
