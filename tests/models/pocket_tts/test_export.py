"""The plan of every kind of checkpoint, its options, and the command that makes a bundle again."""

import json
import re
import shlex
import shutil

import pytest
from transformers import AutoTokenizer

import convert
from commands.conversion import ConvertRequest, prepare
from models.pocket_tts import MODEL, export
from models.pocket_tts.constants import HostConstants
from tests.command_runner import command_runner
from tests.models.bundles import bundle_without_packages
from tests.models.pocket_tts.tiny import CONFIGS, VOICES, save_tiny_checkpoint
from toolkit.bundle.bundle import rebuild_step
from toolkit.errors import CheckpointError, OptionError

DEFAULTS = {option.name: option.default for option in MODEL.options["convert"]}
SLOTS = 96
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def planned(checkpoint, **options):
    return export.plan(checkpoint, DEFAULTS | {"cache_slots": SLOTS} | options)


def shapes(tensors):
    return {t.name: t.shape for t in tensors}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plan_follows_the_config(checkpoints, name):
    plan, config = planned(checkpoints[name]), export.load_model(checkpoints[name]).config
    assert tuple(c.name for c in plan.components) == MODEL.components
    width, latent, head_dim = config.hidden_size, config.latent_dim, config.head_dim
    heads = (config.num_hidden_layers, config.num_key_value_heads)
    prefill, step = plan.component("backbone").functions
    assert [prefill.name, step.name] == ["prefill", "step"]
    place = {"position": (1,), "cos": (1, 64, head_dim), "sin": (1, 64, head_dim)}
    cache = {"key_in": (*heads, SLOTS, head_dim), "value_in": (*heads, SLOTS, head_dim)}
    assert shapes(prefill.inputs) == {"embeds": (1, 64, width), "length": (1,), **place, **cache}
    assert shapes(prefill.outputs) == dict.fromkeys(("key_out", "value_out"), (*heads, 64, head_dim))
    place = {"position": (1,), "cos": (1, 1, head_dim), "sin": (1, 1, head_dim)}
    assert shapes(step.inputs) == {"latent": (1, latent), "is_start": (1,), **place}
    assert shapes(step.outputs) == {"hidden": (1, width), "eos_logit": (1, 1)}
    assert shapes(step.states) == dict.fromkeys(("key_cache", "value_cache"), (*heads, SLOTS, head_dim))
    drifting = config.flow_head_config.flow_type == "drifting"
    assert [f.name for f in plan.component("flow").functions] == ["steps_1"] if drifting else ["step", "steps_1"]
    (audio, *_) = plan.component("codec_decoder").functions[0].outputs
    assert audio.shape == (1, plan.host["frame_samples"])
    for component in plan.components:
        for function in component.functions:
            assert all(len(t.shape) <= 4 for t in (*function.inputs, *function.outputs, *function.states))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_hosts_constants_are_the_checkpoints(checkpoints, name):
    plan, model = planned(checkpoints[name]), export.load_model(checkpoints[name])
    host, config = HostConstants.model_validate(plan.host), model.config
    given = CONFIGS[name].get("generation", {})
    rate, samples = (24000, 480) if name == "short_frames" else (24000, 1920)
    assert (host.sample_rate, host.frame_samples, host.fade_in_samples) == (rate, samples, 120)
    assert host.text.frame_rate == config.frame_rate == rate / samples
    assert (host.temperature, host.eos_threshold) == (given.get("temperature", 0.7), -4.0)
    assert host.min_frames_before_eos == given.get("min_frames_before_eos", 6)
    assert host.flow_steps == given.get("num_flow_steps", 1)
    assert host.latent_mean == tuple(model.latent_mean.tolist())
    assert host.latent_std == tuple(model.latent_std.tolist())
    assert host.flow_type == config.flow_head_config.flow_type
    backbone = (host.backbone.layers, host.backbone.key_heads, host.backbone.head_dim, host.backbone.slots)
    assert backbone == (config.num_hidden_layers, config.num_key_value_heads, config.head_dim, SLOTS)
    assert host.backbone.rope_theta == config.rope_parameters["rope_theta"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoints[name])
    bos = CONFIGS[name].get("voice_bos", True)
    assert host.text.audio_prompt_bos == (tokenizer.audio_prompt_bos_token_id if bos else None)
    assert host.text.audio_prompt == tokenizer.audio_prompt_token_id
    assert host.voices == tuple(VOICES)
    assert set(plan.assets) == {"tokenizer.json", "chat_template.jinja", *(f"voice-{v}.safetensors" for v in VOICES)}


def test_the_codecs_constants_are_the_codecs(checkpoints):
    codec = HostConstants.model_validate(planned(checkpoints["short_frames"]).host).codec
    assert (codec.window, codec.positions_a_frame, codec.head_dim, codec.encoder_frames) == (11, 8, 16, 25)


def test_the_defaults_of_generate_fill_what_the_checkpoint_leaves_out(tmp_path):
    save_tiny_checkpoint(tmp_path)
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"return_dict_in_generate": True}))
    host = HostConstants.model_validate(planned(tmp_path).host)
    assert (host.eos_threshold, host.min_frames_before_eos, host.flow_steps) == (-4.0, 6, 1)
    assert host.temperature == 0.0, "generate does not sample unless it is told to"


@pytest.mark.parametrize(
    ("text", "steps"),
    [("step,1,8", ["step", "1", "8"]), ("8, 1,step,8", ["step", "1", "8"]), ("10,9", ["9", "10"]), ("step", ["step"])],
)
def test_flow_steps_are_the_flows_functions(small, text, steps):
    plan = planned(small, flow_steps=text)
    names = [step if step == "step" else f"steps_{step}" for step in steps]
    assert [f.name for f in plan.component("flow").functions] == plan.host["flow_functions"] == names
    assert plan.options["flow_steps"] == ",".join(steps)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *((text, "wants `step` and numbers") for text in ("", "x", "1;8", "1,,8", "-1", "1.5", "steps", "step 1")),
        *((text, "between 1 and 64") for text in ("0", "1,65", "step,0", "9" * 30)),
    ],
)
def test_bad_flow_steps_are_usage_errors(text, complaint):
    with pytest.raises(OptionError, match=f"--flow-steps.*{complaint}"):
        export.flow_steps(text, "lsd")


@pytest.mark.parametrize("text", ["1", "step", "step,1"])
def test_a_drifting_head_samples_in_one_call(text):
    assert export.flow_steps(text, "drifting") == ["1"]


@pytest.mark.parametrize("text", ["8", "step,8", "1,8", "x", "0"])
def test_a_drifting_head_refuses_other_steps(text):
    with pytest.raises(OptionError, match="--flow-steps"):
        export.flow_steps(text, "drifting")


@pytest.mark.parametrize("slots", [63, 0, -1, 8193])
def test_bad_cache_slots_are_usage_errors(small, slots):
    with pytest.raises(OptionError, match=f"--cache-slots must be between 64 and 8192, not {slots}"):
        planned(small, cache_slots=slots)


@pytest.mark.parametrize("slots", [64, 65, 8192])
def test_the_smallest_and_the_largest_cache(small, slots):
    step = planned(small, cache_slots=slots).component("backbone").function("step")
    assert step.states[0].shape[2] == slots


def test_the_caller_keeps_the_cache_where_it_is_asked_to(small):
    step = planned(small, state="external").component("backbone").function("step")
    assert not step.states
    cached = (3, 4, SLOTS, 12)
    assert {**shapes(step.inputs), **shapes(step.outputs)}.items() >= {
        "key_in": cached,
        "value_in": cached,
        "key_out": (3, 4, 1, 12),
        "value_out": (3, 4, 1, 12),
    }.items()


def test_no_codec_encoder(small):
    plan = planned(small, codec_encoder=False)
    assert tuple(c.name for c in plan.components) == MODEL.components[:-1]
    assert plan.options["codec_encoder"] is False


OPTIONS = {
    "defaults": {},
    "all": {"flow_steps": "8,step", "cache_slots": 128, "state": "external", "codec_encoder": False},
    "codec": {"audio_tokenizer": "a codec's folder"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_the_step_that_rebuilds_a_bundle_gives_its_options(small, tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    checkpoint = shutil.copytree(small, tmp_path / "my checkpoint")
    shutil.copytree(checkpoint / "audio_tokenizer", tmp_path / "a codec's folder")
    request = ConvertRequest(MODEL, str(checkpoint), options=OPTIONS[case])
    prepared = prepare(request)
    manifest = bundle_without_packages(tmp_path, MODEL, {}, [], [], prepared.plan.options).manifest
    manifest = manifest.model_copy(update={"checkpoint": prepared.entry, "target": "macOS15"})
    (line,) = re.findall("`convert (.*)`", rebuild_step(manifest, tmp_path / "my bundle"))
    requests = []

    def asked(request):
        requests.append(request)
        raise CheckpointError("asked", "Stop.")

    monkeypatch.setattr("commands.convert_model.prepare", asked)
    command_runner(convert, monkeypatch, capsys)(*shlex.split(line))
    (again,) = requests
    assert (again.checkpoint, again.output, again.target, again.force) == (
        str(checkpoint),
        tmp_path / "my bundle",
        "macOS15",
        True,
    )
    assert again.options == prepared.plan.options
