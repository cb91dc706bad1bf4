"""`convert` from a hub: what it fetches, in which order, and what a wrong name costs."""

import json
import shutil

import pytest

import convert
from models.parakeet_tdt import MODEL
from tests.command_runner import command_runner
from tests.hub import COMMIT
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.errors import CheckpointError
from toolkit.export.checkpoint import resolve_checkpoint

PARAKEET = "acme/parakeet"
SMALL_BYTES = 100_000
NEVER = {"pytorch_model.bin": b"a pickle", "modeling_parakeet.py": b"raise SystemExit", "README.md": b"words"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_checkpoint(folder)
    return folder


@pytest.fixture
def published(hub, tiny, tmp_path):
    """A repository of one's own, with what must never be fetched beside the checkpoint."""
    folder = shutil.copytree(tiny, tmp_path / "published")
    for name, content in NEVER.items():
        (folder / name).write_bytes(content)
    hub.publish(PARAKEET, folder)
    return folder


def fetched(hub):
    return {name.removeprefix(f"{PARAKEET}/") for name in hub.fetched}


def test_weights_and_small_files_are_fetched_and_nothing_else(hub, published):
    checkpoint = resolve_checkpoint(MODEL, PARAKEET)
    assert fetched(hub) == {file.name for file in published.iterdir()} - set(NEVER)
    entry = checkpoint.entry()
    assert (entry.kind, entry.id, entry.revision, entry.format) == ("hub", PARAKEET, COMMIT, "transformers")


def test_the_same_commit_is_found_again(hub, published):
    first = resolve_checkpoint(MODEL, PARAKEET).entry()
    before = dict(hub.fetched)
    assert resolve_checkpoint(MODEL, first.location, first.revision).entry() == first
    assert hub.fetched == before


def test_shards_are_fetched_by_their_index(hub, published, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(published / "model.safetensors")
    (published / "model.safetensors").rename(published / "consolidated.safetensors")
    halves = {
        "model-00001-of-00002.safetensors": list(weights)[::2],
        "model-00002-of-00002.safetensors": list(weights)[1::2],
    }
    for file, names in halves.items():
        save_file({name: weights[name] for name in names}, published / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, names in halves.items() for name in names}}
    (published / "model.safetensors.index.json").write_text(json.dumps(index))
    resolve_checkpoint(MODEL, PARAKEET)
    assert set(halves) < fetched(hub)
    assert "consolidated.safetensors" not in fetched(hub)


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


WRONG = {
    "another architecture": lambda f: change_config(f, architectures=["WhisperForConditionalGeneration"]),
    "a config that the class refuses": lambda f: change_config(f, vocab_size="many"),
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "a damaged tokenizer": lambda f: (f / "tokenizer.json").write_text("{"),
    "no processor": lambda f: (f / "processor_config.json").unlink(),
    "a shard that is missing": lambda f: (f / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    ),
    "an adapter": lambda f: (f / "adapter_config.json").write_text("{}"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found_before_the_weights_are_fetched(hub, published, wrong):
    WRONG[wrong](published)
    with pytest.raises(CheckpointError):
        resolve_checkpoint(MODEL, PARAKEET)
    assert not any(name.endswith(".safetensors") for name in fetched(hub))
    assert sum(hub.fetched.values()) < SMALL_BYTES


def test_without_architectures_the_model_type_decides(hub, published):
    change_config(published, architectures=None)
    assert resolve_checkpoint(MODEL, PARAKEET).kind == "hub"


def test_without_architectures_another_model_type_is_refused(hub, published):
    change_config(published, architectures=None, model_type="parakeet_ctc")
    with pytest.raises(CheckpointError, match="model of type parakeet_ctc"):
        resolve_checkpoint(MODEL, PARAKEET)


def test_the_command_records_the_commit(hub, published, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = command_runner(convert, monkeypatch, capsys)
    settings = ("--checkpoint", PARAKEET, "--audio-seconds", "1", "--only", "joint", "--json")
    code, out, err = run("parakeet-tdt", *settings)
    assert code == 0, err
    manifest = json.loads((tmp_path / "build/parakeet-tdt/parakeet/manifest.json").read_text())
    assert manifest["checkpoint"]["revision"] == COMMIT
    assert manifest["checkpoint"]["location"] == PARAKEET
    assert json.loads(out)
