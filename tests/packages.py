"""Checks that hold for every saved package."""

import numpy as np

from toolkit.runtimes.portable import PortableRuntime


def functions(bundle):
    """Every function of every component of a bundle, on the portable runtime."""
    runtime = PortableRuntime(bundle.locate)
    for entry in bundle.manifest.components:
        for function in entry.functions:
            yield runtime.load(entry.name, function.name)


def random_inputs(component, seed, length=None):
    """Inputs of a component; `length` is the value of an input of this name."""
    rng = np.random.default_rng(seed)
    values = {}
    for name, info in component.inputs.items():
        if name == "length":
            values[name] = np.array([length], dtype=np.int32)
        elif info.dtype == "int32":
            values[name] = rng.integers(3, 30, info.shape).astype(np.int32)
        else:
            values[name] = rng.standard_normal(info.shape).astype(np.float32)
    return values


def assert_every_input_acts(component, length=None):
    """No input was folded away by tracing: a change of each one alone changes an output."""
    base, other = (random_inputs(component, seed, length) for seed in (0, 1))
    reference = component.predict(base, component.make_state())
    for name in base:
        changed = base | {name: other[name] if name != "length" else base[name] // 2}
        outputs = component.predict(changed, component.make_state())
        same = all(np.array_equal(outputs[o], reference[o]) for o in outputs)
        assert not same, f"{component.name} ({component.function}): '{name}' influences nothing"


def assert_padding_cannot_act(component, padded, output, length):
    """What stands beyond `length` in axis 1 of the input `padded` does not reach the output."""
    inputs = random_inputs(component, 0, length)
    loud = inputs[padded].copy()
    loud[:, length:] = 100.0
    quiet, changed = component.predict(inputs), component.predict(inputs | {padded: loud})
    np.testing.assert_array_equal(quiet[output], changed[output])
