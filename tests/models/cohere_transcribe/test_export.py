"""The plan, its options and errors; and the saved packages: parity, weights, targets, nothing folded away."""

import json
from collections import defaultdict

import coremltools as ct
import numpy as np
import pytest

from commands.conversion import ConvertRequest, convert, prepare
from models.cohere_transcribe import MODEL, export
from models.cohere_transcribe.pipeline import Pipeline
from tests.models.audio import clip
from tests.models.cohere_transcribe.conftest import BUNDLE_OPTIONS
from tests.models.cohere_transcribe.host import FORMS, OPTIONS, PROMPT, forced_logits, ids, opened, planned, stock
from tests.models.cohere_transcribe.tiny import save_tiny_checkpoint
from tests.packages import assert_every_input_acts, assert_padding_cannot_act, functions
from toolkit.errors import OptionError, ToolkitError
from toolkit.export.checkpoint import plan_of_bundle
from toolkit.export.package import export_component
from toolkit.runtimes.portable import PortableRuntime

HEARING = ["encoder", "cross_kv"]


@pytest.mark.parametrize(
    ("decoder", "forms"),
    [("stateful", ["stateful"]), ("stateless,external", ["external", "stateless"]), (OPTIONS["decoder"], list(FORMS))],
)
def test_decoder_decides_the_components(small, decoder, forms):
    plan = planned(small, decoder=decoder)
    assert [c.name for c in plan.components] == [*HEARING, *(f"decoder_{form}" for form in forms)]
    assert plan.options == OPTIONS | {"decoder": ",".join(forms)}


def test_the_default_plan_holds_the_components_that_the_model_names(tmp_path):
    save_tiny_checkpoint(tmp_path, max_position_embeddings=1024)
    plan = planned(tmp_path, **{o.name: o.default for o in MODEL.options["convert"]})
    assert tuple(c.name for c in plan.components) == MODEL.components
    assert [f.name for f in plan.component("encoder").functions] == ["audio_15s", "audio_35s"]
    assert [w["encoder_frames"] for w in plan.host["encoder_windows"]] == [188, 438]
    assert plan.component("decoder_stateful").function("step").states[0].shape[2] == 256


@pytest.mark.parametrize(("seconds", "frames"), [("1", [100]), ("4,1.5,1.50", [150, 400]), ("2.01", [201])])
def test_audio_seconds_are_lengths_of_the_encoder(small, seconds, frames):
    windows = planned(small, audio_seconds=seconds).host["encoder_windows"]
    assert [w["mel_frames"] for w in windows] == frames
    assert [w["encoder_frames"] for w in windows] == [-(-n // 8) for n in frames]


@pytest.mark.parametrize("text", ["", "x", "8,", "0.5", "nan", "inf", "-8", "8;15", "35.01", "15,36"])
def test_bad_audio_seconds_are_usage_errors(small, text):
    with pytest.raises(OptionError, match="--audio-seconds"):
        planned(small, audio_seconds=text)


@pytest.mark.parametrize("tokens", [-1, 0, PROMPT, 161])
def test_bad_max_tokens_are_usage_errors(small, tokens):
    with pytest.raises(OptionError, match=f"--max-tokens must be between {PROMPT + 1} and 160, not {tokens}"):
        planned(small, max_tokens=tokens)


@pytest.mark.parametrize(("form", "cache"), [*((form, PROMPT + 1) for form in FORMS), ("stateful", 160)])
def test_the_smallest_and_the_largest_cache(small, tmp_path, form, cache):
    pipeline = opened(tmp_path, planned(small, max_tokens=cache), decoder=form)
    decoded = pipeline.decode(pipeline.encode(*pipeline.features(clip(1))))
    assert ids(decoded) == stock(small, clip(1), tokens=cache - PROMPT + 1).tokens[0]


def test_log_softmax_gives_logarithms_of_probabilities(small, tmp_path):
    pipelines = [opened(tmp_path, planned(small, head=head), decoder="external") for head in ("raw", "log-softmax")]
    raw, shown = (forced_logits(p, p.encode(*p.features(clip(2))), [40, 41, 42]) for p in pipelines)
    np.testing.assert_allclose(np.exp(shown).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(shown - shown[:, :1], raw - raw[:, :1], atol=1e-4)
    assert pipelines[0].transcribe(clip(2)).text == pipelines[1].transcribe(clip(2)).text


def assert_within_gates(bundle, precision, forms):
    parity = [(c.name, p) for c in bundle.manifest.components for p in c.parity]
    assert {c.precision for c in bundle.manifest.components} == {precision}
    assert {name for name, _ in parity} == {*HEARING, *(f"decoder_{form}" for form in forms)}
    assert all(p.passed and p.calls for _, p in parity), [(n, p.output, p.gate) for n, p in parity if not p.passed]
    return {(name, p.function, p.output) for name, p in parity}


def test_a_float16_bundle_is_within_its_gates(converted):
    found = assert_within_gates(converted, "fp16", FORMS)
    states = {name for name in found if name[2].startswith("state ")}
    assert states == {("decoder_stateful", "step", f"state {kind}_cache") for kind in ("key", "value")}
    assert {function for name, function, _ in found if name == "encoder"} == {"audio_4s", "audio_22s"}


@pytest.fixture(scope="module")
def exact(checkpoints, tmp_path_factory):
    """A float32 bundle of another checkpoint, whose decoders say logarithms of probabilities."""
    options = {"audio_seconds": "4", "decoder": OPTIONS["decoder"], "max_tokens": 30, "head": "log-softmax"}
    checkpoint, output = checkpoints["one_key_head"], tmp_path_factory.mktemp("exact") / "bundle"
    request = ConvertRequest(MODEL, str(checkpoint), output=output, precision="fp32", options=options)
    return convert(prepare(request)).bundle


def test_a_float32_bundle_is_within_its_gates(exact):
    assert_within_gates(exact, "fp32", FORMS)
    assert exact.manifest.host["head"] == "log-softmax"
    assert exact.manifest.options["decoder"] == ",".join(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_float32_packages_say_what_the_class_says(exact, checkpoints, form):
    expected = stock(checkpoints["one_key_head"], clip(3.3), tokens=21)
    pipeline = Pipeline(exact, PortableRuntime(exact.locate), decoder=form)
    transcript = pipeline.transcribe(clip(3.3))
    assert transcript.text == expected.text
    assert transcript.segments[0].stop == "cache_full"
    assert ids(pipeline.decode(pipeline.encode(*pipeline.features(clip(3.3))))) == expected.tokens[0]


@pytest.mark.parametrize("form", FORMS)
def test_float16_packages_are_near_the_class(converted, small, form):
    expected = stock(small, clip(3.3), tokens=30)
    pipeline = Pipeline(converted, PortableRuntime(converted.locate), decoder=form)
    ours = forced_logits(pipeline, pipeline.encode(*pipeline.features(clip(3.3))), expected.tokens[0])
    (logits,) = expected.logits
    assert np.linalg.norm(ours - logits) < 0.03 * np.linalg.norm(logits)
    best = np.sort(logits, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * np.abs(ours - logits).max()
    assert clear.sum() > 10
    np.testing.assert_array_equal(ours.argmax(axis=1)[clear], np.array(expected.tokens[0])[clear])


def test_every_input_of_a_saved_package_influences_an_output(converted):
    for component in functions(converted):
        assert_every_input_acts(component, valid(component))


def valid(component):
    """A length with some padding behind it, for a component that has one."""
    return component.inputs["mel"].shape[1] - 13 if "length" in component.inputs else None


@pytest.mark.parametrize("function", ["audio_4s", "audio_22s"])
def test_padding_cannot_change_the_encoders_package(converted, function):
    encoder = PortableRuntime(converted.locate).load("encoder", function)
    assert_padding_cannot_act(encoder, "mel", "encoder", valid(encoder))


@pytest.mark.parametrize("length", [1, 2040, *range(2047, 2058), 2063, 2079, 2199, 2200])
def test_a_float16_package_counts_frames_exactly(counting, length):
    """Beyond 2048, float16 knows every other number only."""
    mel = np.zeros((1, 2200, 80), np.float32)
    outputs = counting.predict({"mel": mel, "length": np.array([length], np.int32)})
    n = -(-length // 8)
    assert outputs["encoder_length"].tolist() == [n]
    assert outputs["encoder"][0, n - 1].any()
    assert not outputs["encoder"][0, n:].any()


@pytest.fixture(scope="module")
def counting(converted):
    return PortableRuntime(converted.locate).load("encoder", "audio_22s")


def blobs(package):
    """Function -> (shape, offset in the file) of every weight that it reads."""
    program = ct.models.MLModel(str(package), skip_model_load=True).get_spec().mlProgram
    found = defaultdict(list)
    for name, function in program.functions.items():
        for operation in function.block_specializations[function.opset].operations:
            for value in operation.attributes.values():
                if value.WhichOneof("value") == "blobFileValue":
                    shape = tuple(d.constant.size for d in value.type.tensorType.dimensions)
                    found[name].append((shape, value.blobFileValue.offset))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_the_tied_embedding_is_stored_once(converted, small, form):
    config = export.load_model(small).config
    found = blobs(converted.path / f"decoder_{form}.mlpackage")
    table = (config.vocab_size, config.hidden_size)
    offsets = {offset for weights in found.values() for shape, offset in weights if shape == table}
    assert len(offsets) == 1
    assert all(any(shape == table for shape, _ in weights) for weights in found.values())


def test_an_untied_output_is_stored_beside_the_embedding(checkpoints, tmp_path):
    spec = planned(checkpoints["untied"]).component("decoder_stateless")
    export_component(spec, tmp_path, "fp16", "iOS18")
    config = export.load_model(checkpoints["untied"]).config
    (weights,) = blobs(tmp_path / "decoder_stateless.mlpackage").values()
    assert sum(shape == (config.vocab_size, config.hidden_size) for shape, _ in weights) == 2


@pytest.mark.parametrize("form", ["stateful", "external"])
def test_prefill_and_step_share_their_weights(converted, form):
    """All matrices; but the prompt's positions are known, and the table of all of them is the step's."""
    found = blobs(converted.path / f"decoder_{form}.mlpackage")
    prefill, step = ({weight for weight in found[name] if len(weight[0]) == 2} for name in ("prefill", "step"))
    assert len(prefill) > 2 * 8, "of each layer, four of self-attention, two of the audio's, two of the MLP"
    assert not prefill - step
    assert {shape for shape, _ in step - prefill} == {(160, 24)}


def test_older_targets_have_the_other_forms(small, tmp_path):
    plan = planned(small, max_tokens=20, audio_seconds="1")
    with pytest.raises(ToolkitError, match="decoder_stateful keeps states, which iOS17 does not have"):
        export_component(plan.component("decoder_stateful"), tmp_path, "fp16", "iOS17")
    assert not list(tmp_path.iterdir())
    assert export_component(plan.component("decoder_external"), tmp_path, "fp16", "iOS17") == {
        "decoder_external.prefill.mlpackage": {"prefill": "main"},
        "decoder_external.step.mlpackage": {"step": "main"},
    }


def test_the_plan_of_a_bundle_is_the_plan_it_was_made_from(converted):
    plan = plan_of_bundle(converted, MODEL)
    assert plan.host == converted.manifest.host
    assert [c.name for c in plan.components] == [c.name for c in converted.manifest.components]
    assert converted.manifest.options == BUNDLE_OPTIONS


def test_constants_of_the_checkpoint_are_the_hosts(tmp_path):
    """Read from its files, not assumed."""
    save_tiny_checkpoint(tmp_path)
    file = tmp_path / "processor_config.json"
    config = json.loads(file.read_text())
    config["feature_extractor"] |= {
        "dither": 2e-5,
        "max_audio_clip_s": 20.0,
        "overlap_chunk_second": 3.0,
        "min_energy_window_samples": 800,
        "preemphasis": 0.9,
    }
    file.write_text(json.dumps(config))
    host = planned(tmp_path).host
    assert (host["dither"], host["longest_s"], host["search_s"], host["energy_samples"]) == (2e-5, 20.0, 3.0, 800)
    assert host["mel"]["preemphasis"] == 0.9
    with pytest.raises(OptionError, match="between 1 and 20"):
        planned(tmp_path, audio_seconds="21")
