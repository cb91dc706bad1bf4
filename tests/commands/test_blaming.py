"""The walk from the reference to the task: one planted fault a step, and the shares of a sound bundle."""

import json
import math

import numpy as np
import pytest

from commands import blaming
from commands.blaming import walk_of_bundle
from parity.ladder import engine
from parity.ladder.blame import BlameWalk, shares_of, walk_from_runs
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import LadderResult, Row, StageResult, Status, row_from_metrics
from tests.parity.toy import CHECKPOINT, Encoder, Head, Overflowing, Toy, clips, converted, outlier_toy, toy
from toolkit.bundle.bundle import open_bundle
from toolkit.bundle.checksums import sha256_of_path
from toolkit.spec import Gate


@pytest.fixture(autouse=True)
def _no_checkpoint(monkeypatch):
    monkeypatch.setattr(engine, "checkpoint_of_bundle", lambda *_: CHECKPOINT)
    monkeypatch.setattr("commands.conversion.resolve_checkpoint", lambda *_: CHECKPOINT)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The sound toy's fp16 bundle; the fp32 one is made beside it by the first walk and kept for the others."""
    return converted(toy(), tmp_path_factory.mktemp("sound") / "toy")


def walk(toy, bundle):
    """(ladder of the bundle, its walk)."""
    result = run_ladder(open_subject(toy.model, bundle, "portable", clips(), {}), {})
    return result, walk_of_bundle(toy.model, bundle, "portable", clips, {}, result)


def statuses(walk):
    return {step.name: step.status.value for step in walk.steps}


def damage(bundle, component):
    """Scale the weights of one package; the checksum is made to fit."""
    (weights,) = (bundle.path / f"{component}.mlpackage").rglob("weight.bin")
    content = bytearray(weights.read_bytes())
    values = np.frombuffer(content, np.float16, count=len(content) // 4, offset=len(content) // 4)
    values[:] = values * 0.5
    weights.write_bytes(content)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    for entry in manifest["components"]:
        for package in entry["packages"]:
            package["sha256"] = sha256_of_path(bundle.path / package["file"])
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    return open_bundle(bundle.path)


def test_a_sound_bundle_blames_nobody_and_shows_fp16s_share(sound, tmp_path):
    result, found = walk(toy(), sound)
    assert result.passed
    assert found.first is None
    assert "blame: no step fails its gate; the largest share of the error is 'package fp16'" in found.verdict
    assert statuses(found) == {
        "features": "passed",
        "wrappers": "passed",
        "package fp32": "passed",
        "package fp16": "passed",
        "compressed package": "SKIP",
        "device": "SKIP",
        "host loop": "passed",
        "task": "passed",
    }
    assert found.shares["package fp16"] > 0.99
    (chain,) = (o for o in found.outputs if o.chain)
    assert chain.output == "teacher-forced logits"
    assert chain.errors["wrappers"] <= chain.errors["package fp32"] < chain.errors["package fp16"]
    assert {o.output for o in found.outputs if not o.chain} == {"encoder: y", "head: logits"}
    assert sum(chain.shares.values()) == pytest.approx(1)
    shown = found.added_to(result)
    assert shown.tables[-1].rows[-1][0] == "result"
    assert "SKIP compressed package: the weights are not compressed" in shown.tables[-1].notes
    json.dumps(shown.walk, allow_nan=False)


def test_the_fp32_bundle_is_kept_and_made_anew_when_it_no_longer_fits(sound, monkeypatch):
    made = []
    monkeypatch.setattr(blaming, "convert", lambda prepared, on_step: made.append(prepared.output) or _Converted)
    fp32 = sound.path.with_name("toy.fp32")
    if not fp32.exists():
        pytest.fail("the walk above makes it")
    assert blaming.sibling(toy().model, sound, "fp32").path == fp32
    assert not made
    monkeypatch.setattr(blaming, "fingerprint", lambda prepared, component: "another")
    blaming.sibling(toy().model, sound, "fp32")
    assert made == [fp32]


class _Converted:
    bundle = None


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ({"gain": 1.1}, "features"),
        ({"wrapper": Encoder(seed=5)}, "wrappers"),
        ({"shift": 0.3}, "host loop"),
    ],
)
def test_faults_outside_the_packages(tmp_path, fault, step):
    faulty = toy(**fault)
    result, found = walk(faulty, converted(faulty, tmp_path / "toy"))
    assert not result.passed
    assert found.first.name == step
    (chain,) = (o for o in found.outputs if o.chain)
    assert chain.shares[step] > 0.99
    assert statuses(found)["package fp16"] == "passed"


def test_fp16_overflow_is_the_fp16_packages(tmp_path):
    encoder = Overflowing()
    loud = Toy(encoder, Head(), encoder)
    _, found = walk(loud, converted(loud, tmp_path / "toy"))
    assert found.first.name == "package fp16"
    assert statuses(found)["package fp32"] == "passed"
    assert found.shares["package fp16"] > 0.99
    assert "encoder: y" in found.first.note


def test_a_damaged_weight_in_the_fp16_package_is_the_fp16_packages(tmp_path):
    _, found = walk(toy(), damage(converted(toy(), tmp_path / "toy"), "head"))
    assert found.first.name == "package fp16"
    assert found.first.note.startswith("head: logits")
    assert found.shares["package fp16"] > 0.99


@pytest.mark.parametrize("compression", ["int8", "palette4"])
def test_compression_that_breaks_a_head_is_the_compressed_packages(tmp_path, compression):
    fragile = outlier_toy()
    _, found = walk(fragile, converted(fragile, tmp_path / "toy", compression=compression))
    assert found.first.name == "compressed package"
    assert "head: logits" in found.first.note
    assert statuses(found)["package fp16"] == "passed"
    assert found.shares["compressed package"] > 0.99


def result_of(**stages):
    return LadderResult("toy", {}, tuple(StageResult(name, tuple(rows)) for name, rows in stages.items()))


def tensor(error, limit=0.1, name="logits"):
    metrics = {"rel_l2": error, "psnr_db": 60.0, "non_finite": 0 if math.isfinite(error) else 3}
    return row_from_metrics(name, metrics, Gate("x", {"rel_l2": limit}, {"psnr_db": 0}))


def walked(*errors, **more):
    """Of a chain's error after wrappers, fp32 and fp16."""
    ladders = [result_of(decode=[tensor(e)], wrappers=[tensor(0, name="w")], packages=[], features=[]) for e in errors]
    runs = dict(zip(("wrappers", "package fp32", "package fp16"), ladders, strict=False))
    reasons = dict.fromkeys(("package fp32", "package fp16", "compressed package", "device"), "not here")
    return walk_from_runs(reasons | runs | more)


def test_a_row_that_fails_belongs_to_the_run_in_which_it_first_does():
    assert walked(0.2, 0.2, 0.2).first.name == "host loop"
    assert walked(0.0, 0.2, 0.2).first.name == "package fp32"
    assert walked(0.0, 0.0, 0.2).first.name == "package fp16"
    assert walked(0.0, 0.0, 0.05).first is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_is_all_of_the_error(value):
    found = walked(1e-6, 1e-6, value)
    assert found.first.name == "package fp16"
    assert found.shares == {**dict.fromkeys((s.name for s in found.steps), 0.0), "package fp16": 1.0}
    assert "not finite (100 %)" in found.table().rows[0]
    json.dumps(found.json(), allow_nan=False)


def test_a_run_that_broke_off_has_no_finite_result():
    broken = result_of(decode=[Row("clip", Status.FAILED, note="component head: NaN")], packages=[])
    found = walked(1e-6, 1e-6, **{"package fp16": broken})
    assert found.first.name == "package fp16"
    assert found.first.note == "clip: component head: NaN"
    assert found.shares["package fp16"] == 1


def test_shares_add_up_in_squares_and_never_below_zero():
    assert shares_of({"a": 3.0, "b": 5.0}) == {"a": 9 / 25, "b": 16 / 25}
    assert shares_of({"a": 3.0, "b": 1.0}) == {"a": 1.0, "b": 0.0}
    assert shares_of({"a": 0.0, "b": 0.0}) == {"a": 0.0, "b": 0.0}


def test_a_walk_without_any_error_says_so():
    assert walked(0.0, 0.0, 0.0).verdict == "blame: no step fails its gate, and no step adds an error"
    assert BlameWalk((), ()).first is None
