"""PocketTTS in Kyutai's layout: every way in, what is fetched, strictness in both directions, and what is refused."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import PocketTTSForConditionalGeneration

import convert
from models.pocket_tts import MODEL, export
from models.pocket_tts.kyutai import layout
from models.pocket_tts.kyutai.languages import INEXPRESSIBLE, LANGUAGES, OLD
from models.pocket_tts.published import LAYOUTS
from tests.command_runner import command_runner
from tests.models.pocket_tts.host import opened, say
from tests.models.pocket_tts.tiny import VOICES, save_tiny_checkpoint
from tests.published_layouts.kyutai import kyutai_config, kyutai_tensors, write_language, write_repository
from toolkit.errors import CheckpointError, OptionError, ToolkitError
from toolkit.export import checkpoint as checkpoints
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.export.source import open_source
from toolkit.hub import HubSource

FREQUENCIES = {"flow_head_config": {"frequency_embedding_size": 256}}
CONFIGS = {
    "english": FREQUENCIES,
    "french": FREQUENCIES | {"num_key_value_heads": 2, "num_hidden_layers": 4},
    "english_drifting_26-09": {"flow_head_config": FREQUENCIES["flow_head_config"] | {"flow_type": "drifting"}},
    OLD: FREQUENCIES | {"voice_bos": False},
}
DEFAULTS = {option.name: option.default for option in MODEL.options["convert"]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TRAINED = ("loss_weighting.", "latent_stats_num_updates")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Language -> checkpoint in our layout."""
    folder = tmp_path_factory.mktemp("ours")
    for name, sizes in CONFIGS.items():
        save_tiny_checkpoint(folder / name, **sizes)
    return {name: folder / name for name in CONFIGS}


@pytest.fixture(scope="module")
def repository(ours, tmp_path_factory):
    """All languages in Kyutai's layout; not to be changed."""
    return write_repository(ours, tmp_path_factory.mktemp("theirs"), forms=("now",))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_COREML_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def one(ours, tmp_path):
    """The English one in a folder of its own, to be changed."""
    write_language(ours["english"], tmp_path / "one", forms=("now",))
    return tmp_path / "one"


def resolved(checkpoint, **options):
    return resolve_checkpoint(MODEL, str(checkpoint), None, DEFAULTS | options)


def planned(folder, **options):
    return export.plan(folder, DEFAULTS | {"cache_slots": 112} | options)


def assert_same_weights(folder, other):
    for part in (".", "audio_tokenizer"):
        found, wanted = (load_file(one / part / "model.safetensors") for one in (folder, other))
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(TRAINED)}
        placeholders = slice(-4, None)  # their rows are never looked up
        for tensors in (found, wanted):
            if part == ".":
                table = tensors["model.embed_tokens.weight"]
                tensors["model.embed_tokens.weight"] = (
                    table[: len(table) - 4] if len(table) > 4 else table[placeholders]
                )
        assert found.keys() == wanted.keys()
        for name in found.keys() - {"model.embed_tokens.weight"}:
            assert torch.equal(found[name], wanted[name]), name


@pytest.mark.parametrize("language", ["english", "french", "english_drifting_26-09"])
def test_a_language_comes_back_as_it_was(ours, repository, language):
    checkpoint = resolved(repository, language=language)
    assert (checkpoint.format, checkpoint.kind) == ("kyutai", "folder")
    assert_same_weights(checkpoint.folder, ours[language])
    model, original = (
        PocketTTSForConditionalGeneration.from_pretrained(f) for f in (checkpoint.folder, ours[language])
    )
    bos, other = model.config.audio_prompt_bos_token_id, original.config.audio_prompt_bos_token_id
    assert torch.equal(model.model.embed_tokens.weight[bos], original.model.embed_tokens.weight[other])


def test_it_is_converted_with_its_voices_and_says_the_same(ours, repository, tmp_path):
    plan = planned(resolved(repository).folder)
    assert plan.notes == ()
    pipeline = opened(tmp_path / "bundle", plan, voice="bert")
    assert pipeline.host.voices == tuple(VOICES)
    assert pipeline.voice.length == VOICES["bert"] + 1
    original = opened(tmp_path / "original", planned(ours["english"]), voice="bert")
    prompt, other = pipeline.chunks("Go on.")[0], original.chunks("Go on.")[0]
    found, wanted = pipeline.prefix(prompt), original.prefix(other)
    np.testing.assert_allclose(found.keys, wanted.keys, rtol=0, atol=1e-4)
    assert len(say(pipeline, prompt).audio)


def test_only_the_files_of_the_language_are_fetched(repository, monkeypatch):
    asked = []

    def fetch(self, names):
        asked.extend(names)
        return repository

    monkeypatch.setattr(HubSource, "fetch", fetch)
    files = open_source(str(repository)).files
    source = HubSource("kyutai/pocket-tts", "kyutai/pocket-tts", COMMIT, files)
    foreign = LAYOUTS[0].open(source, {"language": "french"})
    assert {name for name in asked if not name.startswith("languages/french/")} == set()
    assert f"hf://kyutai/pocket-tts/languages/french/model.safetensors@{COMMIT}" in foreign.files
    assert asked.index("languages/french/tokenizer.json") < asked.index("languages/french/model.safetensors")


@pytest.mark.parametrize("language", ["klingon", *INEXPRESSIBLE])
def test_another_language_is_refused_before_anything_is_fetched(repository, monkeypatch, language):
    monkeypatch.setattr(layout.Place, "fetch", lambda place: pytest.fail(f"fetched {place.file}"))
    with pytest.raises(CheckpointError) as caught:
        LAYOUTS[0].open(open_source(str(repository)), {"language": language})
    assert language in caught.value.message
    assert all(name in caught.value.next_step for name in (LANGUAGES if language == "klingon" else ["english"]))


def test_a_language_that_the_repository_lacks(repository):
    with pytest.raises(CheckpointError, match=r"no weights of german\. Give --language what it has: .*french"):
        LAYOUTS[0].open(open_source(str(repository)), {"language": "german"})


def test_the_first_language_lies_at_the_top_too(ours, tmp_path, monkeypatch):
    repository = write_repository({}, tmp_path / "old", old=ours[OLD], forms=("v1.0",))
    described = layout.config_from_yaml("old", kyutai_config(ours[OLD]) | {"pad_with_spaces_for_short_inputs": True})
    monkeypatch.setitem(LANGUAGES, OLD, described)
    checkpoint = resolved(repository, language=OLD)
    assert_same_weights(checkpoint.folder, ours[OLD])
    pipeline = opened(tmp_path / "bundle", planned(checkpoint.folder, cache_slots=128))
    assert pipeline.host.voices == tuple(VOICES)
    prompt = pipeline.chunks("Go on.")[0]
    assert (prompt.before_voice, pipeline.voice.embeds.shape) == ((), (VOICES["anna"], pipeline.host.backbone.width))
    assert pipeline.prefix(prompt).length == VOICES["anna"]


@pytest.mark.parametrize("entry", ["config.yaml", "model.safetensors"])
def test_a_yaml_or_its_weights_alone(ours, one, entry):
    checkpoint = resolved(one / entry)
    assert_same_weights(checkpoint.folder, ours["english"])
    assert set(checkpoint.origin) >= {"config.yaml", "model.safetensors", "tokenizer.json"}
    assert sorted(file.stem for file in (checkpoint.folder / "voices").iterdir()) == sorted(VOICES)


def rewrite(folder, change):
    content = yaml.safe_load((folder / "config.yaml").read_text())
    change(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def test_a_yaml_may_name_files_whole_and_on_the_hub(ours, one, tmp_path, monkeypatch):
    elsewhere = shutil.copytree(one, tmp_path / "elsewhere")
    opened_names = []

    def open_hub(name, revision=None):
        if not name.startswith("hf://"):
            return open_source(name, revision)
        opened_names.append(name)
        return HubSource(name, "someone/voice", COMMIT, ("tokenizer.json",), "tokenizer.json")

    monkeypatch.setattr(layout, "open_source", open_hub)
    monkeypatch.setattr(HubSource, "fetch", lambda self, names: elsewhere)

    def change(content):
        content["weights_path"] = str(elsewhere / "model.safetensors")
        content["flow_lm"]["lookup_table"]["tokenizer_path"] = f"hf://someone/voice/tokenizer.json@{COMMIT}"

    rewrite(one, change)
    (one / "model.safetensors").unlink()
    checkpoint = resolved(one / "config.yaml")
    assert_same_weights(checkpoint.folder, ours["english"])
    assert opened_names == [f"hf://someone/voice/tokenizer.json@{COMMIT}"]
    assert f"hf://someone/voice/tokenizer.json@{COMMIT}" in checkpoint.origin


def test_a_yaml_on_the_hub(ours, one, tmp_path, monkeypatch):
    """As its users name community models; its paths are relative to it, and it cannot name files of this machine."""
    target = tmp_path / "hub" / "czech"
    shutil.copytree(one, target)
    files = open_source(str(target.parent)).files
    name = f"hf://someone/voices/czech/config.yaml@{COMMIT}"
    source = HubSource(name, "someone/voices", COMMIT, files, "czech/config.yaml")
    monkeypatch.setattr(checkpoints, "open_source", lambda *_: source)
    monkeypatch.setattr(HubSource, "fetch", lambda self, names: target.parent)
    checkpoint = resolve_checkpoint(MODEL, name, None, DEFAULTS)
    assert_same_weights(checkpoint.folder, ours["english"])
    assert (checkpoint.revision, checkpoint.location) == (COMMIT, "hf://someone/voices/czech/config.yaml")
    assert f"hf://someone/voices/czech/model.safetensors@{COMMIT}" in checkpoint.origin
    rewrite(target, set_in("weights_path", value=str(one / "model.safetensors")))
    with pytest.raises(CheckpointError, match="which is not there"):
        resolve_checkpoint(MODEL, name, None, DEFAULTS)


def test_weights_that_are_gated_are_taken_without_voice_cloning(one, monkeypatch):
    """Anyone may list a gated repository; it refuses where a file is fetched."""
    content = yaml.safe_load((one / "config.yaml").read_text())
    content["weights_path"] = "hf://kyutai/pocket-tts/model.safetensors"
    content["weights_path_without_voice_cloning"] = f"hf://{layout.UNGATED}/model.safetensors"
    (one / "config.yaml").write_text(yaml.safe_dump(content))

    def open_hub(name, revision=None):
        repository = name.removeprefix("hf://").rpartition("/")[0]
        return HubSource(name, repository, COMMIT, ("model.safetensors",), "model.safetensors")

    def fetch(self, names):
        if self.repository != layout.UNGATED:
            raise CheckpointError(f"{self.repository} is gated", "Accept its terms.")
        return one

    monkeypatch.setattr(layout, "open_source", open_hub)
    monkeypatch.setattr(HubSource, "fetch", fetch)
    assert not planned(resolved(one / "config.yaml").folder).host["clones"]
    del content["weights_path_without_voice_cloning"]
    (one / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match="is gated"):
        resolved(one / "config.yaml")


def without(name):
    return lambda tensors: {n: t for n, t in tensors.items() if n != name}


def with_nan(tensors):
    return tensors | {"flow_lm.emb_std": tensors["flow_lm.emb_std"] * float("nan")}


LAYER = "flow_lm.transformer.layers.1"
BAD_WEIGHTS = {
    without(f"{LAYER}.self_attn.in_proj.weight"): rf"missing \({LAYER}.self_attn.in_proj.weight\)",
    without("mimi.quantizer.output_proj.weight"): "1 of 171 tensors is missing .mimi.quantizer.output_proj.weight",
    without("flow_lm.bos_before_voice"): "1 of 171 tensors is missing .flow_lm.bos_before_voice",
    without("flow_lm.conditioner.embed.weight"): "missing .flow_lm.conditioner.embed.weight",
    lambda t: t | {"flow_lm.more": torch.zeros(2)}: "1 tensor does not belong to this model .flow_lm.more",
    lambda t: t | {"flow_lm.emb_mean": torch.zeros(3)}: "has another shape .flow_lm.emb_mean",
    with_nan: "has NaN or infinity .flow_lm.emb_std",
}


@pytest.mark.parametrize(("change", "complaint"), BAD_WEIGHTS.items())
def test_every_tensor_is_used_and_none_is_left(ours, one, change, complaint):
    save_file(change(kyutai_tensors(ours["english"])), one / "model.safetensors")
    with pytest.raises(CheckpointError, match=complaint):
        resolved(one / "config.yaml")


def set_in(*path, value):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


BAD_YAMLS = {
    "later": (set_in("flow_lm", "more", value=1), "keys of a later pocket-tts: more"),
    "flow": (set_in("flow_lm", "flow", "type", value="pointwise"), "no flow of type 'pointwise'"),
    "z_dim": (set_in("flow_lm", "z_dim", value=64), "z_dim"),
    "rank": (set_in("flow_lm", "lookup_table", "rank", value=8), "rank"),
    "attn_dim": (set_in("flow_lm", "transformer", "attn_dim", value=8), "attn_dim"),
    "training": (set_in("flow_lm", "weights_path", value="a.safetensors"), "weights of a training"),
    "no number": (set_in("flow_lm", "transformer", "num_layers", value="six"), "no configuration of pocket-tts 4"),
    "no section": (set_in("mimi", value=None), "lacks mimi"),
    "no weights": (set_in("weights_path", value=None), "names no weights"),
    "weights elsewhere": (set_in("weights_path", value="else.safetensors"), "names else.safetensors"),
    "no file": (set_in("weights_path", value="hf://kyutai"), "names no repository"),
    "http": (set_in("weights_path", value="https://example.org/a"), "only hf:// is fetched"),
    "vocabulary": (set_in("flow_lm", "lookup_table", "n_bins", value=9), "the configuration says 9"),
    "heads": (set_in("flow_lm", "transformer", "num_heads", value=5), "sizes that .* refuses|do not divide"),
    "frames": (set_in("mimi", "frame_rate", value=7), "no whole number"),
}


@pytest.mark.parametrize("case", BAD_YAMLS)
def test_a_yaml_that_cannot_be_used_is_one_clear_line(one, monkeypatch, capsys, tmp_path, case):
    change, complaint = BAD_YAMLS[case]
    rewrite(one, change)
    run = command_runner(convert, monkeypatch, capsys)
    code, out, err = run("pocket-tts", "--checkpoint", one / "config.yaml", "--output", tmp_path / "bundle")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert re.search(complaint, err), err


def test_weights_without_a_yaml(one):
    (one / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="0 yaml files beside it"):
        resolved(one / "model.safetensors")


def test_a_language_belongs_to_a_repository(ours, one):
    with pytest.raises(OptionError, match="holds one model"):
        resolved(one / "config.yaml", language="french")
    with pytest.raises(OptionError, match="Kyutai's own layout"):
        planned(ours["english"], language="french")


def nothing(tensors):
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("kind", ["by name", "zero", "absent"])
def test_weights_without_voice_cloning_speak_in_their_own_voices(ours, tmp_path, kind):
    root = tmp_path / ("pocket-tts-without-voice-cloning" if kind == "by name" else "twin")
    write_repository({"english": ours["english"]}, root, forms=("now",))
    weights = root / "languages" / "english" / "model.safetensors"
    tensors = load_file(weights)
    if kind != "by name":
        encoder = {n: t for n, t in tensors.items() if n.startswith(("mimi.encoder", "mimi.downsample"))}
        speaker = {"flow_lm.speaker_proj_weight": tensors["flow_lm.speaker_proj_weight"]}
        if kind == "zero":
            tensors |= nothing(encoder | speaker)
        else:
            tensors = {name: tensor for name, tensor in tensors.items() if name not in encoder | speaker}
    save_file(tensors, weights)
    plan = planned(resolved(root).folder)
    assert [c.name for c in plan.components] == ["text_embedding", "backbone", "flow", "codec_decoder"]
    assert len(plan.notes) == 1
    assert "without voice cloning" in plan.notes[0]
    pipeline = opened(tmp_path / "bundle", plan)
    assert len(say(pipeline, pipeline.chunks("Go on.")[0]).audio)
    other = opened(tmp_path / "bundle", plan, voice="demo/clips/ps_goforward.wav")
    with pytest.raises(ToolkitError, match=r"without voice cloning.*anna, bert"):
        other.load()


def test_the_default_checkpoint_needs_no_token(repository, monkeypatch):
    """It once was the gated one, of which every language was fetched before it was refused."""
    asked = []

    def open_hub(name, revision=None):
        assert name == layout.UNGATED
        return HubSource(name, name, COMMIT, open_source(str(repository)).files)

    def fetch(self, names):
        asked.extend(names)
        return repository

    monkeypatch.setattr(checkpoints, "open_source", open_hub)
    monkeypatch.setattr(HubSource, "fetch", fetch)
    checkpoint = resolve_checkpoint(MODEL, None, None, DEFAULTS)
    assert (checkpoint.kind, checkpoint.revision, checkpoint.location) == ("hub", COMMIT, layout.UNGATED)
    assert {name.split("/")[1] for name in asked} == {"english"}
    assert planned(checkpoint.folder).notes[0].startswith("the weights are those without voice cloning")


def test_tokenizer_and_voices_come_from_the_ungated_twin_where_the_source_lacks_them(repository, monkeypatch):
    files = open_source(str(repository)).files
    weights = tuple(name for name in files if name.endswith(("yaml", "model.safetensors")))
    monkeypatch.setattr(layout, "open_source", lambda name: HubSource(name, name, COMMIT, files))
    monkeypatch.setattr(HubSource, "fetch", lambda self, names: repository)
    gated = HubSource("kyutai/pocket-tts", "kyutai/pocket-tts", COMMIT, weights)
    found = LAYOUTS[0].open(gated, {"language": "french"})
    twin = f"hf://{layout.UNGATED}/languages/french"
    assert found.clones
    assert f"hf://kyutai/pocket-tts/languages/french/model.safetensors@{COMMIT}" in found.files
    assert {f"{twin}/tokenizer.json@{COMMIT}", f"{twin}/embeddings/anna.safetensors@{COMMIT}"} <= found.files.keys()


def test_kyutais_default_voice_is_the_first(ours, tmp_path):
    folder = tmp_path / "voices" / "languages" / "german_24l"
    write_language(ours["english"], folder, forms=("now",))
    (folder / "embeddings" / "bert.safetensors").rename(folder / "embeddings" / "juergen.safetensors")
    plan = planned(resolved(tmp_path / "voices", language="german_24l").folder)
    assert plan.host["voices"] == ["juergen", "anna"]


def test_a_truncated_file_of_weights_is_damaged(one):
    file = one / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        resolved(one / "config.yaml")


def test_the_generation_has_kyutais_defaults(repository):
    generation = json.loads((resolved(repository).folder / "generation_config.json").read_text())
    assert (generation["min_frames_before_eos"], generation["num_flow_steps"]) == (6, 1)
    assert (generation["do_sample"], generation["temperature"], generation["eos_threshold"]) == (True, 0.7, -4.0)
