"""Finding checkpoints: what is refused, and how it is said."""

import json
from types import SimpleNamespace

import pytest

from models import find_model
from models.parakeet_tdt import MODEL
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.errors import CheckpointError, NoDemo
from toolkit.export import checkpoint as module
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.export.pretrained import _check_json


def refused(name, *words, revision=None, model=MODEL):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(model, str(name), revision)
    for word in words:
        assert word in str(caught.value)


def test_folder_is_identified_by_its_weights(tmp_path):
    save_tiny_checkpoint(tmp_path / "one", seed=1)
    save_tiny_checkpoint(tmp_path / "two", seed=2)
    one, two = (resolve_checkpoint(MODEL, str(tmp_path / n)).entry() for n in ("one", "two"))
    assert (one.kind, one.id, one.revision) == ("folder", "one", None)
    assert one.sha256 != two.sha256


def test_what_macos_leaves_in_a_checkpoint_is_not_read(tmp_path):
    save_tiny_checkpoint(tmp_path, seed=1)
    clean = resolve_checkpoint(MODEL, str(tmp_path)).entry()
    for name in ("._model.safetensors", "._config.json", ".DS_Store"):
        (tmp_path / name).write_bytes(b"AppleDouble")
    assert resolve_checkpoint(MODEL, str(tmp_path)).entry() == clean
    _check_json(tmp_path)


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


def test_revision_of_a_folder(tmp_path):
    save_tiny_checkpoint(tmp_path)
    refused(tmp_path, "--revision", revision="main")


class FakeHub:
    """A repository of the hub, as the client shows it: a listing, and files that are fetched one by one.

    Attributes:
        fetched: names, in order.
    """

    def __init__(self, snapshot, monkeypatch):
        self.snapshot, self.fetched = snapshot, []
        monkeypatch.setattr("huggingface_hub.HfApi.model_info", self.model_info)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", self.download)

    def model_info(self, repo_id, revision=None):
        files = sorted(file.name for file in self.snapshot.iterdir())
        return SimpleNamespace(sha=self.snapshot.name, siblings=[SimpleNamespace(rfilename=file) for file in files])

    def download(self, repo_id, name, revision=None):
        assert revision == self.snapshot.name
        self.fetched.append(name)
        return str(self.snapshot / name)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that holds one tiny Parakeet at a commit, beside files that are of no use here."""
    snapshot = tmp_path / "models--nvidia--parakeet-tdt-0.6b-v3" / "snapshots" / "0123456789abcdef"
    save_tiny_checkpoint(snapshot)
    for name in ("README.md", "pytorch_model.bin", "modeling.py", "parakeet.nemo"):
        (snapshot / name).touch()
    return FakeHub(snapshot, monkeypatch)


def test_the_hub_is_asked_for_small_files_then_weights_at_one_commit(hub):
    found = resolve_checkpoint(MODEL, "nvidia/parakeet-tdt-0.6b-v3", "main")
    entry = found.entry()
    assert (entry.revision, entry.kind, entry.location) == ("0123456789abcdef", "hub", "nvidia/parakeet-tdt-0.6b-v3")
    assert hub.fetched[0] == "config.json"
    assert hub.fetched[-1] == "model.safetensors"
    assert {name.rpartition(".")[2] for name in hub.fetched} == {"json", "safetensors"}


def test_a_wrong_repository_costs_its_small_files_only(hub):
    (hub.snapshot / "config.json").write_text(json.dumps({"architectures": ["ParakeetForCTC"]}))
    refused("nvidia/parakeet-ctc-0.6b", "nvidia/parakeet-ctc-0.6b is a ParakeetForCTC")
    assert hub.fetched == ["config.json"]


def test_a_fault_in_the_hubs_cache_is_told_by_the_repository(hub):
    (hub.snapshot / "tokenizer.json").unlink()
    refused("nvidia/parakeet-tdt-0.6b-v3", "nvidia/parakeet-tdt-0.6b-v3 has no tokenizer.json")
    assert "model.safetensors" not in hub.fetched


def test_hub_out_of_reach(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*args, **kwargs):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    refused("nvidia/parakeet-tdt-0.6b-v3", "cannot fetch", "demo")


def of_class(folder, *names, **more):
    """A folder that holds a configuration and weights in name."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": list(names), **more}))
    (folder / "model.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    ("model", "architecture", "step"),
    [
        ("cohere-transcribe", "ParakeetForTDT", "Use `convert parakeet-tdt`."),
        ("parakeet-tdt", "CohereAsrForConditionalGeneration", "Use `convert cohere-transcribe`."),
        ("parakeet-tdt", "Qwen3ASRForTokenClassification", "Use `convert qwen3-forced-aligner`."),
        ("qwen3-forced-aligner", "PocketTTSForConditionalGeneration", "Use `convert pocket-tts`."),
        ("parakeet-tdt", "ParakeetForCTC", "give a Parakeet TDT"),
        ("parakeet-tdt", "ParakeetForRNNT", "give a Parakeet TDT"),
        ("qwen3-forced-aligner", "Qwen3ASRForConditionalGeneration", "Qwen/Qwen3-ForcedAligner-0.6B or its -hf twin"),
        ("pocket-tts", "PocketTTSAudioTokenizerModel", "--audio-tokenizer"),
        ("parakeet-tdt", "WhisperForConditionalGeneration", "`convert list`"),
    ],
)
def test_another_class_is_named_with_what_to_do(model, architecture, step, tmp_path):
    folder = of_class(tmp_path / "it", architecture)
    refused(folder, f"is a {architecture}, {model} needs a", step, model=find_model(model))


def test_without_architectures_the_type_decides(tmp_path):
    folder = of_class(tmp_path / "it", model_type="cohere_asr")
    refused(folder, "model of type cohere_asr", "Use `convert cohere-transcribe`.")
    save_tiny_checkpoint(tmp_path / "bare")
    config = json.loads((tmp_path / "bare" / "config.json").read_text())
    del config["architectures"]
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config))
    assert resolve_checkpoint(MODEL, str(tmp_path / "bare")).format == "transformers"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("adapter_config.json", "adapter_model.safetensors"), ("adapter (LoRA)", "merge_and_unload")),
        (("config.json", "adapter_config.json", "model.safetensors"), ("adapter (LoRA)", "merge_and_unload")),
        (("model.onnx",), ("model.onnx", "PyTorch checkpoint")),
        (("parakeet-q4.gguf",), ("parakeet-q4.gguf", "PyTorch checkpoint")),
        (("encoder.mlpackage/Manifest.json",), ("encoder.mlpackage", "PyTorch checkpoint")),
        (("manifest.json",), ("a bundle", "--bundle")),
        (("README.md",), ("has no readable config.json", "save_pretrained")),
    ],
)
def test_what_can_become_a_checkpoint_is_told_how(files, words, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    refused(tmp_path, *words)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pth"])
def test_pickles_are_to_be_saved_as_safetensors(file, tmp_path):
    save_tiny_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / file)
    refused(tmp_path, f"({file} is a pickle)", "model.save_pretrained(folder)", "pickles are not read")


def test_a_checkpoint_quantised_for_mlx_is_named(tmp_path):
    folder = of_class(tmp_path / "it", "ParakeetForTDT", quantization={"group_size": 64, "bits": 4})
    refused(folder, "quantised for MLX", "that it was made from")


def test_a_model_without_a_demo_is_refused_with_an_error_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DEMO_FOLDER", tmp_path)
    with pytest.raises(NoDemo, match=r"no demo checkpoint for parakeet-tdt\. Convert a hub id or a folder"):
        resolve_checkpoint(MODEL, "demo")
