"""Opening bundles: whole ones open, everything else is refused in one line that says what to do."""

import json
import shutil

import pytest

from commands.conversion import ConvertRequest, convert, prepare
from commands.describe import describe_bundle
from models.parakeet_tdt import MODEL
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.bundle.bundle import MANIFEST, open_bundle
from toolkit.bundle.checksums import sha256_of_path
from toolkit.bundle.writer import Staging
from toolkit.errors import BundleError, OutputError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle of a tiny random checkpoint; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_checkpoint(folder / "checkpoint")
    request = ConvertRequest(
        MODEL, str(folder / "checkpoint"), output=folder / "bundle", options={"audio_seconds": "2"}
    )
    return convert(prepare(request)).bundle.path


@pytest.fixture
def bundle(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "bundle")


def edit(bundle, change):
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def refused(bundle, *words):
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_a_whole_bundle_opens(whole):
    manifest = open_bundle(whole).manifest
    assert [c.name for c in manifest.components] == ["encoder", "prediction", "joint", "joint_decision", "decoder_step"]
    assert manifest.checkpoint.kind == "folder"
    assert all(p.calls > 0 for c in manifest.components for p in c.parity)


def test_missing_bundle(tmp_path):
    refused(tmp_path / "nowhere", "no bundle at", "convert")


def test_folder_that_is_no_bundle(tmp_path):
    refused(tmp_path, "not a bundle", MANIFEST)


def test_truncated_weight_file(bundle):
    weights = next((bundle / "encoder.mlpackage").rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    refused(bundle, "encoder.mlpackage has changed", "--force")


def test_changed_byte(bundle):
    weights = next((bundle / "decoder_step.mlpackage").rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    refused(bundle, "decoder_step.mlpackage has changed")


def test_changed_asset(bundle):
    (bundle / "tokenizer.json").write_text("{}")
    refused(bundle, "tokenizer.json has changed")


def test_missing_component(bundle):
    shutil.rmtree(bundle / "joint.mlpackage")
    refused(bundle, "joint.mlpackage is missing", "Rebuild it")


def test_unknown_manifest_key(bundle):
    edit(bundle, lambda manifest: manifest.update(surprise=1))
    refused(bundle, "surprise", "not permitted")


def test_manifest_that_is_no_json(bundle):
    (bundle / MANIFEST).write_text("{")
    refused(bundle, "cannot be read")


def test_package_of_another_wrapper_is_stale(bundle):
    edit(bundle, lambda manifest: manifest["components"][0]["sources"].update({"wrappers.conformer": "0" * 64}))
    refused(
        bundle,
        "encoder was made by another version of wrappers.conformer",
        "convert parakeet-tdt",
        "--precision fp16",
        "--audio-seconds 2",
        "--force",
    )


def test_label_and_contents_agree(whole):
    for component in describe_bundle(whole)["components"]:
        assert {p["precision_found"] for p in component["packages"]} == {component["precision"]}


def test_folder_checksum_sees_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("same")
    assert sha256_of_path(tmp_path / "a") == sha256_of_path(tmp_path / "b")
    (tmp_path / "b" / "file").rename(tmp_path / "b" / "other")
    assert sha256_of_path(tmp_path / "a") != sha256_of_path(tmp_path / "b")


def clutter(folder):
    """What Finder, an exFAT or SMB disk and Archive Utility leave in a folder."""
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "._Manifest.json").write_bytes(b"AppleDouble")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "file").write_text("x")


def test_what_macos_leaves_in_a_bundle_does_not_change_it(bundle):
    for folder in (bundle, bundle / "encoder.mlpackage", bundle / "encoder.mlpackage" / "Data"):
        clutter(folder)
    open_bundle(bundle)
    (bundle / "encoder.mlpackage" / ".hidden").write_text("not of macOS")
    refused(bundle, "encoder.mlpackage has changed")


def test_a_package_that_had_clutter_when_it_was_made_stays_valid_without_it(bundle):
    clutter(bundle / "encoder.mlpackage")
    found = sha256_of_path(bundle / "encoder.mlpackage")
    edit(bundle, lambda manifest: manifest["components"][0]["packages"][0].update(sha256=found))
    shutil.rmtree(bundle / "encoder.mlpackage" / "__MACOSX")
    (bundle / "encoder.mlpackage" / ".DS_Store").unlink()
    open_bundle(bundle)


def test_a_folder_made_in_finder_is_empty(tmp_path):
    clutter(tmp_path)
    assert Staging(tmp_path).path.is_dir()
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is not a bundle"):
        Staging(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"), [("voice-Alba", "voice-alba"), ("caf\u00e9", "cafe\u0301"), ("\u00c9a", "e\u0301A")]
)
def test_assets_that_are_one_file_on_a_mac_are_refused(tmp_path, one, other):
    staging = Staging(tmp_path / "bundle")
    with pytest.raises(OutputError, match=f"{one} and {other} would be one file on a Mac"):
        staging.add_assets({one: b"1", "else": b"2", other: b"3"})
    assert not list(staging.path.iterdir())
