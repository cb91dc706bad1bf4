"""Non-maximum suppression against a naive implementation that knows nothing of milrun's, and by hand."""

import numpy as np
import pytest

import milrun
from milrun import InputError, PackageError
from milrun.coreml_proto import FeatureTypes, Model

DTYPES = {"float32": FeatureTypes.ArrayFeatureType.FLOAT32, "float64": FeatureTypes.ArrayFeatureType.DOUBLE}


def suppression_spec(classes=3, dtype="float32", iou=0.5, confidence=0.25, per_class=False, labels=(), rows=None):
    """The specification of a suppression that reads `scores` and `boxes`; `rows` limits what it gives."""
    spec = Model.Model(specificationVersion=6)
    nms = spec.nonMaximumSuppression
    nms.confidenceInputFeatureName, nms.coordinatesInputFeatureName = "scores", "boxes"
    nms.confidenceOutputFeatureName, nms.coordinatesOutputFeatureName = "confidence", "coordinates"
    nms.iouThresholdInputFeatureName, nms.confidenceThresholdInputFeatureName = "iou", "least"
    nms.iouThreshold, nms.confidenceThreshold = iou, confidence
    nms.pickTop.perClass = per_class
    if labels:
        nms.stringClassLabels.vector.extend(labels)
    for kind, name, columns in (
        ("input", "scores", classes), ("input", "boxes", 4), ("output", "confidence", classes),
        ("output", "coordinates", 4)):  # fmt: skip
        array = getattr(spec.description, kind).add(name=name).type.multiArrayType
        array.dataType = DTYPES[dtype]
        if kind == "output" and rows:
            for low, high in (rows, (columns, columns)):
                array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    return spec


def save(spec, folder):
    path = folder / "nms.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return path


def load(folder, **options):
    return milrun.load(save(suppression_spec(**options), folder))


def naive(scores, boxes, iou, least, per_class):
    """Each box in turn, by falling confidence, is kept if it is far from all that were kept before."""

    def overlap(a, b):
        def side(centre, size):
            return float(centre) - float(size) / 2, float(centre) + float(size) / 2

        sides = [(side(a[d], a[d + 2]), side(b[d], b[d + 2])) for d in (0, 1)]
        shared = 1.0
        for (a_low, a_high), (b_low, b_high) in sides:
            shared *= max(0.0, min(a_high, b_high) - max(a_low, b_low))
        union = float(a[2]) * float(a[3]) + float(b[2]) * float(b[3]) - shared
        return min(shared / union, 1.0) if union > 0 else 0.0

    def label(row):
        return list(row).index(max(row))

    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-max(scores[i]), i)):
        rivals = [j for j in kept if not per_class or label(scores[j]) == label(scores[i])]
        if max(scores[i]) >= least and all(overlap(boxes[i], boxes[j]) <= iou for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("least", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_against_a_naive_one(tmp_path, per_class, iou, least, dtype):
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.random((60, 2)), rng.random((60, 2)) / 2], axis=1).astype(dtype)
    boxes[40:] = boxes[:20]  # doubles overlap by 1
    scores = (rng.integers(0, 20, (60, 3)) / 20).astype(dtype)  # equals among them
    model = load(tmp_path, iou=iou, confidence=least, per_class=per_class, dtype=dtype)
    found = model.predict({"scores": scores, "boxes": boxes})
    kept = naive(scores, boxes, iou, least, per_class)
    assert list(found) == ["confidence", "coordinates"]
    np.testing.assert_array_equal(found["confidence"], scores[kept])
    np.testing.assert_array_equal(found["coordinates"], boxes[kept])
    assert {array.dtype for array in found.values()} == {np.dtype(dtype)}
    assert (len(kept) == 60) == (iou == 1 and least == 0)
    assert (not kept) == (least == 2)


# The example of Apple's comment, one glyph a unit: they overlap by 12 of 73.
OVERLAP = 12 / 73


def test_apples_example(tmp_path):
    """9 x 5 and 8 x 5 glyphs that share 4 x 3."""
    boxes = np.array([[4.5, 2.5, 9, 5], [9, 4.5, 8, 5]], np.float32)
    scores = np.array([[0.5], [0.9]], np.float32)
    model = load(tmp_path, classes=1)
    for iou, kept in ((0.15, [1]), (OVERLAP - 1e-9, [1]), (OVERLAP + 1e-9, [1, 0])):
        found = model.predict({"scores": scores, "boxes": boxes, "iou": iou, "least": np.array([0.1])})
        np.testing.assert_array_equal(found["coordinates"], boxes[kept])


@pytest.mark.parametrize(("rows", "given"), [((0, -1), 2), ((1, 1), 1), ((3, 5), 3), ((2, 2), 2), ((4, 4), 4)])
def test_the_number_of_rows(tmp_path, rows, given):
    boxes = np.array([[0, 0, 1, 1], [5, 5, 1, 1], [0, 0, 1, 1]], np.float32)
    scores = np.array([[0.5, 0], [0.3, 0.9], [0.4, 0]], np.float32)
    model = load(tmp_path, classes=2, rows=rows)
    found = model.predict({"scores": scores, "boxes": boxes})
    expected = np.zeros((given, 4), np.float32)
    expected[:2] = boxes[[1, 0]][:given]
    np.testing.assert_array_equal(found["coordinates"], expected)
    assert found["confidence"].shape == (given, 2)
    assert not found["confidence"][2:].any()
    assert model.outputs["coordinates"].shape == (given if rows[0] == rows[1] else None, 4)


def test_no_boxes_and_boxes_that_are_no_numbers(tmp_path):
    model = load(tmp_path)
    assert model.predict({"scores": np.zeros((0, 3)), "boxes": np.zeros((0, 4))})["confidence"].shape == (0, 3)
    boxes = np.array([[0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, 0, 0]])
    found = model.predict({"scores": np.full((3, 3), 0.5), "boxes": boxes})["coordinates"]
    np.testing.assert_array_equal(found, boxes)
    assert not len(model.predict({"scores": np.full((3, 3), np.nan), "boxes": boxes})["confidence"])


def test_its_interface(tmp_path):
    model = load(tmp_path, iou=0.7, labels=["a", "b", "c"], per_class=True)
    assert {name: str(declared) for name, declared in model.inputs.items()} == {
        "scores": "float32 [?, ?]", "boxes": "float32 [?, 4]", "iou": "float64 [], 0.7 where left out",
        "least": "float64 [], 0.25 where left out"}  # fmt: skip
    assert model.labels == ("a", "b", "c")
    assert (dict(model.make_state()), model.states, model.functions, model.per_class) == ({}, {}, (), True)


BOXES, SCORES = np.zeros((2, 4)), np.zeros((2, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boxes": BOXES}, "wants inputs"),
        ({"scores": SCORES, "boxes": BOXES, "more": 1}, "wants inputs"),
        ({"scores": SCORES[:1], "boxes": BOXES}, "1 rows of confidence for 2 boxes"),
        ({"scores": SCORES[:, :2], "boxes": BOXES}, "in 2 classes, the model has 3 labels"),
        ({"scores": SCORES, "boxes": BOXES[:, :3]}, r"'boxes' is float32 \[\?, 4\]"),
        ({"scores": SCORES[None], "boxes": BOXES}, "'scores' is"),
        ({"scores": SCORES.astype(str), "boxes": BOXES}, "'scores' is"),
        ({"scores": SCORES, "boxes": BOXES, "iou": 1.5}, "'iou' is 1.5, not from 0 to 1"),
        ({"scores": SCORES, "boxes": BOXES, "iou": np.nan}, "'iou' is nan"),
        ({"scores": SCORES, "boxes": BOXES, "least": -1}, "'least' is -1.0, not a number from 0 on"),
        ({"scores": SCORES, "boxes": BOXES, "least": [0.1, 0.2]}, "'least' is one number"),
        ([SCORES, BOXES], "wants a mapping"),
    ],
)
def test_calls_that_do_not_fit(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, labels=["a", "b", "c"]).predict(given)


def change_of(name, value):
    return lambda spec: setattr(spec.nonMaximumSuppression, name, value)


def enumerated(spec):
    spec.description.output[0].type.multiArrayType.enumeratedShapes.shapes.add(shape=[1, 3])


def no_array(spec):
    spec.description.input[0].type.doubleType.SetInParent()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_of("iouThreshold", 1.5), "iouThreshold 1.5 is not from 0 to 1"),
        (change_of("confidenceThreshold", -1), "confidenceThreshold -1.0"),
        (change_of("confidenceInputFeatureName", ""), "without two names"),
        (change_of("coordinatesOutputFeatureName", "confidence"), "without two names"),
        (enumerated, "enumerated shapes"),
        (no_array, "not arrays of floats"),
    ],
)
def test_damaged_ones(tmp_path, change, message):
    spec = suppression_spec()
    change(spec)
    with pytest.raises(PackageError, match=message):
        milrun.load(save(spec, tmp_path))


@pytest.mark.parametrize("rows", [(5, 3), (1 << 40, -1)])
def test_row_limits_that_cannot_be(tmp_path, rows):
    with pytest.raises(PackageError, match="non-maximum suppression that"):
        load(tmp_path, rows=rows)


def test_it_has_no_functions_and_no_parts(tmp_path):
    path = save(suppression_spec(), tmp_path)
    with pytest.raises(PackageError, match="it has no functions"):
        milrun.load(path, "main")
    with pytest.raises(PackageError, match="is no pipeline"):
        milrun.load(path, part=0)
