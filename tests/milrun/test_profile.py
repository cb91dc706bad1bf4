"""`milrun.profile` and `python -m milrun PACKAGE --profile`: calls, bytes and time, by op type and module."""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import milrun
from milrun.__main__ import main
from milrun.package import write_scopes
from milrun.profile import profile
from tests.milrun.harness import save_program, save_stateful

X = np.ones((2, 8), np.float16)
WEIGHT = np.ones((4, 8), np.float16)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    def build(x):
        hidden = mb.linear(x=x, weight=mb.const(val=WEIGHT, name="weight"), name="hidden")
        return mb.relu(x=mb.relu(x=hidden, name="once"), name="twice")

    path = save_program(build, {"x": X}, tmp_path_factory.mktemp("profile"), "iOS17")
    write_scopes(path, {"main": {"hidden": "encoder.proj", "once": "encoder.act", "twice": "encoder.act"}})
    return path


def test_bytes_and_calls_by_op_and_by_module(package):
    measured = profile(milrun.load(package), {"x": X}, runs=3)
    by_op = {cost.name: cost for cost in measured.by_op}
    assert set(by_op) == {"linear", "relu"}
    assert by_op["relu"].calls == 2
    assert by_op["relu"].bytes == 2 * 2 * (2 * 4) * 2  # two ops, read and written, [2, 4], float16
    bias = 4 * 2
    assert by_op["linear"].bytes in {(2 * 8 + 4 * 8 + 2 * 4) * 2, (2 * 8 + 4 * 8 + 2 * 4) * 2 + bias}
    by_module = {cost.name: cost for cost in measured.by_module}
    assert {name: cost.calls for name, cost in by_module.items()} == {"encoder.proj": 1, "encoder.act": 2}
    assert by_module["encoder.act"].bytes == by_op["relu"].bytes


def test_times_are_sorted_and_add_up_to_the_run(package):
    measured = profile(milrun.load(package), {"x": X}, runs=5)
    seconds = [cost.seconds for cost in measured.by_op]
    assert seconds == sorted(seconds, reverse=True)
    assert sum(seconds) > 0
    assert sum(seconds) == pytest.approx(sum(cost.seconds for cost in measured.by_module))
    assert measured.runs == 5
    assert measured.untimed_s > 0


def test_a_loop_counts_each_turn_and_its_own_time_once(tmp_path):
    def loop(x):
        def body(i, value):
            return mb.add(x=i, y=np.float32(1)), mb.exp(x=mb.mul(x=value, y=np.float32(0)))

        start = np.float32(0)
        return mb.while_loop(_cond=lambda i, value: mb.less(x=i, y=np.float32(5)), _body=body, loop_vars=(start, x))[1]

    x = np.ones((64, 64), np.float32)
    measured = profile(milrun.load(save_program(loop, {"x": x}, tmp_path, "iOS17")), {"x": x}, runs=3)
    costs = {cost.name: cost for cost in measured.by_op}
    assert costs["exp"].calls == 5
    assert costs["less"].calls == 6
    assert costs["while_loop"].calls == 1
    assert costs["exp"].bytes == 5 * 2 * x.nbytes


def test_states_are_fresh_in_each_run(tmp_path):
    model = milrun.load(save_stateful(tmp_path, (2, 3)))
    measured = profile(model, {"x": np.ones((2, 3), np.float16)}, runs=2)
    assert {cost.name for cost in measured.by_op} >= {"read_state", "add", "write_state"}


def run(capsys, *arguments):
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_the_tables(package, capsys):
    code, out, _ = run(capsys, package, "--profile", "--random", "--runs", "2")
    assert code == 0
    assert "median of 2 runs" in out
    titles = [line.split()[0:2] for line in out.splitlines() if line.startswith(("op type", "PyTorch module"))]
    assert titles == [["op", "type"], ["PyTorch", "module"]]
    assert "encoder.act" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--profile"], "--random"), (["--profile", "--random", "--trace"], "--trace goes with")],
)
def test_arguments_that_mean_nothing_here_are_exit_2(package, capsys, arguments, message):
    code, out, err = run(capsys, package, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_runs_are_a_whole_number(package, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(package), "--profile", "--random", "--runs", "0"])
    assert caught.value.code == 2
    assert "a whole number from 1 on, got 0" in capsys.readouterr().err
