"""Components of fixed length on values of any length: choose the form and the window, pad, call, check, cut.

A package takes arrays of one shape per function. The host chooses the function, pads with zeros at the end, and cuts
what the padding became off again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from toolkit.bundle.bundle import Bundle, rebuild_step
from toolkit.bundle.host_constants import EncoderWindow
from toolkit.component import Component
from toolkit.errors import FIND_STAGE, BundleError, RuntimeFault

WindowT = TypeVar("WindowT")
FormT = TypeVar("FormT", bound=str)


def fitting_window(windows: Iterable[WindowT], length: int, size: Callable[[WindowT], int]) -> WindowT | None:
    """The smallest window that holds `length`; None if no window does.

    Args:
        windows: in any order.
        length: of the values, in the unit of `size`.
        size: the length of a window.
    """
    return min((window for window in windows if size(window) >= length), key=size, default=None)


def smallest_window(windows: Sequence[WindowT], length: int, size: Callable[[WindowT], int]) -> WindowT:
    """The smallest window that holds `length`, else the largest window.

    Args:
        windows: at least one, in any order.
        length: of the values, in the unit of `size`.
        size: the length of a window.
    """
    fitting = fitting_window(windows, length, size)
    return max(windows, key=size) if fitting is None else fitting


def padded(values: np.ndarray, length: int, axis: int = 0, fill: float = 0) -> np.ndarray:
    """A copy of `values` that is `length` long along one axis, filled up at the end.

    Args:
        values: of any shape and dtype, at most `length` long along `axis`.
        length: of the copy along `axis`.
        axis: counted from the front.
        fill: the value behind `values`.

    Raises:
        ValueError: `values` are longer than `length`.
    """
    shape = [*values.shape[:axis], length, *values.shape[axis + 1 :]]
    result = np.full(shape, fill, values.dtype)  # row-major whatever the layout of `values`, unlike np.pad
    result[(*[slice(None)] * axis, slice(values.shape[axis]))] = values
    return result


def padded_parts(values: np.ndarray, length: int) -> Iterator[tuple[np.ndarray, int]]:
    """Consecutive parts of `values`, all of one length, the last part filled up with zeros.

    Args:
        values: [n, ...] of any dtype.
        length: of each part along the first axis.

    Yields:
        A part [length, ...], and how many of its rows are values.
    """
    for start in range(0, len(values), length):
        part = values[start : start + length]
        yield padded(part, length), len(part)


def encode_mel(
    encoder: Component, mel: np.ndarray, length: int, window: EncoderWindow, factor: int
) -> dict[str, np.ndarray]:
    """One call of an encoder of NeMo's layout: a mel padded to the window, and its number of valid frames.

    Args:
        encoder: inputs `mel` [1, T, M] float32 and `length` [1] int32; outputs `encoder` [1, F, D] and
            `encoder_length` [1].
        mel: [n, M] float32, of which the first `length` frames are used.
        length: valid mel frames, at most what the window holds.
        window: the function of the encoder, and its T.
        factor: mel frames per encoder frame.

    Returns:
        The outputs; the first ceil(length / factor) encoder frames are valid.

    Raises:
        RuntimeFault: the component failed, or counted its valid frames in another way.
    """
    inputs = {"mel": padded(mel[:length], window.mel_frames)[None], "length": np.array([length], np.int32)}
    outputs = encoder.predict(inputs)
    frames = int(outputs["encoder_length"].item())
    expected = -(-length // factor)
    if frames != expected:
        raise RuntimeFault(
            f"component encoder ({window.function}): {frames} valid frames for {length} of mel, not {expected}",
            FIND_STAGE,
        )
    return outputs


def first_form(
    bundle: Bundle, forms: Mapping[FormT, Sequence[str]], wanted: FormT | Literal["auto"], what: str
) -> FormT:
    """The form to run: the wanted one, or for `auto` the first one whose components the bundle holds.

    Args:
        bundle: names its components.
        forms: form -> all components that it needs, the preferred form first.
        wanted: one form, or `auto`.
        what: names the components in the error, e.g. `the components of a decoding step`.

    Raises:
        BundleError: the bundle lacks a component of each form that may run.
    """
    allowed = [form for form in forms if wanted in ("auto", form)]
    for form in allowed:
        if all(bundle.manifest.component(name) for name in forms[form]):
            return form
    raise BundleError(f"{bundle.path} lacks {what} ({', '.join(allowed)})", rebuild_step(bundle.manifest, bundle.path))
