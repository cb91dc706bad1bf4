"""Windows chosen, values padded and cut, forms chosen: at the edges where the host may be off by one."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.models.bundles import bundle_without_packages
from toolkit.bundle.host_constants import EncoderWindow
from toolkit.component import Component
from toolkit.errors import FIND_STAGE, BundleError, ComponentFault, RuntimeFault
from toolkit.loops.fixed_windows import (
    encode_mel,
    first_form,
    fitting_window,
    padded,
    padded_parts,
    smallest_window,
)
from toolkit.spec import TensorInfo

WINDOWS = (("long", 40), ("short", 10), ("middle", 20))
FORMS = {"fused": ("step",), "split": ("prediction", "joint")}


def size(window):
    return window[1]


@pytest.mark.parametrize(
    ("length", "fitting", "smallest"),
    [(0, "short", "short"), (10, "short", "short"), (11, "middle", "middle"), (40, "long", "long"), (41, None, "long")],
)
def test_the_smallest_window_that_holds_the_whole(length, fitting, smallest):
    found = fitting_window(WINDOWS, length, size)
    assert (found and found[0]) == fitting
    assert smallest_window(WINDOWS, length, size)[0] == smallest


def test_no_window_fits_where_there_is_none():
    assert fitting_window((), 1, size) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_padded_keeps_the_values_and_fills_the_end(axis):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    result = padded(values, 6, axis)
    assert result.shape[axis] == 6
    assert result.dtype == np.float32
    kept, rest = np.split(result, [values.shape[axis]], axis)
    assert np.array_equal(kept, values)
    assert not rest.any()


def test_padded_is_a_row_major_copy_of_any_layout():
    values = np.ones((3, 2), np.float32)
    for layout in (values, values.T, np.asfortranarray(values), np.ones((6, 4), np.float32)[::2, ::2]):
        result = padded(layout, len(layout))
        assert result.flags.c_contiguous
        assert not np.shares_memory(result, layout)


def test_padded_with_another_value():
    assert padded(np.array([5, 7], np.int32), 4, fill=7).tolist() == [5, 7, 7, 7]


def test_padded_refuses_values_that_are_too_long():
    with pytest.raises(ValueError, match="broadcast"):
        padded(np.zeros((5, 2)), 4)


@pytest.mark.parametrize(("count", "valid"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3])])
def test_parts_hold_every_row_once(count, valid):
    values = np.arange(2 * count, dtype=np.float32).reshape(count, 2) + 1
    parts = list(padded_parts(values, 3))
    assert [n for _, n in parts] == valid
    assert all(part.shape == (3, 2) for part, _ in parts)
    assert np.array_equal(np.concatenate([values[:0], *(part[:n] for part, n in parts)]), values)
    assert not any(part[n:].any() for part, n in parts)


class Encoder(Component):
    """Takes 8 mel frames, and counts its valid frames as `count` does."""

    name, function = "encoder", "audio_8"
    inputs: Mapping = {"mel": TensorInfo("float32", (1, 8, 2)), "length": TensorInfo("int32", (1,))}
    outputs: Mapping = {"encoder": TensorInfo("float32", (1, 4, 2)), "encoder_length": TensorInfo("int32", (1,))}
    states: Mapping = {}

    def __init__(self, count=lambda length: -(-length // 2)):
        self.count = count
        self.seen = None

    def _predict(self, inputs, state):
        self.seen = inputs["mel"][0]
        valid = np.array([self.count(int(inputs["length"][0]))], np.int32)
        return {"encoder": inputs["mel"][:, ::2] + 1, "encoder_length": valid}


WINDOW = EncoderWindow(function="audio_8", mel_frames=8, encoder_frames=4)


@pytest.mark.parametrize("length", [1, 4, 5, 8])
def test_the_encoder_sees_the_valid_frames_alone(length):
    mel = np.arange(20, dtype=np.float32).reshape(10, 2) + 1
    encoder = Encoder()
    outputs = encode_mel(encoder, mel, length, WINDOW, 2)
    assert np.array_equal(encoder.seen[:length], mel[:length])
    assert not encoder.seen[length:].any()
    assert outputs["encoder_length"].tolist() == [-(-length // 2)]


def test_an_encoder_that_counts_otherwise_is_at_fault():
    encoder = Encoder(count=lambda length: length // 2)
    with pytest.raises(RuntimeFault, match=r"component encoder \(audio_8\): 2 valid frames for 5 of mel, not 3") as e:
        encode_mel(encoder, np.ones((5, 2), np.float32), 5, WINDOW, 2)
    assert e.value.next_step == FIND_STAGE


def test_a_mel_of_another_dtype_is_refused_not_converted():
    with pytest.raises(ComponentFault, match="float64"):
        encode_mel(Encoder(), np.ones((5, 2)), 5, WINDOW, 2)


@pytest.fixture
def bundle():
    """A bundle of these components."""
    model = SimpleNamespace(id="parrot", task="synthesis")
    return lambda *components: bundle_without_packages(Path("BUNDLE"), model, {}, components, ())


@pytest.mark.parametrize(
    ("held", "wanted", "form"),
    [
        (("step", "prediction", "joint"), "auto", "fused"),
        (("step", "prediction", "joint"), "split", "split"),
        (("prediction", "joint"), "auto", "split"),
        (("step", "joint"), "auto", "fused"),
    ],
)
def test_the_first_form_that_the_bundle_holds_whole(bundle, held, wanted, form):
    assert first_form(bundle(*held), FORMS, wanted, "a step") == form


@pytest.mark.parametrize(
    ("held", "wanted", "names"), [(("joint",), "auto", "fused, split"), (("step", "joint"), "split", "split")]
)
def test_a_form_that_the_bundle_lacks_is_an_error_that_names_it(bundle, held, wanted, names):
    with pytest.raises(BundleError, match=rf"BUNDLE lacks a step \({names}\)") as e:
        first_form(bundle(*held), FORMS, wanted, "a step")
    assert e.value.next_step.startswith("Rebuild it: `convert parrot ")
