"""Finding checkpoints: what is refused, and how it is said."""

import json

import pytest

from models.parakeet_tdt import MODEL
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.errors import CheckpointError, NoDemo
from toolkit.export import checkpoint as module
from toolkit.export.checkpoint import resolve_checkpoint


def refused(name, *words, revision=None):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(MODEL, str(name), revision)
    for word in words:
        assert word in str(caught.value)


def test_folder_is_identified_by_its_weights(tmp_path):
    save_tiny_checkpoint(tmp_path / "one", seed=1)
    save_tiny_checkpoint(tmp_path / "two", seed=2)
    one, two = (resolve_checkpoint(MODEL, str(tmp_path / n)).entry() for n in ("one", "two"))
    assert (one.kind, one.id, one.revision) == ("folder", "one", None)
    assert one.sha256 != two.sha256


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", "no folder", "hub id")


def test_file_for_a_folder(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")


def test_other_architecture(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["WhisperForConditionalGeneration"]}))
    refused(tmp_path, "WhisperForConditionalGeneration", "ParakeetForTDT")


def test_no_config(tmp_path):
    refused(tmp_path, "config.json")


def test_pickled_weights_are_not_read(tmp_path):
    save_tiny_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, "no .safetensors", "pickles are not read")


def test_revision_of_a_folder(tmp_path):
    save_tiny_checkpoint(tmp_path)
    refused(tmp_path, "--revision", revision="main")


def test_hub_download_asks_for_data_files_only_and_records_the_commit(tmp_path, monkeypatch):
    snapshot = tmp_path / "snapshots" / "0123456789abcdef"
    save_tiny_checkpoint(snapshot)
    asked = {}

    def fake_download(repo_id, revision=None, allow_patterns=None):
        asked.update(repo_id=repo_id, revision=revision, allow_patterns=allow_patterns)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake_download)
    found = resolve_checkpoint(MODEL, "nvidia/parakeet-tdt-0.6b-v3", "main")
    assert found.entry().revision == "0123456789abcdef"
    assert found.kind == "hub"
    assert asked["revision"] == "main"
    assert not [p for p in asked["allow_patterns"] if p.endswith((".py", ".bin", ".pt", ".pkl"))]


def test_hub_out_of_reach(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*args, **kwargs):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    refused("nvidia/parakeet-tdt-0.6b-v3", "cannot fetch", "demo")


def test_a_model_without_a_demo_is_refused_with_an_error_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DEMO_FOLDER", tmp_path)
    with pytest.raises(NoDemo, match=r"no demo checkpoint for parakeet-tdt\. Convert a hub id or a folder"):
        resolve_checkpoint(MODEL, "demo")
