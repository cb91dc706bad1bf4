"""The plan, its options and errors; and the saved packages: parity, sizes, targets, that nothing was folded away."""

import json

import numpy as np
import pytest

from commands.conversion import ConvertRequest, convert, prepare
from models.qwen3_forced_aligner import MODEL
from models.qwen3_forced_aligner.export import check
from models.qwen3_forced_aligner.parity.reference import Reference
from models.qwen3_forced_aligner.pipeline import Pipeline
from tests.models.qwen3_forced_aligner.host import OPTIONS, clip, opened, planned, sentence, stock
from tests.models.qwen3_forced_aligner.tiny import TEMPLATE, save_tiny_checkpoint
from tests.packages import assert_every_input_acts, assert_padding_cannot_act, functions
from toolkit.errors import CheckpointError, OptionError
from toolkit.export.checkpoint import plan_of_bundle
from toolkit.export.package import export_component
from toolkit.runtimes.portable import PortableRuntime

SPLIT = ["audio_conv", "audio_transformer"]
DECODER = ["embedding", "decoder_prefill", "head"]


@pytest.mark.parametrize(
    ("encoder", "audio"), [("split", SPLIT), ("monolithic", ["audio_encoder"]), ("both", [*SPLIT, "audio_encoder"])]
)
def test_encoder_decides_the_components(small, encoder, audio):
    plan = planned(small, encoder=encoder)
    assert [c.name for c in plan.components] == [*audio, *DECODER]
    assert plan.options == OPTIONS | {"encoder": encoder}


def test_the_default_plan_holds_the_components_that_the_model_names(long_classes):
    plan = planned(long_classes, **{o.name: o.default for o in MODEL.options["convert"]})
    assert tuple(c.name for c in plan.components) == MODEL.components
    assert [f.name for f in plan.component("decoder_prefill").functions] == [
        f"tokens_{n}" for n in (512, 1024, 2048, 4096, 8192)
    ]


def test_audio_lengths_are_rounded_up_to_whole_windows(small, checkpoints):
    def seconds(checkpoint, **options):
        return [w["seconds"] for w in planned(checkpoint, **options).host["audio_functions"]]

    assert seconds(small, audio_seconds="4,1,2.01") == [2, 4]
    assert seconds(checkpoints["window_8s_no_groups"], audio_seconds="4,9") == [8, 16]
    assert seconds(small, audio_seconds="4,1,2.01", audio_attention="full") == [1, 3, 4]


@pytest.mark.parametrize("text", ["", "x", "8,", "0.5", "nan", "inf", "-8", "8;40", "3601"])
def test_bad_audio_seconds_are_usage_errors(small, text):
    with pytest.raises(OptionError, match="--audio-seconds"):
        planned(small, audio_seconds=text)


@pytest.mark.parametrize("text", ["", "many", "31", "64.5", "1e6", "nan", "1536", "512,1025"])
def test_bad_sequence_lengths_are_usage_errors(small, text):
    with pytest.raises(OptionError, match="--sequence-lengths"):
        planned(small, sequence_lengths=text)


def edited(folder, change):
    """A tiny checkpoint whose config.json was changed after it was saved."""
    save_tiny_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def yarn(config):
    config["text_config"]["rope_parameters"] = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}


def sliding(config):
    config["text_config"] |= {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    config["text_config"]["layer_types"] = ["full_attention", "sliding_attention"]


def chunks_of(half):
    def change(config):
        config["audio_config"] |= {"n_window": half, "n_window_infer": 4 * half}

    return change


def window_of_part_of_a_chunk(config):
    config["audio_config"]["n_window_infer"] = 250


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (yarn, "rotary embeddings of type 'yarn'"),
        (sliding, "sliding-window layers"),
        (chunks_of(25), "chunks of 50"),
        (chunks_of(51), "chunks of 102"),
        (window_of_part_of_a_chunk, "windows of 250"),
    ],
)
def test_checkpoints_that_the_wrappers_do_not_cover_are_refused(tmp_path, change, complaint):
    with pytest.raises(CheckpointError, match=complaint) as caught:
        check(edited(tmp_path, change))
    assert "\n" not in str(caught.value)


WORDS = "{{ part['text'] }}<timestamp><timestamp>"


@pytest.mark.parametrize(
    "template",
    [
        TEMPLATE.replace(WORDS, "{{ part['text'] }}<timestamp>"),
        TEMPLATE.replace(WORDS, "<timestamp>{{ part['text'] }}<timestamp>"),
        TEMPLATE.replace(WORDS, f"{{{{ ' ' }}}}{WORDS}"),
        TEMPLATE.replace("<|audio_start|>", "").replace("<|audio_pad|><|audio_end|>", "<|audio_pad|>.<|audio_pad|>"),
        TEMPLATE.replace(WORDS, "{{ part['text'] | upper }}<timestamp><timestamp>"),
        TEMPLATE.replace("<|audio_pad|>", ""),
        "{% for %}",
    ],
    ids=["one marker", "marker before", "blanks", "audio twice", "upper case", "no audio", "no template"],
)
def test_a_template_that_the_host_cannot_repeat_is_refused(tmp_path, template):
    save_tiny_checkpoint(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(CheckpointError, match="chat template") as caught:
        planned(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_template_with_other_words_around_is_repeated(tmp_path):
    """Fixed text before the audio, between it and the words, and behind them."""
    checkpoint = tmp_path / "checkpoint"
    save_tiny_checkpoint(checkpoint)
    around = TEMPLATE.replace("<|audio_start|>", "Listen: <|audio_start|>").replace("<|audio_end|>", "<|audio_end|>\\n")
    (checkpoint / "chat_template.jinja").write_text(around + "<|im_end|>")
    plan = planned(checkpoint)
    assert all(plan.host["prompt"][part] for part in ("before_audio", "after_audio", "after_words"))
    pipeline, audio, text = opened(tmp_path / "bundle", plan), clip(3.3), sentence(9)
    expected = stock(checkpoint, audio, text)
    outputs = pipeline.marker_outputs(audio, pipeline.words(text, None, 3.3))
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=0, atol=1e-3)


@pytest.mark.parametrize("attention", ["windowed", "full"])
def test_audio_attention_is_in_the_manifest_and_followed(small, tmp_path, attention):
    """On a clip of several windows the reference of the other kind says something else: the windows act."""
    pipeline = opened(tmp_path, planned(small, audio_attention=attention))
    assert pipeline.host.audio_attention == attention
    audio, text = clip(7.3), sentence(20)
    full = attention == "full"
    same, other = (Reference(small, full_attention=f).run(audio, text) for f in (full, not full))
    ours = pipeline.encode(*pipeline.features(audio))
    np.testing.assert_allclose(ours, same.audio, rtol=0, atol=2e-4)
    assert np.abs(ours - other.audio).max() > 0.05
    outputs = pipeline.marker_outputs(audio, [w.text for w in same.words])
    np.testing.assert_allclose(outputs.logits, same.logits, rtol=0, atol=1e-3)


def valid(component):
    """A length with some padding behind it, for a component that has one."""
    if "length" not in component.inputs:
        return None
    rows = component.inputs["frames"] if "frames" in component.inputs else component.outputs["audio"]
    return rows.shape[1] - 3


def test_a_float16_bundle_is_within_its_gates(converted):
    parity = [(c.name, p) for c in converted.manifest.components for p in c.parity]
    assert {c.precision for c in converted.manifest.components} == {"fp16"}
    assert {name for name, _ in parity} == {*SPLIT, "audio_encoder", *DECODER}
    assert all(p.passed and p.calls for _, p in parity), [(n, p.output, p.gate) for n, p in parity if not p.passed]
    assert {p.function for n, p in parity if n == "audio_transformer"} == {"audio_2s", "audio_4s", "audio_6s"}


def test_a_float32_bundle_is_within_its_gates(small, tmp_path):
    options = {"audio_seconds": "2", "sequence_lengths": "128", "audio_attention": "full"}
    request = ConvertRequest(MODEL, str(small), output=tmp_path / "bundle", precision="fp32", options=options)
    result = convert(prepare(request))
    assert result.passed
    assert {c.precision for c in result.bundle.manifest.components} == {"fp32"}
    assert result.bundle.manifest.host["audio_attention"] == "full"
    assert result.bundle.manifest.options["audio_attention"] == "full"


def test_float16_packages_give_the_classes_of_the_class(converted, small):
    audio, text = clip(4.4), sentence(10)
    expected = stock(small, audio, text)
    pipeline = Pipeline(converted, PortableRuntime(converted.locate))
    outputs = pipeline.marker_outputs(audio, pipeline.words(text, None, 4.4))
    assert np.linalg.norm(outputs.logits - expected.logits) < 0.03 * np.linalg.norm(expected.logits)
    best = np.sort(expected.logits, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * np.abs(outputs.logits - expected.logits).max()
    assert clear.sum() > 10
    np.testing.assert_array_equal(outputs.time_class[clear], expected.logits.argmax(1)[clear])


def test_every_input_of_a_saved_package_influences_an_output(converted):
    for component in functions(converted):
        assert_every_input_acts(component, valid(component))


def test_padding_cannot_change_a_saved_package(converted):
    for component in functions(converted):
        if component.name == "audio_transformer":
            assert_padding_cannot_act(component, "frames", "audio", valid(component))


def size(files, folder):
    return sum(f.stat().st_size for file in files for f in (folder / file).rglob("*") if f.name == "weight.bin")


def test_lengths_share_their_weights_in_one_package(converted, small, tmp_path):
    spec = planned(small, audio_seconds="2").component("audio_transformer")
    one = size(export_component(spec, tmp_path, "fp16", "iOS18"), tmp_path)
    three = size(["audio_transformer.mlpackage"], converted.path)
    assert len(converted.manifest.component("audio_transformer").functions) == 3
    assert three < 1.1 * one


def test_older_targets_get_a_package_a_length(small, tmp_path):
    spec = planned(small, sequence_lengths="64,128").component("embedding")
    assert export_component(spec, tmp_path, "fp16", "iOS17") == {
        "embedding.tokens_64.mlpackage": {"tokens_64": "main"},
        "embedding.tokens_128.mlpackage": {"tokens_128": "main"},
    }


def test_the_plan_of_a_bundle_is_the_plan_it_was_made_from(converted):
    plan = plan_of_bundle(converted, MODEL)
    assert plan.host == converted.manifest.host
    assert [c.name for c in plan.components] == [c.name for c in converted.manifest.components]
