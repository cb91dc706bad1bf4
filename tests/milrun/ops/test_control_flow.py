"""control_flow ops: branches, loops and lists.

Oracle: literal.
Oracle of cond, select: NumPy, literal.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from tests.milrun.harness import assert_op, run_op


def scalar(x):
    return mb.squeeze(x=x, axes=[0])


def test_select_broadcasts():
    chosen = np.array([[True], [False]])
    a, b = np.array([[1.0, np.nan, 3.0]], np.float32), np.array([[7.0, 8.0, np.inf]], np.float32)
    assert_op(
        lambda c, a, b: mb.select(cond=mb.tile(x=c, reps=[1, 3]), a=a, b=b),
        {"c": chosen, "a": np.repeat(a, 2, 0), "b": np.repeat(b, 2, 0)},
        np.where(chosen, a, b),
    )


def test_select_of_ints_is_exact():
    a, b = np.array([2**24 + 1, 5], np.int32), np.array([0, -(2**31)], np.int32)
    assert_op(
        lambda c, a, b: mb.select(cond=c, a=a, b=b),
        {"c": np.array([True, False]), "a": a, "b": b},
        np.array([2**24 + 1, -(2**31)]),
    )


@pytest.mark.parametrize("taken", [True, False])
def test_cond_runs_one_branch(taken):
    x = np.array([2.0, -3.0], np.float32)
    two = np.float32(2)

    def build(p, x):
        outside = mb.add(x=x, y=two)
        return mb.cond(
            pred=scalar(p),
            _true_fn=lambda: (mb.mul(x=outside, y=two), mb.identity(x=x)),
            _false_fn=lambda: (outside, mb.sub(x=x, y=two)),
        )

    expected = ((x + 2) * 2, x) if taken else (x + 2, x - 2)
    assert_op(build, {"p": np.array([taken]), "x": x}, *expected)


@pytest.mark.parametrize("taken", [True, False])
def test_a_name_that_is_a_constant_in_one_branch_and_not_in_the_other(taken):
    x = np.array([1.0, 2.0], np.float32)

    def build(p, x):
        def true_branch():
            return mb.mul(x=x, y=mb.const(val=np.float32(3), name="k"))

        def false_branch():
            return mb.mul(x=mb.add(x=x, y=np.float32(1), name="k"), y=np.float32(5))

        return mb.cond(pred=scalar(p), _true_fn=true_branch, _false_fn=false_branch)

    assert_op(build, {"p": np.array([taken]), "x": x}, x * 3 if taken else (x + 1) * 5)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_while_loop(limit):
    """Fibonacci: the loop variables change places, and an outer value is read in both blocks."""

    def build(n, i, a, b):
        n = scalar(n)
        return mb.while_loop(
            _cond=lambda i, a, b: mb.less(x=i, y=n),
            _body=lambda i, a, b: (mb.add(x=i, y=1), mb.identity(x=b), mb.add(x=a, y=b)),
            loop_vars=(scalar(i), scalar(a), scalar(b)),
        )

    fibonacci = [0, 1, 1, 2, 3, 5, 8, 13, 21]
    expected = (limit, fibonacci[limit], fibonacci[limit + 1])
    inputs = {"n": limit, "i": 0, "a": 0, "b": 1}
    got = run_op(build, {name: np.array([value], np.int32) for name, value in inputs.items()})
    assert tuple(int(value) for value in got) == expected


def test_while_loop_whose_variable_grows():
    x = np.array([[1.0, 2.0]], np.float32)

    def build(x):
        return mb.while_loop(
            _cond=lambda i, rows: mb.less(x=i, y=3),
            _body=lambda i, rows: (mb.add(x=i, y=1), mb.concat(values=(rows, x), axis=0)),
            loop_vars=(np.int32(0), x),
        )

    count, rows = run_op(build, {"x": x})
    assert int(count) == 3
    np.testing.assert_array_equal(rows, np.repeat(x, 4, 0))


def test_cond_in_a_while_loop():
    """Collatz steps from 6: 3, 10, 5, 16, 8, 4, 2, 1."""

    def build(n):
        def body(n, steps):
            odd = mb.equal(x=mb.mod(x=n, y=2), y=1)
            following = mb.cond(
                pred=odd,
                _true_fn=lambda: mb.add(x=mb.mul(x=n, y=3), y=1),
                _false_fn=lambda: mb.floor_div(x=n, y=2),
            )
            return following, mb.add(x=steps, y=1)

        return mb.while_loop(
            _cond=lambda n, steps: mb.greater(x=n, y=1), _body=body, loop_vars=(scalar(n), np.int32(0))
        )

    n, steps = run_op(build, {"n": np.array([6], np.int32)})
    assert (int(n), int(steps)) == (1, 8)


def test_lists():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)

    def build(x, i):
        ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=(2,), dtype="fp32")
        ls = mb.list_scatter(ls=ls, indices=[2, 0, 1], value=x)
        changed = mb.list_write(ls=ls, index=scalar(i), value=np.array([9, 9], np.float32))
        return (
            mb.list_read(ls=changed, index=scalar(i)),
            mb.list_gather(ls=changed, indices=[0, 1, 2]),
            mb.list_gather(ls=ls, indices=[2, 1]),
            mb.list_length(ls=ls),
        )

    read, changed, first, length = run_op(build, {"x": x, "i": np.array([1], np.int32)})
    np.testing.assert_array_equal(read, [9, 9])
    np.testing.assert_array_equal(changed, [x[1], [9, 9], x[0]])
    np.testing.assert_array_equal(first, [x[0], x[2]])  # writing made a new list
    assert int(length) == 3


def test_a_list_carried_by_a_loop_grows():
    def build(x):
        ls = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(2,), dtype="fp32")
        _, ls = mb.while_loop(
            _cond=lambda i, ls: mb.less(x=i, y=4),
            _body=lambda i, ls: (
                mb.add(x=i, y=1),
                mb.list_write(ls=ls, index=i, value=mb.mul(x=x, y=mb.cast(x=i, dtype="fp32"))),
            ),
            loop_vars=(np.int32(0), ls),
        )
        return mb.list_gather(ls=ls, indices=[3, 0, 1]), mb.list_length(ls=ls)

    rows, length = run_op(build, {"x": np.array([1.0, 2.0], np.float32)})
    np.testing.assert_array_equal(rows, [[3, 6], [0, 0], [1, 2]])
    assert int(length) == 4


def test_elements_of_a_list_are_zero_until_written():
    def build(x):
        ls = mb.make_list(init_length=2, elem_shape=(2,), dtype="fp32")
        written = mb.list_write(ls=ls, index=4, value=x)  # past the end: the list grows
        return mb.list_read(ls=ls, index=0), mb.list_gather(ls=written, indices=[4, 3])

    first, rows = run_op(build, {"x": np.array([2, 4], np.float32)})
    np.testing.assert_array_equal(first, [0, 0])
    np.testing.assert_array_equal(rows, [[2, 4], [0, 0]])


def test_reading_past_the_end_of_a_list():
    def build(x, i):
        ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=(2,), dtype="fp32")
        return mb.list_read(ls=mb.list_write(ls=ls, index=0, value=x), index=scalar(i))

    with pytest.raises(OpError, match="a list of 3"):
        run_op(build, {"x": np.zeros(2, np.float32), "i": np.array([3], np.int32)})


def test_writing_past_the_end_of_a_fixed_list():
    def build(x, i):
        ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=(2,), dtype="fp32")
        return mb.list_read(ls=mb.list_write(ls=ls, index=scalar(i), value=x), index=0)

    with pytest.raises(OpError, match="a list of 3"):
        run_op(build, {"x": np.zeros(2, np.float32), "i": np.array([3], np.int32)})
