"""The ladder on tiny checkpoints and real clips: green when all is well, and one planted fault at a time."""

import pytest
import torch

from models.cohere_transcribe import MODEL, export
from models.cohere_transcribe.parity import comparison
from models.cohere_transcribe.parity.kept_texts import ClipTexts, KeptTexts
from models.cohere_transcribe.pipeline import Pipeline
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import Status
from parity.ladder.subject import Clip
from tests.machine import stages_not_run
from tests.models.audio import RATE, clip
from tests.models.bundles import host_bundle
from tests.models.cohere_transcribe.host import FORMS, PROMPT, planned, save_with_end, stock
from tests.models.cohere_transcribe.tiny import CONFIGS
from tests.models.ladder import damaged_packages, exchanged, ladder_over, rows
from toolkit.bundle.manifest import PackageEntry
from toolkit.corpora.open import open_corpus
from toolkit.errors import BundleError, OutputError, ToolkitError
from toolkit.export.checkpoint import Checkpoint
from toolkit.runtimes.eager import EagerRuntime
from wrappers import cached_decoder
from wrappers import cohere_transcribe as wrappers

ONE = [Clip("one", clip(2.2), "one two")]
LENGTHS = {"audio_seconds": "4", "max_tokens": 24}


@pytest.fixture(scope="module")
def clips():
    return [Clip.from_example(e, RATE) for e in open_corpus("demo", 2)]


@pytest.fixture
def run(small, clips, tmp_path):
    """The ladder over the small checkpoint."""

    def ladder(*, checkpoint=small, host=None, plan=None, audio=None, **options):
        plan = plan or planned(checkpoint, **LENGTHS)
        bundle = host_bundle(tmp_path / "bundle", MODEL, plan, host)
        audio = clips if audio is None else audio
        return ladder_over(MODEL, plan, bundle, Checkpoint("tiny", "folder", checkpoint), audio, **options)

    return ladder


def rates(result):
    """Rows of the stage task that hold an error rate, by name."""
    return {name: row for name, row in rows(result, "task").items() if "error_percent" in row.metrics}


def errors(result):
    return {name: row.metrics["error_percent"] for name, row in rates(result).items()}


def test_all_is_well(run):
    result = run(packages=True)
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == {"device"}
    assert set(errors(result)) == {f"en: WER, {form}" for form in FORMS}
    for row in rates(result).values():
        assert row.metrics["error_percent"] == row.metrics["reference_error_percent"]
        assert row.metrics["clips"] == 2
    for form in FORMS:
        assert rows(result, "decode")[f"free-running tokens, {form}"].metrics["flips"] == 0
        assert f"decoder_{form}: logits" in rows(result, "wrappers")
    states = [name for name in rows(result, "packages") if "state " in name]
    assert states == [f"decoder_stateful step: state {kind}_cache" for kind in ("key", "value")]


@pytest.mark.parametrize("name", CONFIGS)
def test_random_models_of_other_sizes_pass(run, checkpoints, name):
    result = run(checkpoint=checkpoints[name], audio=[Clip("short", clip(1.8), "one")])
    assert result.passed, result.verdict


def test_packages_of_a_bundle_pass(converted, clips):
    result = run_ladder(open_subject(MODEL, converted, "portable", clips, {}), {})
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == stages_not_run()
    assert rows(result, "decode")["teacher-forced logits, stateful"].metrics["rel_l2"] > 1e-5


def test_a_head_of_logarithms_passes(run, small):
    result = run(plan=planned(small, head="log-softmax", **LENGTHS), audio=ONE)
    assert result.passed, result.verdict


def test_an_end_that_comes_is_compared_too(run, tmp_path):
    checkpoint = save_with_end(tmp_path / "ending", 1e3)
    result = run(checkpoint=checkpoint)
    assert result.passed, result.verdict
    assert set(errors(result).values()) == {100.0}


def without_preemphasis(plan):
    return {"mel": plan.host["mel"] | {"preemphasis": 0.0}}


def in_german(plan):
    prompts = plan.host["prompts"]
    return {"prompts": prompts | {"en": prompts["de"]}}


@pytest.mark.parametrize(
    ("change", "stage", "where"),
    [
        (without_preemphasis, "features", "mel"),
        (lambda plan: {"mel": plan.host["mel"] | {"eps": 0.1}}, "features", "mel"),
        (in_german, "decode", "prompt"),
    ],
    ids=["pre-emphasis", "normalisation", "language"],
)
def test_faults_of_the_host_blame_their_stage(run, small, change, stage, where):
    result = run(host=change(planned(small, **LENGTHS)), audio=ONE)
    assert result.blame == stage
    assert f"({where}" in result.verdict


def test_an_end_that_is_another_token_blames_decode(run, small, clips):
    first = stock(small, clips[0].audio).tokens[0]
    wrong = first[3]
    result = run(host={"eos_id": wrong})
    assert result.blame == "decode"
    assert "(free-running tokens" in result.verdict


class LengthIgnored(wrappers.Encoder):
    def forward(self, mel, length):
        frames, _ = super().forward(mel, torch.full_like(length, mel.shape[1]))
        return frames, (length + 7) // 8


class OneFrameMore(wrappers.Encoder):
    def forward(self, mel, length):
        frames, count = super().forward(mel, length)
        return frames, count + 1


class OtherLayersKeys(wrappers.CrossKeysValues):
    def forward(self, encoder):
        key, value = super().forward(encoder)
        return key.flip(0), value


class OtherLayersValues(wrappers.CrossKeysValues):
    def forward(self, encoder):
        key, value = super().forward(encoder)
        return key, value.flip(0)


class PositionOffByOne(cached_decoder.StatefulStep):
    def forward(self, token, position, *heard):
        return super().forward(token, position + 1, *heard)


class PositionOffByOneOutside(cached_decoder.ExternalStep):
    def forward(self, token, position, *rest):
        return super().forward(token, position - 1, *rest)


class LastOffByOne(cached_decoder.Stateless):
    def forward(self, tokens, last, *heard):
        return super().forward(tokens, last - 1, *heard)


class AudioPaddingHeard(cached_decoder.Prefill):
    def cross_mask(self, encoder_length):
        return super().cross_mask(encoder_length * 0 + len(self.frames))


@pytest.mark.parametrize(
    ("name", "fault", "where"),
    [
        ("Encoder", LengthIgnored, "encoder audio_4s: encoder"),
        ("Encoder", OneFrameMore, "encoder audio_4s: encoder_length"),
        ("CrossKeysValues", OtherLayersKeys, "cross_kv: cross_key"),
        ("CrossKeysValues", OtherLayersValues, "cross_kv: cross_value"),
        ("StatefulStep", PositionOffByOne, "decoder_stateful: logits"),
        ("ExternalStep", PositionOffByOneOutside, "decoder_external: logits"),
        ("Stateless", LastOffByOne, "decoder_stateless: logits"),
        ("Prefill", AudioPaddingHeard, "decoder_stateful: logits"),
    ],
)
def test_faults_of_a_component_blame_wrappers(run, monkeypatch, name, fault, where):
    monkeypatch.setattr(wrappers if hasattr(wrappers, name) else cached_decoder, name, fault)
    result = run(audio=ONE)
    assert result.blame == "wrappers"
    assert f"({where}" in result.verdict


class Forgetful(cached_decoder.StatefulStep):
    """Right logits, but nothing is kept."""

    def forward(self, token, position, *heard):
        before = self.key_cache.clone()
        logits = super().forward(token, position, *heard)
        self.key_cache.copy_(before)
        return logits


def test_a_package_that_keeps_nothing_blames_packages(run, small):
    plan, model = planned(small, **LENGTHS), export.load_model(small)
    good = plan.component("decoder_stateful").build
    form = (wrappers.Decoder(model, "raw"), LENGTHS["max_tokens"], 50)

    def build(function):
        return Forgetful(*form) if function == "step" else good(function)

    runtime = EagerRuntime(exchanged(plan, "decoder_stateful", build))
    runtime.name = "portable"
    result = run(audio=ONE, packages=True, runtime=runtime)
    assert result.blame == "packages"
    assert "(decoder_stateful step: state key_cache" in result.verdict


@pytest.mark.parametrize(("name", "scale"), [("encoder", 1.1), ("cross_kv", float("nan")), ("decoder_stateless", 0.9)])
def test_damaged_packages_blame_packages(run, small, name, scale):
    plan = planned(small, **LENGTHS)
    result = run(audio=ONE, packages=True, runtime=damaged_packages(plan, name, scale))
    assert result.blame == "packages"
    assert name in result.verdict


def test_text_that_is_lost_on_the_way_blames_task(run, checkpoints, monkeypatch):
    """The transcript is what the class says, in letters."""
    checkpoint = checkpoints["deep_128_mels"]
    said = [Clip("said", clip(2.2), stock(checkpoint, clip(2.2), tokens=LENGTHS["max_tokens"] - PROMPT + 1).text)]
    assert set(errors(run(checkpoint=checkpoint, audio=said)).values()) == {0.0}
    monkeypatch.setattr(comparison, "join_segments", lambda texts, language: "")
    result = run(checkpoint=checkpoint, audio=said)
    assert result.blame == "task"
    assert set(errors(result).values()) == {100.0}


def test_one_decoder(run):
    result = run(options={"decoder": "external"})
    assert result.passed, result.verdict
    assert list(errors(result)) == ["en: WER, external"]
    assert [name for name in rows(result, "decode") if "free" in name] == ["free-running tokens, external"]


@pytest.fixture
def many_tongues():
    """English, Mandarin and Korean; one that does not say."""
    languages = ("en", "zh", "ko", None)
    return [Clip(f"clip {i}", clip(1 + i / 4), "one two", (), code) for i, code in enumerate(languages)]


def test_each_language_has_its_error_rates(run, many_tongues):
    result = run(audio=many_tongues, options={"decoder": "stateless"})
    assert result.passed, result.verdict
    counted = {row.output: row.metrics["clips"] for row in rates(result).values()}
    assert counted == {
        "en: WER, stateless": 2,
        "zh: CER, stateless": 1,
        "ko: WER, stateless": 1,
        "ko: CER, stateless": 1,
    }


@pytest.mark.parametrize("asked", ["zh", "Chinese"])
def test_one_language_and_those_that_do_not_say(run, many_tongues, asked):
    result = run(audio=many_tongues, options={"decoder": "stateless", "language": asked})
    assert result.passed, result.verdict
    assert {row.output: row.metrics["clips"] for row in rates(result).values()} == {"zh: CER, stateless": 2}


def test_a_language_that_the_checkpoint_lacks_is_refused(run, many_tongues):
    with pytest.raises(ToolkitError, match="--language 'xx'"):
        run(audio=many_tongues, options={"language": "xx"})


def test_a_clip_in_a_language_that_the_checkpoint_lacks_is_skipped(run, many_tongues):
    foreign = Clip("foreign", clip(1), "eins", (), "sw")
    result = run(audio=[*many_tongues, foreign], options={"decoder": "stateless"})
    assert result.passed, result.verdict
    (row,) = [r for r in rows(result, "decode").values() if r.status is Status.SKIPPED]
    assert "sw" in row.note


class Broken(Exception):
    pass


def broken_off(clips, after):
    yield from clips[:after]
    raise Broken


def test_a_run_that_broke_off_goes_on(run, many_tongues, tmp_path, monkeypatch):
    options = {"decoder": "stateless", "resume": tmp_path / "kept.jsonl"}
    whole = run(audio=many_tongues, options={"decoder": "stateless"})
    with pytest.raises(Broken):
        run(audio=broken_off(many_tongues, 2), options=options)
    heard, real = [], Pipeline.features
    monkeypatch.setattr(Pipeline, "features", lambda self, audio: heard.append(len(audio)) or real(self, audio))
    again = run(audio=many_tongues, options=options)
    assert again.passed, again.verdict
    assert errors(again) == errors(whole)
    assert set(heard) == {len(c.audio) for c in many_tongues[2:]}
    assert "2 clips resumed" in rows(again, "decode")
    heard.clear()
    done = run(audio=many_tongues, options=options)
    assert errors(done) == errors(whole)
    assert not heard


def test_another_decoder_is_run_though_the_clip_is_kept(run, many_tongues, tmp_path):
    options = {"resume": tmp_path / "kept.jsonl"}
    run(audio=many_tongues, options=options | {"decoder": "stateless"})
    result = run(audio=many_tongues, options=options | {"decoder": "external"})
    assert "en: WER, external" in errors(result)
    assert not any("resumed" in name for name in rows(result, "decode"))


TEXTS = ClipTexts("a", "en", "one", "two", {"stateless": "thr\u00e9e"})


def manifest(bundle, sha256):
    package = PackageEntry(file="a", sha256=sha256, size_bytes=1, functions={})
    components = tuple(c.model_copy(update={"packages": (package,)}) for c in bundle.manifest.components)
    return bundle.manifest.model_copy(update={"components": components})


@pytest.fixture
def bundle(small, tmp_path):
    return host_bundle(tmp_path / "bundle", MODEL, planned(small))


def test_kept_texts_are_read_again_and_only_for_their_bundle(bundle, tmp_path):
    file = tmp_path / "kept.jsonl"
    KeptTexts(file, manifest(bundle, "1")).add(TEXTS)
    assert KeptTexts(file, manifest(bundle, "1")).get("a") == TEXTS
    assert KeptTexts(file, manifest(bundle, "1")).get("b") is None
    with pytest.raises(ToolkitError, match="another bundle"):
        KeptTexts(file, manifest(bundle, "2"))


@pytest.mark.parametrize(
    "content", ["", "no json", "[]\n", '{"bundle": 1}\n{"id": "a"}\n', "{}\n", '{"bundle": 1}\n[]\n']
)
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(bundle, tmp_path, content):
    file = tmp_path / "kept.jsonl"
    file.write_text(content)
    with pytest.raises(ToolkitError, match="not a file of an earlier run"):
        KeptTexts(file, bundle.manifest)
    assert file.read_text() == content


def test_a_file_that_cannot_be_written_is_refused(bundle, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        KeptTexts(tmp_path / "none" / "kept.jsonl", bundle.manifest)


def test_a_line_that_a_killed_run_left_half_written_is_dropped(bundle, tmp_path):
    file = tmp_path / "kept.jsonl"
    KeptTexts(file, bundle.manifest).add(TEXTS)
    whole = file.read_text()
    file.write_text(whole + whole.splitlines()[1][:20])
    kept = KeptTexts(file, bundle.manifest)
    assert kept.get("a") == TEXTS
    kept.add(ClipTexts("b", "en", "", "", {}))
    assert KeptTexts(file, bundle.manifest).get("b") is not None


def test_a_clip_longer_than_the_bundles_windows_counts_for_task_alone(run):
    long = Clip("long", clip(9), "one two three")
    result = run(audio=[Clip("short", clip(2), "one"), long], options={"decoder": "external"})
    assert result.blame in (None, "task"), result.verdict
    assert "pieces of 4 s at most, 1 of the reference" in rows(result, "decode")["long"].note
    assert rates(result)["en: WER, external"].metrics["clips"] == 2


def test_cuts_elsewhere_blame_features(run, small):
    audio = [Clip("short", clip(2), "one"), Clip("long", clip(40), "two")]
    plan = planned(small, **LENGTHS | {"audio_seconds": "35"})
    good, bad = (
        run(plan=plan, host={"longest_s": s}, audio=audio, options={"decoder": "external"}) for s in (35.0, 12.0)
    )
    assert good.passed, good.verdict
    assert bad.blame == "features"
    assert "(pieces" in bad.verdict


def test_a_form_that_the_bundle_lacks_is_refused(run, small):
    with pytest.raises(BundleError, match="no stateful decoder"):
        run(plan=planned(small, **LENGTHS | {"decoder": "external"}), options={"decoder": "stateful"})
