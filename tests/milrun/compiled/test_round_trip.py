"""Packages of every kind of value, read back from their text form."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import milrun
from tests.milrun.compiled.round_trip import assert_same_when_compiled
from tests.milrun.harness import save_program

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
WEIGHT = np.arange(20, dtype=np.float32).reshape(5, 4) / 8


def odd_values(x):
    x = mb.add(x=x, y=np.float32(-0.1))
    x = mb.concat(values=(x, np.array([[np.inf, -np.inf, 1e-45, -0.0]], np.float32)), axis=0)
    return mb.slice_by_index(x=x, begin=[0, 0], end=[3, 4], begin_mask=[True, False], end_mask=[False, True])


def half(x):
    return mb.cast(x=mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(0.3333)), dtype="fp32")


def several_outputs(x):
    return tuple(mb.split(x=x, num_splits=2, axis=1))


def whole_numbers(x):
    picked = mb.gather(x=x, indices=np.array([2, 0, 1], np.int32), axis=0)
    return mb.cast(x=mb.add(x=mb.cast(x=picked, dtype="int32"), y=np.int32(-7)), dtype="fp32")


PROGRAMS = {
    "weights": lambda x: mb.linear(x=x, weight=WEIGHT, bias=WEIGHT[:, 0]),
    "odd values": odd_values,
    "half": half,
    "several outputs": several_outputs,
    "whole numbers": whole_numbers,
    "a reduction": lambda x: mb.reduce_sum(x=x, axes=[0, 1], keep_dims=False),
    "an empty constant": lambda x: mb.concat(values=(x, np.zeros((0, 4), np.float32)), axis=0),
}


@pytest.mark.parametrize("opset", ["iOS15", "iOS16", "iOS17", "iOS18"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_the_same_when_compiled(tmp_path, name, opset):
    package = save_program(PROGRAMS[name], {"x": X}, tmp_path, opset)
    compiled = milrun.load(assert_same_when_compiled(package, tmp_path))
    original = milrun.load(package)
    for one, two in zip(compiled.predict({"x": X}).values(), original.predict({"x": X}).values(), strict=True):
        np.testing.assert_array_equal(one, two)


def compressed(kind):
    config = ct.optimize.coreml.OptimizationConfig(
        global_config={
            "blocks of int4": ct.optimize.coreml.OpLinearQuantizerConfig(
                dtype="int4", granularity="per_block", block_size=2, weight_threshold=0
            ),
            "int8": ct.optimize.coreml.OpLinearQuantizerConfig(weight_threshold=0),
            "palette of 3 bits": ct.optimize.coreml.OpPalettizerConfig(nbits=3, weight_threshold=0),
            "pruned": ct.optimize.coreml.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0),
        }[kind]
    )
    step = {"palette of 3 bits": "palettize_weights", "pruned": "prune_weights"}.get(kind, "linear_quantize_weights")
    return lambda model: getattr(ct.optimize.coreml, step)(model, config)


@pytest.mark.parametrize("kind", ["blocks of int4", "int8", "palette of 3 bits", "pruned"])
def test_compressed_weights(tmp_path, kind):
    weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    plain = save_program(
        lambda x: mb.linear(x=x, weight=weight), {"x": np.ones((3, 32), np.float32)}, tmp_path, "iOS18"
    )
    package = tmp_path / "small.mlpackage"
    compressed(kind)(ct.models.MLModel(str(plain), skip_model_load=True)).save(str(package))
    assert any(op.startswith("constexpr") for op in milrun.load(package).function.op_counts)
    assert_same_when_compiled(package, tmp_path)


def test_states_and_ops_without_results(tmp_path):
    specs = [mb.TensorSpec((1, 4)), mb.StateTensorSpec((1, 4), dtype=ct.converters.mil.mil.types.fp16)]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
    def program(x, kept):
        held = mb.read_state(input=kept)
        return mb.coreml_update_state(state=kept, value=mb.add(x=held, y=mb.cast(x=x, dtype="fp16")))

    package = tmp_path / "state.mlpackage"
    ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True).save(str(package))
    compiled = milrun.load(assert_same_when_compiled(package, tmp_path))
    state = compiled.make_state()
    for count in (1, 2):
        (held,) = compiled.predict({"x": np.ones((1, 4), np.float32)}, state).values()
        np.testing.assert_array_equal(held, np.full((1, 4), count))


def test_several_functions(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    one = save_program(PROGRAMS["weights"], {"x": X}, first, "iOS18")
    two = save_program(lambda x: mb.linear(x=x, weight=WEIGHT), {"x": X}, second, "iOS18")
    described = ct.utils.MultiFunctionDescriptor()
    described.add_function(str(one), "main", "with_bias")
    described.add_function(str(two), "main", "without")
    described.default_function_name = "without"
    package = tmp_path / "both.mlpackage"
    ct.utils.save_multifunction(described, str(package))
    compiled = assert_same_when_compiled(package, tmp_path)
    assert milrun.load(compiled).functions == ("with_bias", "without")
    assert milrun.load(compiled).function.name == "without"


@pytest.mark.parametrize("shape", [ct.Shape((ct.RangeDim(1, 9, 3), 4)), ct.EnumeratedShapes([(3, 4), (5, 4)], (3, 4))])
def test_flexible_shapes(tmp_path, shape):
    import torch

    traced = torch.jit.trace(torch.nn.Linear(4, 2).eval(), torch.ones(3, 4))
    model = ct.convert(traced, inputs=[ct.TensorType("x", shape)], outputs=[ct.TensorType("y")], skip_model_load=True)
    package = tmp_path / "flexible.mlpackage"
    model.save(str(package))
    compiled = milrun.load(assert_same_when_compiled(package, tmp_path))
    assert str(compiled.inputs["x"]) == str(milrun.load(package).inputs["x"])
    with pytest.raises(milrun.InputError):
        compiled.predict({"x": np.ones((10, 4), np.float32)})


@pytest.mark.parametrize("labels", [["a", "b\tc", '"q"\\']])
def test_a_classifier_and_its_labels(tmp_path, labels):
    import torch

    traced = torch.jit.trace(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1)).eval(), torch.ones(1, 4))
    model = ct.convert(
        traced,
        inputs=[ct.TensorType("x", (1, 4))],
        outputs=[ct.TensorType("y")],
        classifier_config=ct.ClassifierConfig(labels),
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    package = tmp_path / "classifier.mlpackage"
    model.save(str(package))
    compiled = milrun.load(assert_same_when_compiled(package, tmp_path))
    given = {"x": np.ones((1, 4), np.float32)}
    assert compiled.predict(given) == milrun.load(package).predict(given)
