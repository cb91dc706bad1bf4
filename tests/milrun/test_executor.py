"""Running a function: order, rounding, freeing, looking inside, and every error's text."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import InputError, OpError, UnsupportedOpsError, executor, registry
from tests.milrun.harness import TOLERANCE, run_op, save_program

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def chain(x):
    """relu -> exp -> add: named so that tests can ask for them."""
    a = mb.relu(x=x, name="rectified")
    b = mb.exp(x=a, name="powers")
    return mb.add(x=b, y=a, name="total")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return save_program(chain, {"x": X}, tmp_path_factory.mktemp("chain"), "iOS17")


@pytest.fixture
def model(package):
    return milrun.load(package)


def test_predict(model):
    (total,) = model.predict({"x": X}).values()
    relu = np.maximum(X, 0)
    np.testing.assert_allclose(total, np.exp(relu) + relu, **TOLERANCE["f4"])


def test_an_input_array_is_never_changed_or_kept(model):
    x = X.copy()
    first = model.predict({"x": x})["total"]
    x[:] = 0
    np.testing.assert_array_equal(first, model.predict({"x": X})["total"])


def test_values_are_freed_after_their_last_use(model):
    steps = model._compiled.root.steps
    slots = model._compiled._slots
    freed = {step.operation.type: set(step.free) for step in steps if step.free}
    assert freed["relu"] == {slots["x"]}
    assert freed["add"] == {slots["rectified"], slots["powers"]}
    assert not any(slots["total"] in step.free for step in steps)


def test_freed_values_are_really_gone(model, monkeypatch):
    alive = []
    run_step = executor._run_step

    def counting(step, env, watch):
        run_step(step, env, watch)
        alive.append(sum(value is not None for value in env))

    monkeypatch.setattr(executor, "_run_step", counting)
    model.predict({"x": X})
    assert alive == [1, 2, 1]


def test_keep_some_or_all(model):
    kept, rows = model.inspect({"x": X}, keep={"rectified"})
    assert set(kept) == {"rectified"}
    np.testing.assert_array_equal(kept["rectified"], np.maximum(X, 0))
    assert rows == []
    assert set(model.inspect({"x": X}, keep="all")[0]) == {"rectified", "powers", "total"}


@pytest.mark.parametrize("stop", ["powers", "exp"])
def test_stop_after_a_value_or_an_op(model, stop):
    kept, _ = model.inspect({"x": X}, keep="all", stop_after=stop)
    assert set(kept) == {"rectified", "powers"}


def test_trace(model):
    rows = model.inspect({"x": np.array([[np.inf, np.nan, 2.0]], np.float32)}, trace=True)[1]
    assert [(row.name, row.op, row.dtype, row.shape) for row in rows] == [
        ("rectified", "relu", "float32", (1, 3)),
        ("powers", "exp", "float32", (1, 3)),
        ("total", "add", "float32", (1, 3)),
    ]
    assert [row.non_finite for row in rows] == [2, 2, 2]
    assert (rows[0].minimum, rows[0].maximum) == (2.0, 2.0)


@pytest.mark.parametrize("arguments", [{"keep": {"nothing"}}, {"stop_after": "nothing"}, {"keep": "nothing"}])
def test_asking_for_what_is_not_there(model, arguments):
    with pytest.raises(InputError, match="nothing"):
        model.inspect({"x": X}, **arguments)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"wants inputs \['x'\], got \[\]"),
        ({"x": X, "y": X}, r"wants inputs \['x'\], got \['x', 'y'\]"),
        ({"x": X[0]}, r"input 'x' is float32 \[1, 3\], got shape \[3\]"),
        ({"x": X[:, :2]}, r"got shape \[1, 2\]"),
        ({"x": X.astype(complex)}, "got complex128"),
        ({"x": np.array([["a", "b", "c"]])}, "got <U1"),
    ],
)
def test_wrong_inputs(model, inputs, message):
    with pytest.raises(InputError, match=message):
        model.predict(inputs)


def test_integer_inputs_must_fit(tmp_path):
    path = save_program(lambda i: mb.add(x=i, y=np.int32(1)), {"i": np.array([1], np.int32)}, tmp_path, "iOS17")
    model = milrun.load(path)
    with pytest.raises(InputError, match="got values from 4294967296"):
        model.predict({"i": np.array([2**32])})
    with pytest.raises(InputError, match=r"is int32 \[1\], got float32: convert it with \.astype\(np\.int32\)"):
        model.predict({"i": np.array([1.0], np.float32)})
    (y,) = model.predict({"i": np.array([2**31 - 1])}).values()
    np.testing.assert_array_equal(y, np.array([-(2**31)], np.int32))
    assert y.dtype == np.int32


def test_float16_rounds_inputs_once_and_results_once():
    # 1 + 2^-11 is a tie that float16 rounds to 1; the sum of two rounded ones is exact.
    x = np.array([2048.0, 1.0, 65504.0], np.float16)
    sum_, chained = run_op(
        lambda x: (mb.add(x=x, y=np.float16(1)), mb.mul(x=mb.add(x=x, y=x), y=np.float16(0.5))), {"x": x}
    )
    np.testing.assert_array_equal(sum_, [2048.0, 2.0, 65504.0])
    np.testing.assert_array_equal(chained, [2048.0, 1.0, np.inf])  # between two ops the value is float16


def test_float16_inputs_beyond_the_range_become_infinite(tmp_path):
    model = milrun.load(save_program(lambda x: mb.relu(x=x), {"x": np.zeros(1, np.float16)}, tmp_path, "iOS17"))
    (y,) = model.predict({"x": np.array([1e6], np.float32)}).values()
    assert y.dtype == np.float16
    assert np.isinf(y).all()


def test_every_missing_op_is_reported_at_once(package, monkeypatch):
    for name in ("relu", "exp"):
        monkeypatch.delitem(registry.OPS, name)
    with pytest.raises(UnsupportedOpsError, match=r"exp \(x1\), relu \(x1\)") as caught:
        milrun.load(package)
    assert caught.value.missing == {"exp": 1, "relu": 1}


def replaced(monkeypatch, function):
    original = registry.OPS["exp"]
    changed = registry.OpFn("exp", original.since, function, original.kinds, original.required, original.exact)
    monkeypatch.setitem(registry.OPS, "exp", changed)


def test_a_failing_op_names_itself_and_its_inputs(package, monkeypatch):
    def fail(x):
        raise ValueError("no luck")

    replaced(monkeypatch, fail)
    with pytest.raises(OpError, match=r"op 'powers' \(exp\): no luck \(inputs: x: float32 \[1, 3\]\)") as caught:
        milrun.load(package).predict({"x": X})
    assert (caught.value.op_type, caught.value.op_name) == ("exp", "powers")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_result_of_another_shape_is_an_error(package, monkeypatch):
    replaced(monkeypatch, lambda x: x[:, :1])
    with pytest.raises(OpError, match=r"result \[1, 1\], the program declares float32 \[1, 3\]"):
        milrun.load(package).predict({"x": X})


def test_too_many_results_are_an_error(package, monkeypatch):
    replaced(monkeypatch, lambda x: (x, x))
    with pytest.raises(OpError, match="2 results for 1 declared outputs"):
        milrun.load(package).predict({"x": X})


def test_an_op_may_not_change_its_inputs_for_later_readers(model):
    kept, _ = model.inspect({"x": X}, keep="all")
    np.testing.assert_array_equal(kept["total"], kept["powers"] + kept["rectified"])


def test_weights_are_cached_or_read_anew(tmp_path):
    weight = np.arange(48, dtype=np.float16).reshape(16, 3)
    path = save_program(lambda x: mb.linear(x=x, weight=weight), {"x": X.astype(np.float16)}, tmp_path, "iOS17")
    results = [milrun.load(path, cache_weights=cache).predict({"x": X}) for cache in (True, False)]
    np.testing.assert_array_equal(*[next(iter(result.values())) for result in results])


def test_two_outputs_may_be_one_value(tmp_path):
    model = milrun.load(save_program(lambda x: (mb.relu(x=x), mb.exp(x=x)), {"x": X}, tmp_path, "iOS17"))
    assert [y.shape for y in model.predict({"x": X}).values()] == [(1, 3), (1, 3)]


def test_registering_twice_and_unknown_annotations_are_errors():
    with pytest.raises(ValueError, match="registered twice"):

        @registry.op()
        def relu(x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(ValueError, match="no argument kind"):

        @registry.op()
        def new_op(x: complex) -> torch.Tensor:
            return torch.tensor(x)


def test_versions_take_over_from_their_opset_on():
    assert registry.find_op("reduce_argmax", "iOS16").since == "iOS15"
    assert registry.find_op("reduce_argmax", "iOS17").since == "iOS17"
    assert registry.find_op("reduce_argmax", "iOS18").since == "iOS17"
    assert registry.find_op("resize", "iOS16") is None


def test_a_value_that_is_output_twice(tmp_path):
    def build(x):
        y = mb.relu(x=x, name="y")
        return y, y

    x = np.array([-1, 2], np.float32)
    (y,) = milrun.load(save_program(build, {"x": x}, tmp_path, "iOS17")).predict({"x": x}).values()
    np.testing.assert_array_equal(y, [0, 2])


def test_functions_of_one_package_share_their_weights(tmp_path):
    """The second function finds the float32 weights that the first one made."""
    import coremltools as ct

    weight = np.arange(4096, dtype=np.float32).reshape(64, 64)
    for name, rows in (("short", 1), ("long", 3)):
        inputs = {"x": np.ones((rows, 64), np.float32)}
        (tmp_path / name).mkdir()
        save_program(lambda x: mb.linear(x=x, weight=weight), inputs, tmp_path / name, "iOS18")
    description = ct.utils.MultiFunctionDescriptor()
    for name in ("short", "long"):
        description.add_function(str(tmp_path / name / "op.mlpackage"), "main", name)
    description.default_function_name = "short"
    ct.utils.save_multifunction(description, str(tmp_path / "both.mlpackage"))
    short = milrun.load(tmp_path / "both.mlpackage", "short")
    long = short.sibling("long")
    one, three = (m.predict({"x": np.ones((r, 64), np.float32)}) for m, r in ((short, 1), (long, 3)))
    np.testing.assert_array_equal(next(iter(one.values()))[0], next(iter(three.values()))[2])
    (mine,), (theirs,) = (
        [c.get() for s in m._compiled.root.steps for n, c in s.lazy.items() if n == "weight"] for m in (short, long)
    )
    assert mine.data_ptr() == theirs.data_ptr()
    with pytest.raises(milrun.PackageError, match="no function 'other'"):
        short.sibling("other")


def half(x):
    """1 / 3 in float16, squared twice: rounded at each op, and over 65,504 for large x."""
    third = mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(1 / 3), name="third")
    square = mb.mul(x=third, y=third, name="square")
    return mb.cast(x=square, dtype="fp32", name="wide")


@pytest.fixture(scope="module")
def half_package(tmp_path_factory):
    return save_program(half, {"x": X}, tmp_path_factory.mktemp("half"), "iOS17")


def test_rounding_off_keeps_float32_but_weights_as_stored(half_package):
    x = np.array([[1.0, 7.0, 3000.0]], np.float32)
    third = x * np.float32(np.float16(1 / 3))
    model = milrun.load(half_package, rounding=False)
    kept, rows = model.inspect({"x": x}, keep="all", trace=True)
    np.testing.assert_array_equal(kept["third"], third)
    np.testing.assert_array_equal(kept["wide"], third * third)
    assert kept["wide"].max() > 65504
    assert {row.name: row.dtype for row in rows}["square"] == "float16"
    rounded = milrun.load(half_package).predict({"x": x})["wide"]
    with np.errstate(over="ignore"):
        stored = third.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(rounded, (stored * stored).astype(np.float16))
    assert np.isinf(rounded[0, 2])
    assert np.isfinite(model.predict({"x": x})["wide"]).all()


def test_a_sibling_may_round_otherwise(half_package):
    model = milrun.load(half_package)
    wide = model.sibling("main", rounding=False)
    x = np.full((1, 3), 3000, np.float32)
    assert np.isinf(model.predict({"x": x})["wide"]).all()
    assert np.isfinite(wide.predict({"x": x})["wide"]).all()
    assert np.isfinite(wide.sibling("main").predict({"x": x})["wide"]).all()


def test_visiting_values_and_putting_others_in_their_place(model):
    seen = {}

    def visit(name, value):
        seen[name] = value.copy()
        return np.zeros((1, 3), np.float32) if name == "powers" else None

    model.inspect({"x": X}, visit=visit)
    np.testing.assert_allclose(seen["powers"], np.exp(np.maximum(X, 0)), **TOLERANCE["f4"])
    np.testing.assert_array_equal(seen["total"], np.maximum(X, 0))


def test_what_takes_a_values_place_has_its_shape(model):
    with pytest.raises(InputError, match=r"gave \[3\] for 'powers', which is \[1, 3\]"):
        model.inspect({"x": X}, visit=lambda name, value: value[0] if name == "powers" else None)
