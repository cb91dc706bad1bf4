"""Faults of saved packages, and the op that the comparison op by op names for each."""

import json
import shutil

import numpy as np
from safetensors.torch import load_file, save_file

import milrun
from commands.conversion import ConvertRequest, convert, prepare
from models import find_model
from tests.planted.features import ALIGNER, COHERE, PARAKEET
from tests.planted.planting import Fault, Op, copied, damaged_package, sealed
from toolkit.export.checkpoint import resolve_checkpoint


def scaled(type, scope, factor):
    return lambda damage: damage.scale_weight(damage.op(type, scope), "weight", factor)


def epsilon(scope, value):
    def change(damage):
        constant = damage.constant(damage.op("layer_norm", scope), "epsilon")
        constant.immediateValue.tensor.bytes.values = np.float16(value).tobytes()

    return change


def halves_swapped(damage):
    halves = damage.op("concat", "decoder.1.attention").inputs["values"].arguments
    first, second = halves[0].name, halves[1].name
    halves[0].name, halves[1].name = second, first


def over_the_queries(damage):
    axis = damage.constant(damage.op("softmax", "encoder.1.attention"), "axis")
    axis.immediateValue.tensor.ints.values[:] = [-2]


def mask_dropped(damage):
    """The last of the four sums of an attention."""
    damage.drop(damage.op("add", "encoder.1.attention", place=3))


def cut_one_off(damage):
    tokens = damage.op("slice_by_index", "")
    for name, by in (("begin", [0, 0, 1]), ("end", [1, 1, 66])):
        damage.constant(tokens, name).immediateValue.tensor.ints.values[:] = by


def length_folded(damage):
    """What a trace makes of a length that it takes for a number."""
    (length,) = (value for value in damage.function.inputs if value.name == "length")
    for op in damage.block.operations:
        for argument in op.inputs.values():
            for binding in argument.arguments:
                if binding.name == "length":
                    binding.value.type.CopyFrom(length.type)
                    binding.value.immediateValue.tensor.ints.values[:] = [401]


def with_package_of(site, component, *, checkpoint="demo", compression="none"):
    """A copy of the bundle with one package from another conversion; its checksum still says what was there."""
    manifest, folder = site.bundle.manifest, copied(site)
    request = ConvertRequest(
        find_model(manifest.model),
        checkpoint,
        output=site.folder / "other",
        only=(component,),
        compression=compression,
        options=dict(manifest.options),
    )
    other = convert(prepare(request)).bundle
    (package,) = other.manifest.components[0].packages
    shutil.rmtree(folder / package.file)
    shutil.copytree(other.path / package.file, folder / package.file)
    return folder


def with_stale_joint(site):
    """The joint of the checkpoint as it was some training steps before."""
    checkpoint = site.folder / "checkpoint"
    shutil.copytree(resolve_checkpoint(find_model(PARAKEET), "demo").folder, checkpoint)
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    weights["joint.head.weight"] = weights["joint.head.weight"].roll(1, dims=1)
    save_file(weights, file, metadata={"format": "pt"})
    return with_package_of(site, "joint", checkpoint=str(checkpoint))


def stale_joint(site):
    return sealed(with_stale_joint(site))


def int8_head(site):
    """The bundle with a joint of 8 bits, sound."""
    folder = with_package_of(site, "joint", compression="int8")
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    (joint,) = (c for c in manifest["components"] if c["name"] == "joint")
    joint["compression"] = "int8"
    file.write_text(json.dumps(manifest))
    return sealed(folder)


def coarse_head(site):
    """8 bits of which a scale too large by 32 leaves three."""
    bundle = int8_head(site)
    package, _ = bundle.locate("joint", "main")
    operations = milrun.load(package).function.block.operations
    (data,) = next(o for o in operations if o.type.startswith("constexpr")).inputs["data"]
    (file,) = package.rglob("weight.bin")
    content, values = file.read_bytes(), data.numpy()
    assert content.count(values.tobytes()) == 1
    coarse = (np.round(values / 32) * 32).clip(-128, 96).astype(np.int8)
    file.write_bytes(content.replace(values.tobytes(), coarse.tobytes()))
    return sealed(bundle.path)


FAULTS = (
    Fault(
        "one weight scaled",
        PARAKEET,
        "packages",
        "encoder audio_4s: encoder",
        damaged_package("encoder", scaled("linear", "encoder.1.feed_forward1.linear1", 1.5)),
        Op("linear", "encoder.layers.1.feed_forward1.linear1"),
    ),
    Fault(
        "one weight overflows",
        PARAKEET,
        "packages",
        "encoder audio_4s: encoder",
        damaged_package("encoder", scaled("linear", "encoder.1.feed_forward1.linear1", 3e4)),
        Op("linear", "encoder.layers.1.feed_forward1.linear1"),
    ),
    Fault(
        "softmax over the queries",
        PARAKEET,
        "packages",
        "encoder audio_4s: encoder",
        damaged_package("encoder", over_the_queries),
        Op("softmax", "encoder.layers.1.attention"),
    ),
    Fault(
        "length folded into a constant",
        PARAKEET,
        "packages",
        "encoder audio_4s: encoder",
        damaged_package("encoder", length_folded),
        Op("less", "encoder.subsampling.masks.0"),
    ),
    Fault(
        "package of the joint cut one off",
        PARAKEET,
        "packages",
        "joint: token_logits",
        damaged_package("joint", cut_one_off),
        Op("slice_by_index", ""),
    ),
    Fault(
        "joint of another checkpoint", PARAKEET, "packages", "joint: token_logits", stale_joint, Op("linear", "head")
    ),
    Fault(
        "keys of the audio scaled",
        COHERE,
        "packages",
        "cross_kv: cross_key",
        damaged_package("cross_kv", scaled("linear", "k_proj", 1.1)),
        Op("linear", "attentions.0.k_proj"),
    ),
    Fault(
        "RoPE halves swapped",
        ALIGNER,
        "packages",
        "decoder_prefill tokens_128: hidden",
        damaged_package("decoder_prefill", halves_swapped),
        Op("concat", "decoder.layers.1.attention"),
    ),
    Fault(
        "epsilon of a norm changed",
        ALIGNER,
        "packages",
        "decoder_prefill tokens_128: hidden",
        damaged_package("decoder_prefill", epsilon("decoder.0.attention_norm", 0.1)),
        Op("layer_norm", "decoder.layers.0.attention_norm"),
    ),
    Fault(
        "int8 head that is too coarse", PARAKEET, "packages", "joint: token_logits", coarse_head, Op("linear", "head")
    ),
)

# Too small for the gates of a whole component, which leave room for float16: only the comparison op by op sees them.
BELOW_THE_GATES = (
    Fault(
        "one weight scaled by a tenth",
        PARAKEET,
        "packages",
        "encoder",
        damaged_package("encoder", scaled("linear", "encoder.1.feed_forward1.linear1", 1.1)),
        Op("linear", "encoder.layers.1.feed_forward1.linear1"),
    ),
    Fault(
        "mask of one attention dropped",
        PARAKEET,
        "packages",
        "encoder",
        damaged_package("encoder", mask_dropped),
        Op("aten::add", "encoder.layers.1.attention"),
    ),
    Fault(
        "epsilon of a norm a tenth",
        ALIGNER,
        "packages",
        "decoder_prefill",
        damaged_package("decoder_prefill", epsilon("decoder.1.mlp_norm", 0.1)),
        Op("layer_norm", "decoder.layers.1.mlp_norm"),
    ),
)
