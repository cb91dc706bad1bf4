"""The layouts in which the four models are published, on a fake hub: `convert` fetches what it needs, and no more."""

import json
import shutil
from pathlib import Path

import pytest

import convert
from tests.command_runner import command_runner
from tests.hub import COMMIT
from tests.published_layouts.cohere import write_cohere
from tests.published_layouts.kyutai import write_repository
from tests.published_layouts.nemo import write_nemo
from tests.published_layouts.qwen import write_qwen

DEMO = Path(__file__).resolve().parents[2] / "demo/checkpoints"


def publish_nemo(folder):
    """A fine-tune: a `.nemo` alone."""
    folder.mkdir()
    write_nemo(DEMO / "parakeet-tdt", folder / "parakeet-finetuned.nemo")
    return {"parakeet-finetuned.nemo"}


def publish_parakeet(folder):
    """NVIDIA's own: transformers' layout beside the `.nemo`, which stays where it is."""
    shutil.copytree(DEMO / "parakeet-tdt", folder)
    wanted = {file.name for file in folder.iterdir() if file.suffix in (".json", ".safetensors")}
    (folder / "parakeet-tdt-0.6b-v3.nemo").write_bytes(b"2.5 GB" * 1000)
    return wanted


def publish_qwen(folder):
    """Qwen's own, in two shards."""
    write_qwen(DEMO / "qwen3-forced-aligner", folder, shards=2)
    return {file.name for file in folder.iterdir()} - {"chat_template.json"}  # its aligner does not use it


def publish_cohere(folder):
    """Cohere's own: original names, a configuration that transformers ignores, code that is not fetched."""
    write_cohere(DEMO / "cohere-transcribe", folder)
    return {file.name for file in folder.iterdir()} - {"preprocessor_config.json", "processor_config.json"}  # no values


def publish_kyutai(folder):
    """Kyutai's own, with three languages of which one is asked for, and the first one's files at the top."""
    demo = DEMO / "pocket-tts"
    write_repository({"english": demo, "french": demo, "german_24l": demo}, folder, old=demo)
    return {file.relative_to(folder).as_posix() for file in (folder / "languages/french").rglob("*") if file.is_file()}


PUBLISHED = {
    "a .nemo alone": ("parakeet-tdt", publish_nemo, "nemo", ()),
    "NVIDIA's": ("parakeet-tdt", publish_parakeet, "transformers", ()),
    "Qwen's": ("qwen3-forced-aligner", publish_qwen, "qwen", ()),
    "Cohere's": ("cohere-transcribe", publish_cohere, "cohere", ()),
    "Kyutai's": ("pocket-tts", publish_kyutai, "kyutai", ("--language", "french")),
}


@pytest.mark.parametrize("layout", PUBLISHED)
def test_only_what_is_needed_is_fetched(hub, tmp_path, monkeypatch, capsys, layout):
    model, publish, form, options = PUBLISHED[layout]
    wanted = publish(tmp_path / "repository")
    for name in ("README.md", "modeling.py", "pytorch_model.bin", "voice.wav"):
        (tmp_path / "repository" / name).write_bytes(b"not fetched")
    hub.publish("acme/published", tmp_path / "repository")
    monkeypatch.chdir(tmp_path)
    run = command_runner(convert, monkeypatch, capsys)
    code, out, err = run(model, "--checkpoint", "acme/published", *options, "--dry-run", "--json")
    assert code == 0, err
    assert {name.removeprefix("acme/published/") for name in hub.fetched} == wanted
    sizes = sum((tmp_path / "repository" / name).stat().st_size for name in wanted)
    assert sum(hub.fetched.values()) == sizes
    recorded = json.loads(out)["checkpoint"]
    assert (recorded["kind"], recorded["format"], recorded["revision"]) == ("hub", form, COMMIT)
    assert bool(recorded["origin"]) == (form != "transformers")
