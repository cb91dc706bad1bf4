"""`convert` as a user runs it: what it writes, keeps, refuses, and leaves behind when it is stopped."""

import errno
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import convert as command
from commands.conversion import ConvertRequest, convert, prepare
from commands.demo import ensure_demo_bundle
from models.parakeet_tdt import MODEL
from tests.command_runner import command_runner
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.bundle.bundle import open_bundle, rebuild_step
from toolkit.bundle.writer import Staging, writing_to
from toolkit.errors import OutputError, UnsupportedError

ROOT = Path(__file__).resolve().parents[1]
COMPONENTS = ["encoder", "prediction", "joint", "joint_decision", "decoder_step"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_tiny_checkpoint(folder)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return command_runner(command, monkeypatch, capsys)


def convert_tiny(run, checkpoint, *more):
    arguments = ("parakeet-tdt", "--checkpoint", checkpoint, "--audio-seconds", "1", "--output", "bundle", "--json")
    code, out, err = run(*arguments, *more)
    return code, json.loads(out) if out else None, err


def one_line(err):
    return err.startswith("error: ") and err.count("\n") == 1


def test_list_names_every_model(run):
    code, out, _ = run("list", "--json")
    assert code == 0
    assert "parakeet-tdt" in {row["model"] for row in json.loads(out)}


def test_dry_run_shows_the_plan_and_writes_nothing(run, checkpoint, tmp_path):
    code, plan, _ = convert_tiny(run, checkpoint, "--dry-run")
    assert code == 0
    assert [c["name"] for c in plan["components"]] == COMPONENTS
    assert not list(tmp_path.iterdir())


def test_convert_then_again_keeps_everything_then_force(run, checkpoint, tmp_path):
    code, first, err = convert_tiny(run, checkpoint)
    assert (code, err) == (0, "")
    assert first["converted"] == COMPONENTS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]
    _, second, _ = convert_tiny(run, checkpoint)
    assert (second["converted"], second["kept"]) == ([], COMPONENTS)
    assert second["components"] == first["components"], "what is kept keeps its parity"
    _, third, _ = convert_tiny(run, checkpoint, "--force", "--only", "joint")
    assert third["converted"] == ["joint"]
    _, fp32, _ = convert_tiny(run, checkpoint, "--precision", "fp32")
    assert fp32["converted"] == COMPONENTS
    assert {p["precision_found"] for c in fp32["components"] for p in c["packages"]} == {"fp32"}


def test_only_converts_one_component(run, checkpoint, tmp_path):
    code, description, _ = convert_tiny(run, checkpoint, "--only", "joint")
    assert code == 0
    assert [c["name"] for c in description["components"]] == ["joint"]
    assert [c.name for c in open_bundle(tmp_path / "bundle").manifest.components] == ["joint"]


def test_only_does_not_drop_what_was_made_with_other_settings(run, checkpoint, tmp_path):
    convert_tiny(run, checkpoint, "--only", "joint")
    code, _, err = convert_tiny(run, checkpoint, "--only", "prediction", "--precision", "fp32")
    assert code == 2
    assert one_line(err)
    assert "joint made with other settings" in err
    assert [c.name for c in open_bundle(tmp_path / "bundle").manifest.components] == ["joint"]
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_partial_bundle_is_not_taken_for_the_demo(run, tmp_path):
    run("parakeet-tdt", "--checkpoint", "demo", "--only", "joint")
    assert ensure_demo_bundle(MODEL) == Path("build/parakeet-tdt/demo")
    components = open_bundle(tmp_path / "build/parakeet-tdt/demo").manifest.components
    assert tuple(c.name for c in components) == MODEL.components


def test_compressed_weights_are_recorded_shown_and_part_of_the_fingerprint(run, checkpoint, tmp_path):
    only = ("--only", "encoder")
    _, whole, _ = convert_tiny(run, checkpoint, *only)
    code, compressed, err = convert_tiny(run, checkpoint, *only, "--compress", "int8")
    assert (code, err, compressed["converted"]) == (0, "", ["encoder"])
    assert compressed["components"][0]["compression"] == "int8"
    assert compressed["components"][0]["packages"][0]["compressed_weights"] > 0
    assert compressed["size_bytes"] < whole["size_bytes"]
    assert "weights in 8 bits" in compressed["components"][0]["parity"][0]["gate"]
    _, out, _ = run("inspect", "bundle")
    assert "encoder (fp16, weights int8)" in out
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert "--precision fp16 --compress int8 --target" in rebuild_step(manifest, tmp_path / "bundle")


def test_a_target_that_cannot_read_the_compression_is_refused(run, checkpoint, tmp_path):
    code, _, err = convert_tiny(run, checkpoint, "--compress", "palette4", "--target", "iOS17")
    assert code == 2
    assert one_line(err)
    assert "iOS17 cannot read" in err
    assert not list(tmp_path.iterdir())


def test_no_command_at_all_is_one_line(run):
    code, _, err = run()
    assert code == 2
    assert one_line(err)
    assert "Missing command" in err


def test_inspect_shows_the_bundle(run, checkpoint):
    convert_tiny(run, checkpoint, "--only", "joint")
    code, out, _ = run("inspect", "bundle")
    assert code == 0
    for word in ("joint.mlpackage", "fp16 as found", "token_logits", "raw logits", "PSNR", "ops in main"):
        assert word in out


def test_a_failed_gate_exits_1_and_is_in_the_manifest(run, checkpoint, tmp_path, monkeypatch):
    from toolkit import spec

    strict = spec.package_gate(psnr_db=400.0, rel_l2=0.0, cosine=1.0, reason="cannot be met")
    original = spec.ComponentSpec.__init__
    monkeypatch.setattr(
        spec.ComponentSpec, "__init__", lambda self, *a, **k: original(self, *a, **{**k, "gates": {"fp16": strict}})
    )
    code, description, err = convert_tiny(run, checkpoint, "--only", "joint")
    assert code == 1
    assert one_line(err)
    assert not all(row["passed"] for row in description["components"][0]["parity"])
    assert open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["parrot"], "parrot"),
        (["parakeet-tdt", "--target", "iOS12"], "iOS12"),
        (["parakeet-tdt", "--checkpoint", "demo", "--audio-seconds", "x"], "--audio-seconds"),
        (["parakeet-tdt", "--checkpoint", "demo", "--audio-seconds", "0"], "between"),
        (["parakeet-tdt", "--checkpoint", "demo", "--only", "nose"], "nose"),
        (["parakeet-tdt", "--checkpoint", "nowhere"], "no folder"),
        (["inspect", "nowhere"], "no bundle"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(run, arguments, word, tmp_path):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert one_line(err), err
    assert word in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_bundle_is_never_overwritten(run, checkpoint, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years of work")
    code, _, err = convert_tiny(run, checkpoint, "--force")
    assert code == 2
    assert "is not a bundle" in err
    assert (tmp_path / "bundle" / "thesis.txt").read_text() == "years of work"


def test_output_below_a_file(run, checkpoint, tmp_path):
    (tmp_path / "bundle").write_text("a file")
    code, _, err = run("parakeet-tdt", "--checkpoint", checkpoint, "--output", "bundle/inner")
    assert code == 2
    assert one_line(err)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_the_disk_refuses(tmp_path, number):
    with pytest.raises(OutputError, match="cannot write"), writing_to(tmp_path):
        raise OSError(number, "refused")


def test_a_copy_that_the_disk_refuses(tmp_path):
    """copytree gathers its errors as text, without an errno of its own."""
    refusals = [("a", "b", "[Errno 28] No space left on device: 'a' -> 'b'")]
    with pytest.raises(OutputError, match="the disk is full"), writing_to(tmp_path):
        raise shutil.Error(refusals)


def test_a_full_disk_in_the_middle_leaves_nothing(run, checkpoint, tmp_path, monkeypatch):
    def full(spec, folder, *args, **kwargs):
        (folder / "encoder.mlpackage").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("commands.conversion.export_component", full)
    code, _, err = convert_tiny(run, checkpoint)
    assert code == 2
    assert "the disk is full" in err
    assert one_line(err)
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_in_the_staging_folder_is_not_trusted(tmp_path):
    staging = Staging(tmp_path / "bundle")
    (staging.path / "joint.json").write_text("{}")
    assert staging.finished("joint") is None


def test_interrupted_leaves_whole_components_and_resumes(checkpoint, tmp_path):
    arguments = ["parakeet-tdt", "--checkpoint", str(checkpoint), "--audio-seconds", "1", "--output", "bundle"]
    command_line = [sys.executable, str(ROOT / "convert.py"), *arguments]
    child = subprocess.Popen(
        command_line,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A shell starts its background jobs with the signal ignored, and the tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    partial = tmp_path / "bundle.partial"
    until = time.monotonic() + 120
    while not (partial / "encoder.json").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert one_line(err), err
    assert "finished components are kept in bundle.partial" in err
    assert [p.name for p in tmp_path.iterdir()] == ["bundle.partial"]
    assert {"encoder.json", "encoder.mlpackage"} <= {p.name for p in partial.iterdir()}
    assert not [p for p in partial.iterdir() if p.name.startswith(".")]
    done = subprocess.run([*command_line, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "encoder" in json.loads(done.stdout)["kept"]
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_machine_that_cannot_write_packages_is_told_before_anything_is_converted(monkeypatch, tmp_path):
    """coremltools has no wheel for Linux Arm, and what pip builds there lacks the library that writes weights."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if "libmilstorage" in name else found(name, *a)
    )
    with pytest.raises(UnsupportedError, match=r"cannot write packages on this machine.*Convert on a Mac or on Linux"):
        convert(prepare(ConvertRequest(MODEL, checkpoint="demo", output=tmp_path / "bundle")))
    assert not list(tmp_path.iterdir())
