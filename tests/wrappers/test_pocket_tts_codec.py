"""The streaming codec against the class on the whole utterance: same weights, runs longer than several windows."""

from functools import cache

import numpy as np
import pytest
import torch
from transformers import PocketTTSAudioTokenizerConfig, PocketTTSAudioTokenizerModel

from parity.measures.arrays import compare_arrays
from tests.gates import FLOAT32_SUMS
from tests.packages import assert_every_input_acts
from toolkit.export.package import export_component
from toolkit.loops.rope import rotary_tables
from toolkit.runtimes.portable import PortableRuntime
from toolkit.spec import ComponentSpec, FunctionSpec, Tensor
from wrappers.pocket_tts_codec import CodecDecoder, CodecEncoder

FRAMES = 36  # 144 positions and more, 576 where the window is the published one
CLOSE = 1e-5
SIZES = {
    "hidden_size": 24,
    "num_filters": 4,
    "upsampling_ratios": [3, 2],
    "latent_stride": 4,
    "latent_dim": 6,
    "upsample_groups": 24,
    "intermediate_size": 40,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "sliding_window": 40,
}
CONFIGS = {
    "small": {},
    "grouped_queries": {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 10, "sliding_window": 20},
    "dilated": {"num_residual_layers": 2, "dilation_growth_rate": 3, "residual_kernel_size": 5, "sliding_window": 6},
    "shortcut": {"use_conv_shortcut": True, "upsampling_ratios": [2, 5, 3], "num_hidden_layers": 3, "kernel_size": 5},
    "narrow_window": {"sliding_window": 3, "latent_stride": 5, "hidden_act": "gelu", "attention_bias": True},
    "window_of_two": {"sliding_window": 2, "last_kernel_size": 1, "num_hidden_layers": 1, "pad_mode": "replicate"},
    "grouped_upsampling": {"upsample_groups": 6, "upsampling_ratios": [3, 1], "num_residual_layers": 0},
    "replicated": {"pad_mode": "replicate", "num_residual_layers": 2, "rope_parameters": {"rope_theta": 100.0}},
    "published_window": {"sliding_window": 250, "latent_stride": 16, "upsampling_ratios": [6, 5, 4]},
}


@cache
def tiny_codec(name, **overrides):
    """A random codec whose attention decides (the class's own initial scales are 0.01)."""
    torch.manual_seed(0)
    sizes = SIZES | CONFIGS[name] | overrides
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4} | sizes.pop("rope_parameters", {})}
    config = PocketTTSAudioTokenizerConfig(**sizes, **rope, layer_scale_initial_scale=0.7)
    codec = PocketTTSAudioTokenizerModel(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in codec.named_parameters():
            if "_proj.weight" in parameter_name and parameter.ndim == 2:
                parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5)
            elif "fc" in parameter_name:
                parameter.normal_(std=parameter.shape[1] ** -0.5)
            else:
                parameter += 0.1 * torch.randn_like(parameter)
    return codec.requires_grad_(False)


@pytest.fixture(params=CONFIGS)
def codec(request):
    return tiny_codec(request.param)


def latents_of(codec, frames=FRAMES, seed=1):
    return torch.randn(1, frames, codec.config.latent_dim, generator=torch.Generator().manual_seed(seed))


def audio_of(codec, frames=FRAMES, seed=1):
    return torch.randn(1, frames * codec.config.frame_size, generator=torch.Generator().manual_seed(seed))


class Stream:
    """One utterance: keeps the states and the position, as a host does."""

    def __init__(self, component, codec, call=None):
        self.component, self.config, self.call = component, codec.config, call or component
        self.states = [torch.zeros(shape) for _, shape in component.states]
        self.position = 0

    def inputs(self, chunk):
        positions = np.arange(self.position, self.position + self.component.positions)
        tables = rotary_tables(positions, self.config.head_dim, self.config.rope_parameters["rope_theta"])
        past = torch.tensor([min(self.position, self.config.sliding_window - 1)], dtype=torch.int32)
        return [chunk, past, *(torch.from_numpy(table)[None] for table in tables)]

    def __call__(self, chunk):
        output, *new = self.call(*self.inputs(chunk), *self.states)
        assert [tuple(s.shape) for s in new] == [shape for _, shape in self.component.states]
        self.states, self.position = new, self.position + self.component.positions
        return output


def decoded(codec, latents, frames=1):
    stream = Stream(CodecDecoder(codec, frames), codec)
    return torch.cat([stream(chunk) for chunk in latents.split(frames, dim=1)], dim=1)


def encoded(codec, audio, frames=1):
    stream = Stream(CodecEncoder(codec, frames), codec)
    return torch.cat([stream(chunk) for chunk in audio.split(frames * codec.config.frame_size, dim=1)], dim=1)


def difference(ours, reference):
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("frames", [1, 3])
def test_streamed_audio_equals_the_class(codec, frames):
    latents = latents_of(codec)
    expected = codec.decode(latents).audio_values[:, 0]
    assert difference(decoded(codec, latents, frames), expected) < CLOSE


@pytest.mark.parametrize("frames", [1, 4])
def test_streamed_latents_equal_the_class(codec, frames):
    audio = audio_of(codec)
    assert difference(encoded(codec, audio, frames), codec.encode(audio[:, None]).latents) < CLOSE


@pytest.mark.parametrize("name", CONFIGS)
def test_the_window_and_what_it_forgets_matter_in_these_codecs(name):
    """Else the tests above would pass with any window."""
    codec, window = tiny_codec(name), tiny_codec(name).config.sliding_window
    for other in (tiny_codec(name, sliding_window=window - 1), tiny_codec(name, sliding_window=window + 1)):
        latents, audio = latents_of(codec), audio_of(codec)[:, None]
        assert difference(other.decode(latents).audio_values, codec.decode(latents).audio_values) > 1e-3
        assert difference(other.encode(audio).latents, codec.encode(audio).latents) > 1e-3


def test_runs_here_are_longer_than_the_window(codec):
    assert FRAMES * codec.config.latent_stride > 2 * codec.config.sliding_window


def components(codec, frames=3):
    """(component, first chunk, second chunk) of either direction."""
    latents = latents_of(codec, 2 * frames).split(frames, dim=1)
    audio = audio_of(codec, 2 * frames).split(frames * codec.config.frame_size, dim=1)
    yield CodecDecoder(codec, frames), *latents
    yield CodecEncoder(codec, frames), *audio


def test_interleaved_streams_do_not_mix(codec):
    for component, *chunks in components(codec):
        alone, one, other = (Stream(component, codec) for _ in range(3))
        expected = [alone(chunk) for chunk in chunks]
        for chunk, output in zip(chunks, expected, strict=True):
            torch.testing.assert_close(one(chunk), output, rtol=0, atol=0)
            other(10 * chunk.flip(1))


def test_the_future_of_a_chunk_cannot_act(codec):
    for component, _, chunk in components(codec):
        third, changed = chunk.shape[1] // 3, chunk.clone()
        changed[:, 2 * third :] += 1.0
        before, after = (Stream(component, codec)(c) for c in (chunk, changed))
        past = 2 * before.shape[1] // 3
        torch.testing.assert_close(after[:, :past], before[:, :past], **FLOAT32_SUMS)
        assert not torch.allclose(after[:, past:], before[:, past:], atol=1e-3)


def test_unfilled_slots_of_the_cache_cannot_act(codec):
    for component, chunk, following in components(codec, 1):
        names = [name for name, _ in component.states]
        quiet, loud = Stream(component, codec), Stream(component, codec)
        for step in (chunk, following):
            empty = codec.config.sliding_window - 1 - quiet.position
            for name in ("key", "value"):
                loud.states[names.index(name)][:, :, : max(empty, 0)] = 30.0
            torch.testing.assert_close(loud(step), quiet(step), rtol=0, atol=0)


def test_every_input_and_state_reaches_the_output(codec):
    for component, chunk, following in components(codec, 1):
        stream = Stream(component, codec)
        stream(chunk)
        inputs = [*stream.inputs(following), *stream.states]
        names = ["x", "past", "cos", "sin", *(name for name, _ in component.states)]
        expected = component(*inputs)[0]
        for i, (name, value) in enumerate(zip(names, inputs, strict=True)):
            other = value // 2 if name == "past" else value * 0.5 + 0.1
            output = component(*inputs[:i], other, *inputs[i + 1 :])[0]
            assert not torch.allclose(output, expected, rtol=0, atol=1e-5), f"{name} influences nothing"


def test_states_are_named_in_module_order():
    codec = tiny_codec("published_window")
    filters, width = SIZES["num_filters"], SIZES["hidden_size"]
    cache = (2, 3, 249, 8)
    assert CodecDecoder(codec).states == (
        ("upsample", (1, width, 16)),
        ("key", cache),
        ("value", cache),
        ("conv_0", (1, width, 6)),
        ("deconv_0", (1, 4 * filters, 6)),
        ("conv_1", (1, 4 * filters, 2)),
        ("deconv_1", (1, 2 * filters, 5)),
        ("conv_2", (1, 2 * filters, 2)),
        ("deconv_2", (1, filters, 4)),
        ("conv_3", (1, filters, 2)),
        ("conv_4", (1, filters, 2)),
    )
    assert CodecEncoder(codec, 2).states == (
        ("conv_0", (1, 1, 6)),
        ("conv_1", (1, filters, 2)),
        ("conv_2", (1, filters, 4)),
        ("conv_3", (1, 2 * filters, 2)),
        ("conv_4", (1, 2 * filters, 5)),
        ("conv_5", (1, 4 * filters, 2)),
        ("conv_6", (1, 4 * filters, 6)),
        ("conv_7", (1, 8 * filters, 2)),
        ("key", cache),
        ("value", cache),
        ("downsample", (1, width, 16)),
    )


def test_no_state_is_empty_or_of_a_rank_over_four(codec):
    for component, *_ in components(codec):
        assert all(len(shape) <= 4 and min(shape) > 0 for _, shape in component.states)
        assert len({name for name, _ in component.states}) == len(component.states)


REFUSED = {
    "sees the future": {"use_causal_conv": False},
    "trim_right_ratio is 0.5": {"trim_right_ratio": 0.5},
    "pad_mode is 'reflect'": {"pad_mode": "reflect"},
    "nothing to cache": {"sliding_window": 1},
    "frame_rate equals encodec_frame_rate": {"latent_stride": 1},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_streamed_is_refused(reason):
    codec = PocketTTSAudioTokenizerModel(PocketTTSAudioTokenizerConfig(**SIZES | REFUSED[reason])).eval()
    for build in (CodecDecoder, CodecEncoder):
        with pytest.raises(ValueError, match=f"cannot be streamed: .*{reason}"):
            build(codec, 1)


@pytest.mark.parametrize(("build", "half"), [(CodecDecoder, "decoder"), (CodecEncoder, "encoder")])
def test_a_missing_half_or_no_frame_is_refused(build, half):
    codec = PocketTTSAudioTokenizerModel(PocketTTSAudioTokenizerConfig(**SIZES, **{f"{half}_config": None}))
    with pytest.raises(ValueError, match=f"the codec has no {half}"):
        build(codec, 1)
    with pytest.raises(ValueError, match="0 frames a call"):
        build(tiny_codec("small"), 0)


def test_each_half_streams_without_the_other():
    latents, audio = latents_of(tiny_codec("small"), 2), audio_of(tiny_codec("small"), 2)
    half = tiny_codec("small", encoder_config=None)
    assert difference(decoded(half, latents), half.decode(latents).audio_values[:, 0]) < CLOSE
    half = tiny_codec("small", decoder_config=None)
    assert difference(encoded(half, audio), half.encode(audio[:, None]).latents) < CLOSE


def spec_of(component, codec):
    """The declaration of a component: its inputs, then NAME_in and NAME_out for each state."""
    frames = component.positions // codec.config.latent_stride
    latents = ("latents", (1, frames, codec.config.latent_dim))
    audio = ("audio", (1, frames * codec.config.frame_size))
    encodes = isinstance(component, CodecEncoder)
    source, target = (audio, latents) if encodes else (latents, audio)
    table = (1, component.positions, codec.config.head_dim)
    floats = [("cos", table), ("sin", table), *((f"{name}_in", shape) for name, shape in component.states)]
    inputs = [Tensor(*source, "float32", "x"), Tensor("past", (1,), "int32", "x")]
    inputs += [Tensor(name, shape, "float32", "x") for name, shape in floats]
    outputs = [Tensor(*target, "float32", "x")]
    outputs += [Tensor(f"{name}_out", shape, "float32", "x") for name, shape in component.states]
    return ComponentSpec("codec", lambda _: component, (FunctionSpec("main", tuple(inputs), tuple(outputs)),))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((build, precision), id=f"{build.__name__}-{precision}")
        for build in (CodecDecoder, CodecEncoder)
        for precision in ("fp32", "fp16")
    ],
)
def package(request, tmp_path_factory):
    """(eager component, its package on the portable runtime, codec, precision)."""
    (build, precision), codec = request.param, tiny_codec("grouped_queries", sliding_window=40)
    component, folder = build(codec, 2).eval(), tmp_path_factory.mktemp("codec")
    export_component(spec_of(component, codec), folder, precision, "iOS17")
    runtime = PortableRuntime(lambda name, function: (folder / f"{name}.mlpackage", "main"))
    return component, runtime.load("codec"), codec, precision


def test_a_package_streams_as_the_wrapper_does(package):
    component, converted, codec, precision = package
    names = list(converted.outputs)

    def call(*inputs):
        values = dict(zip(converted.inputs, (value.numpy() for value in inputs), strict=True))
        outputs = converted.predict(values)
        return [torch.from_numpy(outputs[name]) for name in names]

    encodes = isinstance(component, CodecEncoder)
    chunks = audio_of(codec).split(2 * codec.config.frame_size, 1) if encodes else latents_of(codec).split(2, 1)
    eager, saved = Stream(component, codec), Stream(component, codec, call)
    pairs = [(eager(chunk).numpy(), saved(chunk).numpy()) for chunk in chunks]
    measured = compare_arrays(*(np.concatenate(side, axis=1) for side in zip(*pairs, strict=True)))
    assert measured.psnr_db >= {"fp32": 60, "fp16": 35}[precision]
    worst = min(compare_arrays(*pair).psnr_db for pair in pairs)
    print(f"{type(component).__name__} {precision}: {measured.psnr_db:.1f} dB, worst call {worst:.1f} dB")
    for (name, _), one, other in zip(component.states, eager.states, saved.states, strict=True):
        assert compare_arrays(one.numpy(), other.numpy()).psnr_db >= {"fp32": 60, "fp16": 35}[precision], name


def test_every_input_of_a_package_acts(package):
    assert_every_input_acts(package[1])


def test_no_inner_tensor_has_a_rank_over_four(package):
    operations = package[1].model.function.block.walk()
    assert max(len(kind.shape) for operation in operations for _, kind in operation.outputs if kind.shape) == 4
