"""Where the codec is, checkpoints that cannot be used, and those that have changed since they were converted."""

import json
import re
import shutil

import pytest
from safetensors.numpy import load_file, save_file
from transformers import PocketTTSAudioTokenizerConfig, PocketTTSAudioTokenizerModel

import compare
import convert
from commands.conversion import ConvertRequest, prepare
from models.pocket_tts import MODEL, export
from tests.command_runner import command_runner
from tests.hub import COMMIT
from tests.models.bundles import bundle_without_packages
from tests.models.pocket_tts.tiny import CODEC, tiny_codec

DEFAULTS = {option.name: option.default for option in MODEL.options["convert"]}
SLOTS = 96


def planned(checkpoint, **options):
    return export.plan(checkpoint, DEFAULTS | {"cache_slots": SLOTS} | options)


@pytest.fixture
def copied(small, tmp_path):
    """A checkpoint of one's own."""
    return shutil.copytree(small, tmp_path / "checkpoint")


def rewrite(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_codec_without_an_encoder_clones_no_voice(copied):
    codec = copied / "audio_tokenizer"
    shutil.rmtree(codec)
    tiny_codec(encoder_config=None).save_pretrained(codec)
    plan = planned(copied)
    assert tuple(c.name for c in plan.components) == MODEL.components[:-1]
    assert plan.options["codec_encoder"] is False


def test_a_codec_in_a_folder(copied, tmp_path):
    tiny_codec(seed=1).save_pretrained(tmp_path / "codec")
    own, other = planned(copied), planned(copied, audio_tokenizer=str(tmp_path / "codec"))
    assert (own.options["audio_tokenizer"], other.options["audio_tokenizer"]) == ("", str(tmp_path / "codec"))
    assert own.host["codec_sha256"] != other.host["codec_sha256"]


def test_a_folder_is_recorded_whole(copied, tmp_path, monkeypatch):
    """A bundle is compared from another folder than it was converted in."""
    shutil.move(copied / "audio_tokenizer", tmp_path / "codec")
    monkeypatch.chdir(tmp_path)
    assert planned(copied, audio_tokenizer="codec").options["audio_tokenizer"] == str(tmp_path / "codec")


def recorded_at(checkpoint, name):
    """The processor's word for where the codec is."""
    recorded = {"audio_tokenizer_class": "PocketTTSAudioTokenizerModel", "audio_tokenizer_name_or_path": name}
    rewrite(checkpoint / "processor_config.json", audio_tokenizer=recorded)


def test_a_codec_in_a_folder_that_the_processor_names(copied):
    shutil.move(copied / "audio_tokenizer", copied / "codec")
    recorded_at(copied, "codec")
    assert planned(copied).options["audio_tokenizer"] == str(copied / "codec")


@pytest.fixture
def codec_hub(small, hub):
    """A hub with one repository, a codec."""
    hub.publish("kyutai/codec", small / "audio_tokenizer")
    return hub


@pytest.mark.parametrize("where", ["processor", "option"])
def test_a_codec_on_the_hub_is_pinned_to_its_commit(copied, codec_hub, where):
    options = {"audio_tokenizer": "kyutai/codec"} if where == "option" else {}
    if where == "processor":
        shutil.rmtree(copied / "audio_tokenizer")
        recorded_at(copied, "kyutai/codec")
    pinned = f"kyutai/codec@{COMMIT}"
    assert planned(copied, **options).options["audio_tokenizer"] == pinned
    assert planned(copied, audio_tokenizer=pinned).options["audio_tokenizer"] == pinned
    assert set(codec_hub.fetched) == {"kyutai/codec/config.json", "kyutai/codec/model.safetensors"}


def without_codec(checkpoint):
    shutil.rmtree(checkpoint / "audio_tokenizer")


def with_an_extractor_alone(checkpoint):
    """The feature extractor's settings in a file of their own, as older releases write them; none of the processor."""
    without_codec(checkpoint)
    processor = checkpoint / "processor_config.json"
    extractor = json.loads(processor.read_text())["feature_extractor"]
    (checkpoint / "preprocessor_config.json").write_text(json.dumps(extractor))
    processor.unlink()


def without_weights_of_the_codec(checkpoint):
    (checkpoint / "audio_tokenizer" / "model.safetensors").unlink()


def with_codec_elsewhere(name):
    def change(checkpoint):
        without_codec(checkpoint)
        recorded_at(checkpoint, name)

    return change


def with_codec(**config):
    def change(checkpoint):
        without_codec(checkpoint)
        tiny_codec(**config).save_pretrained(checkpoint / "audio_tokenizer")

    return change


def with_rewritten_codec(**config):
    return lambda checkpoint: rewrite(checkpoint / "audio_tokenizer" / "config.json", **config)


def with_codec_that_only_encodes(checkpoint):
    without_codec(checkpoint)
    config = PocketTTSAudioTokenizerConfig(**CODEC, latent_dim=8, upsample_groups=32, decoder_config=None)
    PocketTTSAudioTokenizerModel(config).save_pretrained(checkpoint / "audio_tokenizer")


def without(name):
    return lambda checkpoint: (checkpoint / name).unlink()


def with_content(name, content):
    return lambda checkpoint: (checkpoint / name).write_text(content)


def with_cut_file(name):
    def change(checkpoint):
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: len(content) // 2])

    return change


LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
BAD_CHECKPOINTS = {
    "no_codec": (without_codec, "no folder audio_tokenizer, and no processor_config.json that says where its codec is"),
    "no_processor_config": (with_an_extractor_alone, "where its codec is"),
    "codec_not_there": (with_codec_elsewhere("codec"), "no folder codec"),
    "codec_outside": (with_codec_elsewhere("../codec"), "no folder ../codec"),
    "codec_not_on_the_hub": (with_codec_elsewhere("kyutai/other"), "the hub has no public kyutai/other"),
    "codec_without_weights": (without_weights_of_the_codec, "contains no codec"),
    "codec_cut": (with_cut_file("audio_tokenizer/model.safetensors"), "model.safetensors is damaged or incomplete"),
    "codec_of_other_sizes": (with_rewritten_codec(hidden_size=64), "audio_tokenizer: .* have another shape"),
    "codec_config_broken": (
        with_content("audio_tokenizer/config.json", "{"),
        "audio_tokenizer: config.json is damaged",
    ),
    "codec_of_another_kind": (with_rewritten_codec(model_type="mimi"), "is a mimi"),
    "codec_without_decoder": (with_codec_that_only_encodes, "has no decoder"),
    "codec_of_other_latents": (with_codec(latent_dim=6), "makes latents of 8 at 12.5 Hz, the codec takes 6 at 12.5"),
    "codec_of_another_rate": (with_codec(latent_stride=8), "makes latents of 8 at 12.5 Hz, the codec takes 8 at 25"),
    "codec_that_sees_ahead": (
        with_rewritten_codec(use_causal_conv=False),
        "codec cannot stream: .* sees the future",
    ),
    "codec_that_reflects": (with_rewritten_codec(pad_mode="reflect"), "codec cannot stream: .* pad_mode"),
    "rope_of_the_codec": (with_rewritten_codec(rope_parameters=LINEAR), "rotary embedding 'linear' is not supported"),
    "rope_of_the_backbone": (
        lambda c: rewrite(c / "config.json", rope_parameters=LINEAR),
        "pocket_tts: rotary embedding 'linear' is not supported",
    ),
    "no_tokenizer": (without("tokenizer.json"), "has no tokenizer.json"),
    "no_template": (without("chat_template.jinja"), "has no file chat_template.jinja"),
    "no_extractor": (without("processor_config.json"), "has no processor_config.json"),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_one_clear_line(copied, codec_hub, tmp_path, monkeypatch, capsys, case):
    change, complaint = BAD_CHECKPOINTS[case]
    change(copied)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    run = command_runner(convert, monkeypatch, capsys)
    code, out, err = run("pocket-tts", "--checkpoint", copied, "--output", "bundle", "--cache-slots", SLOTS)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert re.search(complaint, err)
    assert not (tmp_path / "bundle").exists()


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run `compare` on a bundle by this model, on the eager runtime; its one line."""
    run = command_runner(compare, monkeypatch, capsys)

    def call(bundle):
        capsys.readouterr()
        code, out, err = run("--bundle", bundle, "--runtime", "eager", "--num-files", "1")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err

    return call


def saved_bundle(checkpoint, folder, **options):
    """A bundle's host files and manifest, as `convert` writes them for a checkpoint."""
    request = ConvertRequest(MODEL, str(checkpoint), options={"cache_slots": SLOTS} | options)
    prepared = prepare(request)
    folder.mkdir()
    for name, content in prepared.plan.assets.items():
        (folder / name).write_bytes(content)
    bundle = bundle_without_packages(folder, MODEL, prepared.plan.host, [], [], prepared.plan.options)
    manifest = bundle.manifest.model_copy(update={"checkpoint": prepared.entry})
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def scaled(file):
    """Other numbers in a file of the same form."""
    save_file({name: array * 1.01 for name, array in load_file(file).items()}, file)


@pytest.mark.parametrize("file", ["model", "audio_tokenizer/model", "voices/bert"])
def test_compare_refuses_a_checkpoint_that_has_changed(copied, tmp_path, refused, file):
    bundle = saved_bundle(copied, tmp_path / "bundle")
    scaled(copied / f"{file}.safetensors")
    assert f"{copied} has changed since {bundle} was made. Convert it again." in refused(bundle)


def test_compare_refuses_a_codec_elsewhere_that_has_changed(copied, tmp_path, refused):
    codec = shutil.move(copied / "audio_tokenizer", tmp_path / "codec")
    bundle = saved_bundle(copied, tmp_path / "bundle", audio_tokenizer=str(codec))
    scaled(codec / "model.safetensors")
    assert f"the codec in {codec} has changed since the bundle was made. Convert it again." in refused(bundle)
