"""What a source lists and fetches, from a fake hub and from this machine."""

import pytest

from tests.hub import COMMIT
from toolkit.errors import CheckpointError
from toolkit.export.source import open_source

REPOSITORY = "acme/parakeet"


@pytest.fixture
def published(hub, tmp_path):
    folder = tmp_path / "published"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "voice.safetensors").write_bytes(b"x" * 1000)
    (folder / "pytorch_model.bin").write_bytes(b"y" * 1000)
    hub.publish(REPOSITORY, folder)
    return hub


def test_a_listing_fetches_no_file(published):
    source = open_source(REPOSITORY)
    assert source.files == ("config.json", "pytorch_model.bin", "sub/voice.safetensors")
    assert (source.revision, source.location, source.kind) == (COMMIT, REPOSITORY, "hub")
    assert not published.fetched


def test_only_what_is_asked_for_is_fetched_and_once(published):
    for _ in range(2):
        root = open_source(REPOSITORY, "main").fetch(["sub/voice.safetensors", "config.json"])
    assert (root / "sub" / "voice.safetensors").stat().st_size == 1000
    assert published.fetched == {f"{REPOSITORY}/config.json": 2, f"{REPOSITORY}/sub/voice.safetensors": 1000}


def test_one_file_of_a_repository_by_its_hf_name(published):
    source = open_source(f"hf://{REPOSITORY}/sub/voice.safetensors@main")
    assert (source.entry, source.revision) == ("sub/voice.safetensors", COMMIT)
    assert source.location == f"hf://{REPOSITORY}/sub/voice.safetensors"
    assert open_source(source.location, source.revision).entry == source.entry


def test_what_was_fetched_is_found_again_without_the_hub(published, monkeypatch):
    open_source(REPOSITORY).fetch(["config.json"])
    del published.folders[REPOSITORY]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = open_source(REPOSITORY)
    assert source.files == ("config.json",)
    assert source.fetch(["config.json"]).name == COMMIT


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("acme/nothing", None, "the hub has no public acme/nothing"),
        ("acme/para keet", None, "'acme/para keet' is no hub id"),
        (REPOSITORY, "v9", "has no revision v9"),
        (f"hf://{REPOSITORY}/none.yaml", None, "has no file none.yaml"),
        (f"hf://{REPOSITORY}/config.json@main", "v1", "two revisions"),
        ("hf://acme", None, "names no repository"),
        ("./nowhere", None, "no folder ./nowhere"),
    ],
)
def test_a_wrong_name_is_refused(published, name, revision, words):
    with pytest.raises(CheckpointError, match=words.replace("(", r"\(")):
        open_source(name, revision)
    assert not published.fetched


def test_a_gated_repository_says_what_to_do(published):
    published.gated.add(REPOSITORY)
    with pytest.raises(CheckpointError, match="is gated"):
        open_source(REPOSITORY)


def test_a_pointer_of_git_lfs_is_no_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="pointer of Git LFS"):
        open_source(str(tmp_path)).fetch(["tokenizer.json"])


def test_hidden_folders_are_not_listed(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "old.safetensors").touch()
    (tmp_path / "config.json").touch()
    assert open_source(str(tmp_path)).files == ("config.json",)


def test_beside_a_file_only_the_nearest_folders_are_listed(tmp_path):
    for name in ("model.yaml", "voices/a.safetensors", "photos/2024/party.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert open_source(str(tmp_path / "model.yaml")).files == ("model.yaml", "voices/a.safetensors")


def test_a_file_names_its_folder_and_itself(tmp_path):
    (tmp_path / "model.nemo").touch()
    source = open_source(str(tmp_path / "model.nemo"))
    assert (source.kind, source.entry, source.files) == ("file", "model.nemo", ("model.nemo",))
