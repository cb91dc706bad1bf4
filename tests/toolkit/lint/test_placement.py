"""A component beyond what a Mac places is named at `convert`, with the option that brings it below."""

import pytest

from models.parakeet_tdt import MODEL as PARAKEET
from models.qwen3_forced_aligner import MODEL as ALIGNER
from toolkit.bundle.manifest import ComponentEntry, Manifest, PackageEntry
from toolkit.lint.placement import placement_notes
from toolkit.lint.target import GIB


def manifest(size_bytes, compression="none", precision="fp16", **options):
    """A manifest of one component of this size; nothing else of it is read."""
    package = PackageEntry(file="encoder.mlpackage", sha256="", size_bytes=int(size_bytes), functions={"main": "main"})
    component = ComponentEntry.model_construct(
        name="encoder", packages=(package,), precision=precision, compression=compression
    )
    return Manifest.model_construct(components=(component,), options=options)


@pytest.mark.parametrize(
    ("size_gib", "precision", "compression", "way"),
    [
        (1.22, "fp16", "none", "--compress int8 makes it about 0.61 GiB"),
        (3.48, "fp16", "none", "--compress palette4 makes it about 0.87 GiB"),
        (3.48, "fp32", "none", "--compress int8 makes it about 0.87 GiB"),
        (1.74, "fp16", "int8", "--compress palette4 makes it about 0.87 GiB"),
        (1.74, "fp16", "palette4", "no option of convert brings it below"),
        (9.0, "fp16", "none", "no option of convert brings it below"),
    ],
)
def test_too_large(size_gib, precision, compression, way):
    (note,) = placement_notes(manifest(size_gib * GIB, compression, precision), PARAKEET)
    assert note.startswith(f"encoder has {size_gib:.2f} GiB")
    assert note.endswith(way)


def test_what_fits_is_not_named():
    assert not list(placement_notes(manifest(GIB), PARAKEET))


@pytest.mark.parametrize(("encoder", "named"), [("monolithic", True), ("both", True), ("split", False)])
def test_an_encoder_that_can_be_split(encoder, named):
    (note,) = placement_notes(manifest(1.5 * GIB, encoder=encoder), ALIGNER)
    assert ("--encoder split divides it" in note) is named


def test_convert_prints_the_note(monkeypatch, capsys, parakeet_bundle):
    """The bundle is up to date, so that nothing is converted again; the limit is a fake one."""
    import convert
    from tests.command_runner import command_runner
    from toolkit.lint import target

    monkeypatch.setattr(target, "_MODEL_BYTES", {14: 4_000_000, 27: 2_000_000})
    code, _, err = command_runner(convert, monkeypatch, capsys)(
        *("parakeet-tdt", "--checkpoint", "demo", "--audio-seconds", "4", "--output", parakeet_bundle)
    )
    assert code == 0
    assert "note: encoder has" in err
    assert "prediction has" not in err
