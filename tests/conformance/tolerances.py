"""Tolerances that mean something.

coremltools compares a float16 package with `atol >= 0.5` and `rtol >= 0.05`, so that any device passes. Here a float16
package is compared at ten units in the last place (`FLOAT16`); a float32 package at the suite's own numbers, 1e-4 and
1e-5 unless a test names others.
"""

import builtins
import functools

# One unit in the last place of float16 is 2**-10, about 1e-3. A test's program rounds its inputs, its weights, every
# inner value and the result; sums of rounded values of magnitude 1 err by some units whatever the result's size.
FLOAT16 = {"rtol": 1e-2, "atol": 1e-2}

# The suite's floors for float16, as they stand in `compare_backend` and `convert_and_compare` of coremltools 9.0.
_SUITE_FLOORS = {0.5: FLOAT16["atol"], 5e-2: FLOAT16["rtol"]}
# A test of random numbers asks for this much, so that its values are not compared.
_NOT_COMPARED = 100


def _max(*values, **keywords):
    """`max`, but for the two lines of the suite's helpers that raise the tolerance of float16 packages."""
    if len(values) == 2 and not keywords and values[1] in _SUITE_FLOORS and values[0] < _NOT_COMPARED:
        return _SUITE_FLOORS[values[1]]
    return builtins.max(*values, **keywords)


def tighten():
    """Give the suite's comparing helpers our float16 tolerances (their modules' `max` is shadowed)."""
    import coremltools.converters.mil.frontend.torch.test.testing_utils as torch_helpers
    import coremltools.converters.mil.testing_utils as helpers

    for module in (helpers, torch_helpers):
        module.max = _max
    _mark_float16(helpers, "ct_convert")
    _mark_float16(torch_helpers, "ct_convert")


def _mark_float16(module, name):
    """The helpers use the float16 tolerance for all but `CPU_ONLY`: a float32 model that holds float16 is marked so."""
    import coremltools

    convert = getattr(module, name)

    @functools.wraps(convert)
    def marked(*args, **keywords):
        model = convert(*args, **keywords)
        if computes_in_float16(model):
            model.compute_unit = coremltools.ComputeUnit.ALL
        return model

    setattr(module, name, marked)


def computes_in_float16(mlmodel):
    """Whether a program that was converted as float32 still holds float16 values, because a test asks for them."""
    if getattr(mlmodel, "__proxy__", None) is None:
        return False
    function = mlmodel.__proxy__.model.function
    types = [declared for _, declared in function.block.inputs]
    types += [declared for operation in function.block.walk() for _, declared in operation.outputs]
    return any(getattr(declared, "dtype", "") == "float16" for declared in types)
