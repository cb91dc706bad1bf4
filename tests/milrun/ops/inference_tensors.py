"""Examples of value_inference: ops that make, move, pick and sort elements, quantization, attention, control flow."""

import numpy as np
from coremltools.converters.mil import Builder as mb

from tests.milrun.ops.inference import Example, alike, case
from tests.milrun.ops.inference_arithmetic import HIGH, INF, LOW, NAN, f2, f4, i4, ramp

X = ramp(2, 3, 4) - 5
BIG = i4([2**24 + 1, LOW], [HIGH, -7])  # no float32 holds these
FLAGS = np.array([[True, False], [False, False]])


def making() -> list[Example]:
    found = []
    shape = i4(2, 3)
    values = {
        "default": {},
        "float16": {"value": np.float16(0.1)},
        "int32": {"value": 2**30 + 1},
        "bool": {"value": True},
    }
    for label, value in values.items():
        found += case("fill", label, {"shape": shape}, **value)
        found += case("fill_like", label, {"ref_tensor": X}, **value)
    for start, end, step in ((0, 5, 1), (5, 0, -2), (-3, 3, 2)):
        given = {"start": np.array(start, "i4"), "end": np.array(end, "i4"), "step": np.array(step, "i4")}
        found += case("range_1d", f"{start} to {end} by {step}", given)
    for start, end, step in ((0, 1, 0.25), (1, 0, -0.5), (0, 1, 0.3)):
        for dtype in ("f4", "f2"):
            given = {"start": np.array(start, dtype), "end": np.array(end, dtype), "step": np.array(step, dtype)}
            found += case("range_1d", f"{dtype} {start} to {end} by {step}", given)
    for label, x in (("float32", X), ("int32", BIG), ("bool", FLAGS)):
        found += case("shape", label, {"x": x})
        found += case("identity", label, {"x": x})
        found += case("non_zero", label, {"x": x})
    found += case("non_zero", "nothing", {"x": np.zeros((2, 3), bool)})
    return found


def joining() -> list[Example]:
    found = []
    for axis in (0, 1, -1):
        found += case("concat", f"axis {axis}", {"values": (X, X + 100, X - 100)}, axis=axis)
        found += case("stack", f"axis {axis}", {"values": (X, X + 100)}, axis=axis)
        found += case("split", f"axis {axis}, sizes", {"x": ramp(4, 4, 4)}, axis=axis, split_sizes=[1, 3])
    found += case("concat", "unequal sizes", {"values": (BIG, BIG[:, :1])}, axis=1)
    found += case("concat", "bool", {"values": (FLAGS, ~FLAGS)}, axis=0)
    scalars = tuple(np.array(v, np.int32) for v in (7, 2**24 + 1))
    found += case("concat", "scalars", {"values": scalars}, axis=0)
    found += case("stack", "scalars", {"values": scalars}, axis=0)
    found += case("split", "equal parts", {"x": BIG}, axis=-1, num_splits=2)
    found += case("split", "one part", {"x": X}, axis=0, num_splits=1)
    for label, x in (("float32", X), ("int32", BIG), ("bool", FLAGS)):
        found += case("tile", label, {"x": x}, reps=[2] + [1] * (x.ndim - 2) + [3])
    return found


def padding() -> list[Example]:
    found = []
    for mode in ("constant", "reflect", "replicate"):
        found += case("pad", f"{mode}, last dimensions", {"x": X}, pad=[1, 0, 2, 3], mode=mode)
        found += case("pad", f"{mode}, all dimensions", {"x": X}, pad=[1, 1, 0, 1, 2, 2], mode=mode)
    found += case("pad", "a constant", {"x": f2([1, 2])}, pad=[0, 1, 1, 0], constant_val=np.float16(-0.5))
    for lower, upper in ((-1, -1), (0, -1), (-1, 0), (1, 1), (0, 0), (2, 0)):
        found += case("band_part", f"{lower}, {upper}", {"x": X}, lower=lower, upper=upper)
    found += case("band_part", "int32", {"x": BIG}, lower=0, upper=0)
    return found


def sorting() -> list[Example]:
    """Without ties, whose order NumPy's sort leaves to the processor's kernel."""
    found = []
    x = [[5, -9, 1, 7], [0, -1, 3, 2]]
    for ascending in (False, True):
        for dtype in ("f4", "f2", "i4"):
            found += alike(dtype, "argsort", f"ascending {ascending}", {"x": x}, ascending=ascending)
            found += alike(dtype, "topk", f"ascending {ascending}", {"x": x}, k=2, ascending=ascending)
    found += alike("f4", "argsort", "first axis", {"x": x}, axis=0)
    found += alike("f4", "topk", "first axis", {"x": x}, axis=-2, k=1)
    found += case("topk", "int32 beyond float32", {"x": i4(2**24, 2**24 + 1, -5)}, k=2)
    new = {"x": f4(x)}
    found += case("topk", "values alone", new, k=2, return_indices=False, opsets="iOS16 iOS18")
    found += case("topk", "unsorted", new, k=2, sort=False, opsets="iOS16 iOS18")
    found += case("topk", "uint16 indices", new, k=2, output_indices_dtype="uint16", opsets="iOS18")
    found += case("topk", "int8", {"x": np.array([3, -128, 5], np.int8)}, k=2, ascending=True, opsets="iOS18")
    for reverse in (False, True):
        given = {"reverse": reverse}
        found += alike("f4 f2 i4", "cumsum", f"reverse {reverse}", {"x": x}, axis=1, **given)
        found += alike("f4", "cumsum", f"first axis, reverse {reverse}", {"x": x}, **given)
        found += alike("f4", "cumsum", f"last axis, reverse {reverse}", {"x": [x]}, axis=-1, **given)
    found += case("cumsum", "int32 wraps", {"x": i4(HIGH, 1, 1)}, axis=0)
    return found


def reshaping() -> list[Example]:
    found = []
    for label, x in (("float32", X), ("int32", BIG), ("bool", FLAGS)):
        found += case("transpose", label, {"x": x}, perm=[*range(1, x.ndim), 0])
        found += case("reshape", label, {"x": x}, shape=[-1, 2])
        found += case("reverse", label, {"x": x})
        found += case("expand_dims", label, {"x": x}, axes=[0])
        found += case("flatten2d", label, {"x": x}, axis=1)
    found += case("transpose", "negative axes", {"x": X}, perm=[-1, 0, -2])
    for axes in ([0], [-1], [0, -1], [3, 1]):
        found += case("expand_dims", f"axes {axes}", {"x": X}, axes=axes)
    thin = X.reshape(1, 2, 1, 12)
    for axes in ([0], [-2], [0, 2]):
        found += case("squeeze", f"axes {axes}", {"x": thin}, axes=axes)
    found += case("squeeze", "all by default", {"x": thin})
    found += case("squeeze", "to a scalar", {"x": f4(7)})
    for axes in ([0], [-1], [2, 0]):
        found += case("reverse", f"axes {axes}", {"x": X}, axes=axes)
    for axis in (2, -1):
        found += case("flatten2d", f"axis {axis}", {"x": X}, axis=axis)
    found += case("reshape", "0 keeps a dimension", {"x": X}, shape=[0, -1, 2])
    found += case("reshape", "0 from the right", {"x": ramp(2, 50)}, shape=[1, 0, -1, 0], opsets="iOS18")
    found += case("reshape", "0 beside fewer dimensions", {"x": ramp(1, 50)}, shape=[0], opsets="iOS18")
    return found


SLICES = {
    "positive": {"begin": [1, 0, 2], "end": [2, 2, 4]},
    "negative": {"begin": [-2, 0, -2], "end": [-1, 3, 4]},
    "strided": {"begin": [0, 0, 0], "end": [2, 3, 4], "stride": [2, 2, 3]},
    "backwards": {"begin": [1, 2, 3], "end": [0, 0, 1], "stride": [-1, -2, -1]},
    "masked": {
        "begin": [1, 1, 1],
        "end": [2, 2, 2],
        "begin_mask": [True, False, True],
        "end_mask": [False, True, True],
    },
    "backwards, masked": {
        "begin": [0, 0, 0],
        "end": [0, 0, 0],
        "stride": [-1, -2, 1],
        "begin_mask": [True] * 3,
        "end_mask": [True] * 3,
    },
    "squeezed": {"begin": [-1, 0, 2], "end": [0, 3, 0], "squeeze_mask": [True, False, True]},
    "past the end": {"begin": [1, 0, 0], "end": [9, 3, 5]},
}


def slicing() -> list[Example]:
    found = []
    for label, where in SLICES.items():
        found += case("slice_by_index", label, {"x": X}, **where)
    every = {"begin": [1, -2, 3], "end": [0, 0, 0], "squeeze_mask": [True] * 3}
    found += case("slice_by_index", "all squeezed", {"x": X}, **every)
    found += case("slice_by_index", "all squeezed int32", {"x": X.astype(np.int32)}, **every)
    found += case("slice_by_index", "int32", {"x": BIG}, begin=[0, -1], end=[2, 2])
    found += case("slice_by_index", "bool", {"x": FLAGS}, begin=[0, -1], end=[2, 2])
    for label in ("positive", "negative", "strided", "backwards", "backwards, masked", "squeezed"):
        where = SLICES[label]
        chosen = numpy_slices(**where)
        found += case("slice_update", label, {"x": X, "update": 100 + ramp(*X[chosen].shape)}, **where)
    found += case("slice_update", "int32", {"x": BIG, "update": i4([2**25 + 1])}, begin=[1, 1], end=[2, 2])
    for begin, size in (([1, 0, 1], [1, 2, 3]), ([0, 1, 2], [-1, -1, 2]), ([-1, 0, -3], [1, -1, 2])):
        found += case("slice_by_size", f"{size} from {begin}", {"x": X, "begin": i4(*begin)}, size=size)
    return found


def numpy_slices(begin, end, stride=(None,) * 3, begin_mask=(False,) * 3, end_mask=(False,) * 3, squeeze_mask=()):
    rows = zip(begin, end, stride, begin_mask, end_mask, squeeze_mask or (False,) * 3, strict=True)
    return tuple(b if q else slice(None if m else b, None if n else e, s) for b, e, s, m, n, q in rows)


def picking() -> list[Example]:
    found = []
    old = "iOS15 iOS16"
    for axis in (0, 1, -1):
        found += case("gather", f"axis {axis}", {"x": X, "indices": i4([1, 0], [0, 1])}, axis=axis)
        along = np.argsort(np.sin(X), axis=axis).astype(np.int32)  # no index twice: the order of updates is left open
        found += case("gather_along_axis", f"axis {axis}", {"x": X, "indices": along}, axis=axis)
        given = {"data": X, "indices": along, "updates": X + 100}
        found += case("scatter_along_axis", f"axis {axis}", given, axis=axis, mode="update")
    fewer = {"data": X, "indices": i4([[2, 0, 1, 2], [0, 1, 2, 0]], [[0] * 4, [1] * 4]), "updates": 100 + ramp(2, 2, 4)}
    found += case("scatter_along_axis", "fewer updates than data", fewer, axis=1, mode="update")
    found += case("gather_along_axis", "repeated indices", {"x": X, "indices": i4([[1] * 4] * 3)}, axis=0)
    found += case("gather", "a scalar index", {"x": X, "indices": np.array(1, np.int32)}, axis=1)
    found += case("gather", "a scalar from a vector", {"x": BIG[0], "indices": np.array(0, np.int32)})
    found += case("gather", "int32", {"x": BIG, "indices": i4(1, 1, 0)}, axis=1)
    found += case("gather", "negative indices", {"x": X, "indices": i4(-1, 0, -2)}, opsets=old)
    found += case("gather_along_axis", "negative indices", {"x": BIG, "indices": i4([-1, 0])}, opsets=old)
    deep = {"x": X, "indices": i4([0, 2], [1, 1])}
    for axis in (1, 2):
        found += case("gather", f"batched, axis {axis}", deep, axis=axis, batch_dims=1, opsets="iOS16 iOS18")
    narrow = {"x": np.array([1, 200, 3], np.uint8), "indices": np.array([2, 0], np.uint16)}
    found += case("gather", "uint8 by uint16", narrow, opsets="iOS18")
    whole = {"data": BIG, "indices": i4([1, 0]), "updates": i4([2**25 + 1, 5])}
    return found + case("scatter_along_axis", "int32", whole, mode="update")


def choosing() -> list[Example]:
    found = []
    cond = np.array([[True, False], [False, True]])
    found += case("select", "NaN, infinity", {"cond": cond, "a": f4([NAN, 1], [2, INF]), "b": f4([5, -INF], [NAN, 6])})
    found += case("select", "int32", {"cond": cond, "a": BIG, "b": BIG.T})
    found += case("select", "bool", {"cond": cond, "a": FLAGS, "b": ~FLAGS})
    scalars = {"cond": np.array(True), "a": np.array(2, np.float32), "b": np.array(3, np.float32)}
    found += case("select", "scalars", scalars)
    for taken in (True, False):
        found += case("cond", f"{taken}", {"pred": np.array(taken)}, build=branches)
    found += case("list_length", "a list of fixed length", {"x": f4(1, 2)}, build=length)
    return found


def branches(pred):
    return mb.cond(
        pred=pred,
        _true_fn=lambda: (mb.const(val=f4(1, 2)), mb.const(val=np.int32(7))),
        _false_fn=lambda: (mb.const(val=f4(3, 4)), mb.const(val=np.int32(8))),
    )


def length(x):
    ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=(2,), dtype="fp32")
    return mb.list_length(ls=mb.list_write(ls=ls, index=1, value=x))


def quantizing() -> list[Example]:
    found = []
    x = [[-1.0, 0.25, 0.75, 1.25], [100.0, -100.0, 0.5, 3.0]]
    for dtype, zero in (("int8", np.int8(10)), ("uint8", np.uint8(100))):
        for kind in ("f4", "f2"):
            given = {"scale": np.dtype(kind).type(0.5), "output_dtype": dtype}
            label = f"halves, limits of {dtype}"
            found += alike(kind, "quantize", label, {"input": x}, **given)
            found += alike(kind, "quantize", f"{label}, zero point", {"input": x}, zero_point=zero, **given)
    columns = {"scale": f4(1, 0.25, 0.5, 2), "zero_point": np.array([0, 1, -1, 5], np.int8), "output_dtype": "int8"}
    for axis in (1, -1):
        found += alike("f4", "quantize", f"axis {axis}", {"input": x}, axis=axis, **columns)
    return found


def attending() -> list[Example]:
    found = []
    q, k, v = np.sin(ramp(2, 3, 4)), np.cos(ramp(2, 5, 4)), np.sin(ramp(2, 5, 6) + 1)
    given = {"query": q, "key": k, "value": v}
    causal = np.tri(3, 5, dtype=bool)
    dead = causal.copy()
    dead[1] = False
    masks = {
        "bool mask": causal,
        "float mask": np.where(causal, 0.5, -INF).astype(np.float32),
        "a row with nothing": dead,
    }
    op = "scaled_dot_product_attention"
    found += alike("f4 f2", op, "no mask", given)
    for label, mask in masks.items():
        found += case(op, label, given | {"attn_mask": mask})
    heads = {key: value[:, None].repeat(2, 1) for key, value in given.items()}
    return found + case(op, "heads", heads | {"attn_mask": causal[None, None]})


TENSORS = [
    *making(),
    *joining(),
    *padding(),
    *sorting(),
    *reshaping(),
    *slicing(),
    *picking(),
    *choosing(),
    *quantizing(),
    *attending(),
]
