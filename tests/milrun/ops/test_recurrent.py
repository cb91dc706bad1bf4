"""recurrent ops, against PyTorch's layers and against their formulas step by step.

Oracle: loops, PyTorch.
Oracle of gru: loops.
Oracle of gru@iOS18: loops, PyTorch.
Oracle of rnn: loops, PyTorch.
"""

import itertools

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import assert_op, run_op

STEPS, BATCH, INPUT, HIDDEN = 4, 2, 3, 5
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def random(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def ifoz(weight):
    """PyTorch's order (input, forget, cell, output) -> MIL's."""
    i, f, z, o = np.split(weight.detach().numpy(), 4)
    return np.concatenate([i, f, o, z])


def roz(weight):
    """PyTorch's order (reset, update, new) -> MIL's."""
    r, z, n = np.split(weight.detach().numpy(), 3)
    return np.concatenate([r, n, z])


def lstm_weights(layer, suffix, back=""):
    parameters = dict(layer.named_parameters())
    return {
        f"weight_ih{back}": ifoz(parameters[f"weight_ih_l0{suffix}"]),
        f"weight_hh{back}": ifoz(parameters[f"weight_hh_l0{suffix}"]),
        f"bias{back}": ifoz(parameters[f"bias_ih_l0{suffix}"]) + ifoz(parameters[f"bias_hh_l0{suffix}"]),
    }


def inputs(directions=1, cell=True):
    x, h = random(STEPS, BATCH, INPUT), random(BATCH, directions * HIDDEN, seed=1)
    return {"x": x, "h": h} | ({"c": random(BATCH, directions * HIDDEN, seed=2)} if cell else {})


def by_direction(state, directions):
    """[B, directions * H] -> [directions, B, H]"""
    return torch.from_numpy(np.stack(np.split(state, directions, axis=1)))


@pytest.mark.parametrize(("direction", "whole"), list(itertools.product(["forward", "reverse"], [True, False])))
def test_lstm_in_one_direction(direction, whole):
    torch.manual_seed(0)
    layer, given = torch.nn.LSTM(INPUT, HIDDEN), inputs()
    x = torch.from_numpy(given["x"])
    with torch.no_grad():
        # A reverse layer yields its outputs in the order of its steps.
        y, (h, c) = layer(
            x.flip(0) if direction == "reverse" else x, (by_direction(given["h"], 1), by_direction(given["c"], 1))
        )
    assert_op(
        lambda x, h, c: mb.lstm(
            x=x, initial_h=h, initial_c=c, direction=direction, output_sequence=whole, **lstm_weights(layer, "")
        ),
        given,
        (y if whole else y[-1:]).numpy(),
        h[0].numpy(),
        c[0].numpy(),
        **TOLERANCE,
    )


@pytest.mark.parametrize("whole", [True, False])
def test_lstm_in_both_directions(whole):
    torch.manual_seed(0)
    layer, given = torch.nn.LSTM(INPUT, HIDDEN, bidirectional=True), inputs(2)
    with torch.no_grad():
        y, (h, c) = layer(torch.from_numpy(given["x"]), (by_direction(given["h"], 2), by_direction(given["c"], 2)))
    last = torch.cat(tuple(h), dim=1)
    assert_op(
        lambda x, h, c: mb.lstm(
            x=x,
            initial_h=h,
            initial_c=c,
            direction="bidirectional",
            output_sequence=whole,
            **lstm_weights(layer, ""),
            **lstm_weights(layer, "_reverse", "_back"),
        ),
        given,
        (y if whole else last[None]).numpy(),
        last.numpy(),
        torch.cat(tuple(c), dim=1).numpy(),
        **TOLERANCE,
    )


ACTIVATIONS = {
    "tanh": np.tanh,
    "scaled_tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}


@pytest.mark.parametrize(
    ("gate", "cell", "output", "clip"),
    [
        ("sigmoid", "tanh", "relu", 0.2),
        ("hard_sigmoid", "linear", "scaled_tanh", None),
        ("sigmoid", "relu", "linear", 50.0),
    ],
)
def test_lstm_with_peephole_clip_and_other_activations(gate, cell, output, clip):
    given, w_x, w_h = inputs(), random(4 * HIDDEN, INPUT), random(4 * HIDDEN, HIDDEN)
    peephole, h, c, outputs = random(3 * HIDDEN), given["h"], given["c"], []
    p_i, p_f, p_o = np.split(peephole, 3)
    act, act_cell, act_output = ACTIVATIONS[gate], ACTIVATIONS[cell], ACTIVATIONS[output]
    for x in given["x"]:
        i, f, o, z = np.split(x @ w_x.T + h @ w_h.T, 4, axis=1)
        c = act(f + p_f * c) * c + act(i + p_i * c) * act_cell(z)
        c = c if clip is None else np.clip(c, -clip, clip)
        h = act(o + p_o * c) * act_output(c)
        outputs.append(h)
    assert_op(
        lambda x, h, c: mb.lstm(
            x=x,
            initial_h=h,
            initial_c=c,
            weight_ih=w_x,
            weight_hh=w_h,
            peephole=peephole,
            recurrent_activation=gate,
            cell_activation=cell,
            activation=output,
            output_sequence=True,
            **({} if clip is None else {"clip": np.float32(clip)}),
        ),
        given,
        np.stack(outputs),
        h,
        c,
        **TOLERANCE,
    )


def test_a_float16_lstm_rounds_its_results_once():
    given = {name: value.astype(np.float16) for name, value in inputs().items()}
    w_x, w_h = random(4 * HIDDEN, INPUT).astype(np.float16), random(4 * HIDDEN, HIDDEN).astype(np.float16)
    wide = run_op(
        lambda x, h, c: mb.lstm(x=x, initial_h=h, initial_c=c, weight_ih=w_x.astype("f4"), weight_hh=w_h.astype("f4")),
        {name: value.astype(np.float32) for name, value in given.items()},
    )
    narrow = run_op(lambda x, h, c: mb.lstm(x=x, initial_h=h, initial_c=c, weight_ih=w_x, weight_hh=w_h), given)
    for got, want in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float16))


def numpy_gru(x, h, w_x, w_h, bias, input_bias, reset_after, gate="sigmoid", output="tanh"):
    outputs, size, gate, output = [], h.shape[1], ACTIVATIONS[gate], ACTIVATIONS[output]
    r_, o_, z_ = slice(0, size), slice(size, 2 * size), slice(2 * size, None)
    for step in x:
        in_ = step @ w_x.T + input_bias
        r = gate(in_[:, r_] + h @ w_h[r_].T + bias[r_])
        z = gate(in_[:, z_] + h @ w_h[z_].T + bias[z_])
        if reset_after:
            o = output(in_[:, o_] + r * (h @ w_h[o_].T + bias[o_]))
        else:
            o = output(in_[:, o_] + (r * h) @ w_h[o_].T + bias[o_])
        h = (1 - z) * o + z * h
        outputs.append(h)
    return np.stack(outputs), h


@pytest.mark.parametrize(("direction", "whole", "opset"), [("forward", True, "iOS15"), ("reverse", False, "iOS17")])
def test_gru(direction, whole, opset):
    given, w_x, w_h, bias = inputs(cell=False), random(15, INPUT), random(15, HIDDEN), random(15)
    x = given["x"][::-1] if direction == "reverse" else given["x"]
    outputs, last = numpy_gru(x, given["h"], w_x, w_h, bias, np.zeros(15, np.float32), False)
    assert_op(
        lambda x, h: mb.gru(
            x=x, initial_h=h, weight_ih=w_x, weight_hh=w_h, bias=bias, direction=direction, output_sequence=whole
        ),
        given,
        outputs if whole else last[None],
        last,
        opset=opset,
        **TOLERANCE,
    )


@pytest.mark.parametrize(("gate", "output"), [("sigmoid_hard", "relu"), ("sigmoid", "linear")])
def test_gru_with_other_activations(gate, output):
    given, w_x, w_h = inputs(cell=False), random(15, INPUT), random(15, HIDDEN)
    zeros = np.zeros(15, np.float32)
    outputs, last = numpy_gru(given["x"], given["h"], w_x, w_h, zeros, zeros, False, gate, output)
    named = {"recurrent_activation": gate, "activation": output}
    assert_op(
        lambda x, h: mb.gru(x=x, initial_h=h, weight_ih=w_x, weight_hh=w_h, output_sequence=True, **named),
        given,
        outputs,
        last,
        **TOLERANCE,
    )


def test_gru_from_ios18_with_two_biases():
    given, w_x, w_h, bias, input_bias = inputs(cell=False), random(15, 3), random(15, 5), random(15), random(15, seed=9)
    outputs, last = numpy_gru(given["x"], given["h"], w_x, w_h, bias, input_bias, False)
    assert_op(
        lambda x, h: mb.gru(
            x=x, initial_h=h, weight_ih=w_x, weight_hh=w_h, bias=bias, input_bias=input_bias, output_sequence=True
        ),
        given,
        outputs,
        last,
        **TOLERANCE,
    )


def test_gru_with_reset_after_is_pytorchs():
    torch.manual_seed(0)
    layer, given = torch.nn.GRU(INPUT, HIDDEN), inputs(cell=False)
    with torch.no_grad():
        y, h = layer(torch.from_numpy(given["x"]), torch.from_numpy(given["h"])[None])
    w = {name.removesuffix("_l0"): roz(value) for name, value in layer.named_parameters()}
    assert_op(
        lambda x, h: mb.gru(
            x=x,
            initial_h=h,
            weight_ih=w["weight_ih"],
            weight_hh=w["weight_hh"],
            bias=w["bias_hh"],
            input_bias=w["bias_ih"],
            reset_after=True,
            output_sequence=True,
        ),
        given,
        y.numpy(),
        h[0].numpy(),
        **TOLERANCE,
    )


@pytest.mark.parametrize(("activation", "direction"), [("tanh", "forward"), ("relu", "reverse")])
def test_rnn(activation, direction):
    torch.manual_seed(0)
    layer, given = torch.nn.RNN(INPUT, HIDDEN, nonlinearity=activation), inputs(cell=False)
    x = torch.from_numpy(given["x"])
    with torch.no_grad():
        y, h = layer(x.flip(0) if direction == "reverse" else x, torch.from_numpy(given["h"])[None])
    w = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    assert_op(
        lambda x, h: mb.rnn(
            x=x,
            initial_h=h,
            weight_ih=w["weight_ih_l0"],
            weight_hh=w["weight_hh_l0"],
            bias=w["bias_ih_l0"] + w["bias_hh_l0"],
            activation=activation,
            direction=direction,
            output_sequence=True,
        ),
        given,
        y.numpy(),
        h[0].numpy(),
        **TOLERANCE,
    )


@pytest.mark.parametrize("activation", ["sigmoid", "sigmoid_hard", "scaled_tanh", "linear"])
def test_rnn_activations_that_pytorch_lacks(activation):
    given, w_x, w_h = inputs(cell=False), random(HIDDEN, INPUT), random(HIDDEN, HIDDEN)
    h = given["h"]
    for x in given["x"]:
        h = ACTIVATIONS[activation](x @ w_x.T + h @ w_h.T)
    assert_op(
        lambda x, h: mb.rnn(x=x, initial_h=h, weight_ih=w_x, weight_hh=w_h, activation=activation),
        given,
        h[None],
        h,
        **TOLERANCE,
    )
