"""Programs that no converter writes: each is refused with what is wrong, and none gives wrong numbers."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import InputError, OpError, PackageError
from milrun.package import open_package
from tests.milrun.harness import TOLERANCE, save_program, save_stateful

X = np.arange(-4, 4, dtype=np.float32).reshape(1, 8)


def branches(x):
    """outer = exp(x); yielded = relu(x) or abs(x); total = outer + yielded."""
    outer = mb.exp(x=x, name="outer")
    positive = mb.greater(x=mb.reduce_sum(x=x, name="sum"), y=np.float32(-100), name="positive")
    chosen = mb.cond(
        pred=positive,
        _true_fn=lambda: mb.relu(x=x, name="rectified"),
        _false_fn=lambda: mb.abs(x=x, name="absolute"),
        name="chosen",
    )
    return mb.add(x=outer, y=chosen, name="total")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_program(branches, {"x": X}, tmp_path_factory.mktemp("branches"), "iOS16")


@pytest.fixture
def edited(original, tmp_path):
    """Writes the program anew after `edit(spec, block)`."""

    def write(edit, source=original):
        package = open_package(source).spec
        function = package.mlProgram.functions["main"]
        edit(package, function.block_specializations[function.opset])
        path = tmp_path / "edited.mlpackage"
        (path / "Data").mkdir(parents=True)
        (path / "Data" / "model.mlmodel").write_bytes(package.SerializeToString())
        manifest = '{"rootModelIdentifier": "m", "itemInfoEntries": {"m": {"path": "model.mlmodel"}}}'
        (path / "Manifest.json").write_text(manifest)
        return path

    return write


def op_of(block, name):
    return next(op for op in block.operations if op.outputs and op.outputs[0].name == name)


def const_of(block, op, parameter):
    return op_of(block, op_of(block, op).inputs[parameter].arguments[0].name)


def refused(path, error, match):
    with pytest.raises(error, match=match):
        milrun.load(path).predict({"x": X})


def test_the_whole_program_runs(edited):
    (total,) = milrun.load(edited(lambda spec, block: None)).predict({"x": X}).values()
    np.testing.assert_allclose(total, np.exp(X) + np.maximum(X, 0), **TOLERANCE["f4"])


@pytest.mark.parametrize("name", ["outer", "x", "positive"])
def test_a_block_may_not_make_a_value_of_an_outer_name(edited, name):
    """It would take the outer value's place in all that follows."""

    def edit(spec, block):
        branch = op_of(block, "chosen").blocks[0]
        branch.operations[-1].outputs[0].name = branch.outputs[0] = name

    refused(edited(edit), PackageError, rf"\(relu\) makes '{name}', which is made already")


def test_blocks_side_by_side_may_use_one_name(edited):
    def edit(spec, block):
        for branch in op_of(block, "chosen").blocks:
            branch.operations[-1].outputs[0].name = branch.outputs[0] = "inner"

    (total,) = milrun.load(edited(edit)).predict({"x": X}).values()
    np.testing.assert_allclose(total, np.exp(X) + np.maximum(X, 0), **TOLERANCE["f4"])


def test_an_input_of_a_block_is_not_its_siblings_constant(edited, tmp_path):
    def build(x):
        def condition(v):
            return mb.less(x=mb.reduce_sum(x=v, name="sum"), y=mb.const(val=np.float32(100), name="limit"), name="go")

        return mb.while_loop(
            _cond=condition, _body=lambda v: mb.add(x=v, y=v, name="twice"), loop_vars=(x,), name="out"
        )

    def edit(spec, block):
        body = op_of(block, "out").blocks[1]
        body.inputs[0].name = "limit"
        for argument in (op_of(body, "twice").inputs[p].arguments[0] for p in "xy"):
            argument.name = "limit"

    x = np.array([1, 2], np.float32)
    source = save_program(build, {"x": x}, tmp_path, "iOS16")
    (out,) = milrun.load(edited(edit, source)).predict({"x": x}).values()
    np.testing.assert_array_equal(out, [64, 128])


def rename(name, to):
    def edit(spec, block):
        op_of(block, name).outputs[0].name = to

    return edit


def twice_the_input(spec, block):
    function = spec.mlProgram.functions["main"]
    function.inputs.add().CopyFrom(function.inputs[0])


def twice_the_output(spec, block):
    outputs = op_of(block, "outer").outputs
    outputs.add().CopyFrom(outputs[0])


@pytest.mark.parametrize(
    "edit",
    [rename("sum", "outer"), rename("outer", "x"), twice_the_input, twice_the_output],
    ids=["two-ops", "op-and-input", "two-inputs", "two-outputs"],
)
def test_a_value_is_made_once(edited, edit):
    refused(edited(edit), PackageError, "which is made already")


def without_value(spec, block):
    del const_of(block, "positive", "y").attributes["val"]


def with_two_outputs(spec, block):
    outputs = const_of(block, "positive", "y").outputs
    outputs.add().CopyFrom(outputs[0])
    outputs[1].name = "second"


def with_a_computed_value(spec, block):
    const = const_of(block, "positive", "y")
    del const.attributes["val"]
    const.inputs["val"].arguments.add().name = "x"


@pytest.mark.parametrize("edit", [without_value, with_two_outputs, with_a_computed_value])
def test_a_const_is_one_value_under_one_name(edited, edit):
    refused(edited(edit), PackageError, "is not one value under one name")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.tensor.strings.values.append("EXACT"), r"a constant holds strings where float32 \[\] is declared"),
        (lambda t: t.tensor.ints.values.append(1), r"a constant holds ints where float32 \[\]"),
        (lambda t: t.tensor.floats.values.append(1), r"holds 2 elements, float32 \[\] needs 1"),
        (lambda t: t.tensor.ClearField("value"), r"holds 0 elements, float32 \[\] needs 1"),
        (lambda t: t.ClearField("tensor"), "a constant of kind None"),
    ],
)
def test_an_immediate_value_is_of_the_declared_kind(edited, change, message):
    def edit(spec, block):
        change(const_of(block, "positive", "y").attributes["val"].immediateValue)

    refused(edited(edit), PackageError, message)


@pytest.mark.parametrize("sizes", [(2**32, 2**32), (0, 2**63), (2**64 - 1,)])
def test_a_constant_of_an_absurd_shape(edited, sizes):
    def edit(spec, block):
        value = const_of(block, "positive", "y").attributes["val"]
        value.immediateValue.tensor.ClearField("value")
        value.type.tensorType.rank = len(sizes)
        for size in sizes:
            value.type.tensorType.dimensions.add().constant.size = size

    refused(edited(edit), PackageError, "of an absurd shape")


def test_an_integer_beyond_the_declared_dtype(edited):
    def edit(spec, block):
        value = const_of(block, "positive", "y").attributes["val"]
        value.type.tensorType.dataType = 21  # int8
        value.immediateValue.tensor.ints.values.append(300)

    refused(edited(edit), PackageError, "does not fit int8")


def test_blocks_where_an_op_has_none(edited):
    refused(edited(lambda spec, block: op_of(block, "outer").blocks.add()), OpError, "1 blocks where it has 0")


@pytest.mark.parametrize("kept", [0, 1])
def test_too_few_blocks(edited, kept):
    def edit(spec, block):
        del op_of(block, "chosen").blocks[kept:]

    refused(edited(edit), OpError, rf"'chosen' \(cond\): {kept} blocks where it has 2")


def test_blocks_with_more_inputs_than_the_op_gives(edited):
    def edit(spec, block):
        added = op_of(block, "chosen").blocks[0].inputs.add()
        added.CopyFrom(spec.mlProgram.functions["main"].inputs[0])
        added.name = "extra"

    refused(edited(edit), OpError, "0 values for a block of 1 inputs")


@pytest.mark.parametrize("name", ["blocks", "output_types"])
def test_what_the_structure_says_is_no_parameter(edited, name):
    def edit(spec, block):
        op_of(block, "chosen").inputs[name].arguments.add().name = "outer"

    refused(edited(edit), OpError, f"parameter '{name}' is not one of")


def test_a_condition_of_several_elements_names_its_op(edited):
    def edit(spec, block):
        op_of(block, "chosen").inputs["pred"].arguments[0].name = "outer"

    refused(edited(edit), OpError, r"op 'chosen' \(cond\): a Tensor with 8 elements cannot be converted")


def test_a_string_where_a_tensor_is_wanted(edited):
    def edit(spec, block):
        value = const_of(block, "positive", "y").attributes["val"]
        value.type.tensorType.dataType = 2  # string
        value.immediateValue.tensor.strings.values.append("EXACT")

    refused(edited(edit), OpError, r"op 'positive' \(greater\): parameter 'y' cannot be string \[\]")


def test_a_list_where_a_tensor_is_declared(edited, tmp_path):
    def build(x):
        made = mb.make_list(init_length=1, dynamic_length=False, elem_shape=(8,), name="made")
        return mb.list_read(ls=made, index=0, name="element")

    def edit(spec, block):
        op_of(block, "made").outputs[0].type.CopyFrom(op_of(block, "element").outputs[0].type)

    source = save_program(build, {"x": X}, tmp_path, "iOS16")
    refused(edited(edit, source), OpError, r"'made' \(make_list\): result is a TensorList, the program declares")

    def edit_reader(spec, block):
        op_of(block, "element").type = "relu"
        op_of(block, "element").inputs["x"].arguments.add().name = "made"
        for parameter in ("ls", "index"):
            del op_of(block, "element").inputs[parameter]

    path = tmp_path / "edited.mlpackage"
    path.rename(tmp_path / "first.mlpackage")
    refused(edited(edit_reader, source), OpError, "parameter 'x' cannot be list of float32")


@pytest.mark.parametrize(("dtype", "name"), [(2, "string"), (25, "int4")])
def test_inputs_that_no_array_can_be(edited, dtype, name):
    def edit(spec, block):
        spec.mlProgram.functions["main"].inputs[0].type.tensorType.dataType = dtype

    refused(edited(edit), PackageError, rf"input 'x' of function 'main' is {name} \[1, 8\]; milrun takes tensors of")


def test_an_input_that_is_a_list(edited):
    def edit(spec, block):
        declared = spec.mlProgram.functions["main"].inputs[0].type
        element = type(declared)()
        element.CopyFrom(declared)
        declared.listType.type.CopyFrom(element)

    refused(edited(edit), PackageError, r"is list of float32 \[1, 8\]; milrun takes tensors of")


def test_an_opset_that_is_not_known_is_not_taken_for_the_newest(edited):
    def edit(spec, block):
        function = spec.mlProgram.functions["main"]
        function.block_specializations["CoreML77"].CopyFrom(block)
        function.opset = "CoreML77"

    refused(edited(edit), PackageError, "of the opset 'CoreML77'; milrun knows CoreML5, ")


@pytest.mark.parametrize(
    "scopes", ["[" * 200_000, "[]", '{"main": 5}', '{"main": {"outer": [1]}}', "nothing"], ids=lambda s: s[:9]
)
def test_damaged_module_paths(edited, scopes):
    def edit(spec, block):
        spec.description.metadata.userDefined["milrun.scopes"] = scopes

    refused(edited(edit), PackageError, "the metadata 'milrun.scopes' is")


def test_a_result_that_does_not_fit_into_memory_names_its_op(edited):
    def edit(spec, block):
        tiled = op_of(block, "outer")
        tiled.type = "tile"
        reps = block.operations.add()
        reps.CopyFrom(const_of(block, "positive", "y"))
        reps.outputs[0].name = "reps"
        value = reps.attributes["val"]
        value.type.tensorType.dataType, value.type.tensorType.rank = 23, 1
        value.type.tensorType.dimensions.add().constant.size = 2
        value.immediateValue.tensor.ints.values.extend([2**20, 2**20])
        tiled.inputs["reps"].arguments.add().name = "reps"
        ordered = sorted(block.operations, key=lambda op: op.outputs[0].name != "reps")
        del block.operations[:]
        block.operations.extend(ordered)

    refused(edited(edit), OpError, r"op 'outer' \(tile\): .*(allocate|memory)")


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    for width in ("8", "4"):
        (folder / width).mkdir()
    return tuple(save_stateful(folder / width, (1, int(width))) for width in ("8", "4"))


def test_a_state_of_another_model_is_refused_by_name(states):
    wide, narrow = map(milrun.load, states)
    with pytest.raises(InputError, match=r"state 'kv' is float16 \[1, 8\], the one given is float16 \[1, 4\]"):
        wide.predict({"x": X}, narrow.make_state())
    with pytest.raises(InputError, match="pass what make_state"):
        wide.predict({"x": X}, {"kv": X})


@pytest.mark.parametrize("size", [2**40, 2**63, 2**64 - 1])
def test_a_state_beyond_memory(edited, states, size):
    def edit(spec, block):
        state = next(i for i in spec.mlProgram.functions["main"].inputs if i.name == "kv")
        state.type.stateType.wrappedType.tensorType.dimensions[0].constant.size = size

    model = milrun.load(edited(edit, states[0]))
    with pytest.raises(InputError, match=r"no memory for the state 'kv', float16 \["):
        model.make_state()


def test_a_state_of_unknown_shape(edited, states):
    def edit(spec, block):
        state = next(i for i in spec.mlProgram.functions["main"].inputs if i.name == "kv")
        state.type.stateType.wrappedType.tensorType.dimensions[0].unknown.SetInParent()

    refused(edited(edit, states[0]), PackageError, r"'kv' of function 'main' is float16 \[\?, 8\]; a state has a fixed")


@pytest.mark.parametrize(
    "inputs",
    [{"x": [[1, 2], [3]]}, {"x": torch.ones(1, 8, requires_grad=True)}, [X], None, {"x": None}, {"x": "text"}],
    ids=["ragged", "with-gradient", "list", "none", "none-as-array", "text"],
)
def test_what_a_caller_may_not_give(original, inputs):
    with pytest.raises(InputError):
        milrun.load(original).predict(inputs)


def test_values_of_a_block_are_freed_in_the_block(tmp_path):
    def build(x):
        def body(v):
            first = mb.exp(x=v, name="first")
            second = mb.relu(x=first, name="second")
            return mb.add(x=second, y=v, name="next")

        def condition(v):
            return mb.less(x=mb.reduce_sum(x=v, name="sum"), y=np.float32(100), name="go")

        return mb.while_loop(_cond=condition, _body=body, loop_vars=(x,), name="out")

    model = milrun.load(save_program(build, {"x": X}, tmp_path, "iOS16"))
    (loop,) = model._compiled.root.steps
    slots = model._compiled._slots
    freed = {step.operation.name: set(step.free) for block in loop.fixed["blocks"] for step in block.steps}
    assert freed["second"] == {slots["first"]}
    assert freed["next"] == {slots["second"], slots["x_x0"]}
    assert freed["sum"] == {slots["x_x0"]}
    assert slots["sum"] in freed["go"]
    assert {slots["x"], slots["go"], slots["next"]} <= set(loop.free)
    (out,) = model.predict({"x": X}).values()
    assert out.sum() >= 100
