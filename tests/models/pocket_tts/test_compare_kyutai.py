"""The ladder with voices and checkpoints of Kyutai's: green, and blamed where the voice stands elsewhere."""

import json
import shutil

import pytest

from commands.conversion import ConvertRequest, convert, prepare
from models.pocket_tts import MODEL, export
from models.pocket_tts.parity.comparison import Comparison
from models.pocket_tts.pipeline import Pipeline
from parity.ladder.ladder import Status
from tests.models.bundles import host_bundle
from tests.models.ladder import ladder_over, rows
from tests.models.pocket_tts.test_compare import ENDS_SOON, ONE, OPTIONS, SLOTS
from tests.models.pocket_tts.tiny import save_tiny_checkpoint
from tests.published_layouts.kyutai import write_repository
from toolkit.cache import CACHE_VARIABLE
from toolkit.export.checkpoint import resolve_checkpoint

pytestmark = pytest.mark.usefixtures("first_frames_only")


@pytest.fixture
def first_frames_only(monkeypatch):
    monkeypatch.setattr(Comparison, "_to_the_end", lambda *arguments: None)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kyutai") / "ours"
    save_tiny_checkpoint(folder, flow_head_config={"frequency_embedding_size": 256})
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_threshold": ENDS_SOON}))
    return folder


@pytest.fixture
def ladder(ours, tmp_path, monkeypatch):
    """The ladder of a checkpoint in Kyutai's layout, whose voices have one of their formats."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))

    def made(form, *, name="pocket-tts"):
        repository = write_repository({"english": ours}, tmp_path / name, forms=(form,))
        checkpoint = resolve_checkpoint(MODEL, str(repository), None, OPTIONS)
        plan = export.plan(checkpoint.folder, OPTIONS | {"cache_slots": SLOTS, "state": "external"})
        bundle = host_bundle(tmp_path / "bundle", MODEL, plan)
        shutil.rmtree(repository)  # all that is needed is in the cache, but for the voices, which the bundle has
        return ladder_over(MODEL, plan, bundle, checkpoint, ONE, options={"flow_steps": "1"})

    return made


@pytest.mark.parametrize("encoder", [True, False])
def test_every_component_is_measured_where_the_voices_are_caches(ours, tmp_path, monkeypatch, encoder):
    """Kyutai's own are, so that nothing but cloning projects a voice."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    repository = write_repository({"english": ours}, tmp_path / "kyutai", forms=("now",))
    options = {"cache_slots": SLOTS, "codec_encoder": encoder}
    request = ConvertRequest(MODEL, str(repository), output=tmp_path / "bundle", options=options)
    converted = convert(prepare(request))
    names = {c.name for c in converted.bundle.manifest.components}
    assert ("codec_encoder" in names, "voice_projection" in names) == (encoder, True)
    assert converted.passed, [
        (c.name, p) for c in converted.bundle.manifest.components for p in c.parity if not p.passed
    ]


@pytest.mark.parametrize("form", ["v1.0", "v1.1", "now"])
def test_voices_of_kyutai_pass(ladder, form):
    result = ladder(form)
    assert result.passed, result.verdict
    found = rows(result, "wrappers")
    assert all(found[row].status is Status.PASSED for row in ("backbone prefill: key_out", "codec_encoder: latents"))


@pytest.mark.parametrize("form", ["v1.0", "now"])
def test_weights_without_voice_cloning_pass(ladder, form):
    result = ladder(form, name="pocket-tts-without-voice-cloning")
    assert result.passed, result.verdict
    found = rows(result, "wrappers")
    assert found["codec_encoder: latents"].status is Status.SKIPPED
    assert found["backbone prefill: key_out"].status is Status.PASSED


def test_a_voice_that_is_projected_and_left_out_is_blamed(ladder, monkeypatch):
    def without_voice(self, prompt):
        return self.backbone.extend(self.backbone.empty(), self.backbone.embed_text(prompt.before_voice))

    monkeypatch.setattr(Pipeline, "prefix", without_voice)
    result = ladder("v1.0")
    assert not result.passed
    assert rows(result, "wrappers")["backbone prefill: key_out"].status is Status.FAILED
