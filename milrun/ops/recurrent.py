"""MIL's recurrent ops, [S, B, I] in, [S, B, H] out.

What MIL's descriptions leave open is taken from coremltools' own tests against Core ML (9.0,
mil/ops/tests/iOS14/test_recurrent.py): `clip` limits the cell state, `scaled_tanh` is tanh, `hard_sigmoid` is
0.2 x + 0.5, the reset gate of a GRU applies before the recurrent product, and a `reverse` layer yields its outputs in
the order of its steps (the last position first), while the backward half of a `bidirectional` one is put back in order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from milrun.registry import Tensor, op

Activation = Callable[[Tensor], Tensor]

_ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "relu": torch.relu,
    "linear": lambda x: x,
}
_ACTIVATIONS["sigmoid_hard"] = _ACTIVATIONS["hard_sigmoid"]


@op()
def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [4H, ..] in the order input, forget, output, cell; peephole [3H]; states [B, directions * H].

    Yields the outputs [S or 1, B, directions * H], the last hidden state and the last cell state.
    """
    functions = _activation(recurrent_activation), _activation(cell_activation), _activation(activation)
    forward = _Lstm(weight_ih, weight_hh, bias, peephole, *functions, clip)
    if direction != "bidirectional":
        outputs, h, c = forward.run(_in_step_order(x, direction), initial_h, initial_c)
        return _sequence(outputs, h, output_sequence), h, c
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm needs weight_ih_back and weight_hh_back")
    backward = _Lstm(weight_ih_back, weight_hh_back, bias_back, peephole_back, *functions, clip)
    hidden = weight_hh.shape[1]
    ahead, h, c = forward.run(x, initial_h[:, :hidden], initial_c[:, :hidden])
    back, h_back, c_back = backward.run(x.flip(0), initial_h[:, hidden:], initial_c[:, hidden:])
    h, c = torch.cat([h, h_back], dim=1), torch.cat([c, c_back], dim=1)
    return _sequence(torch.cat([ahead, back.flip(0)], dim=2), h, output_sequence), h, c


@op()
def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Weights [3H, ..] in the order reset, output, update; yields the outputs [S or 1, B, H] and the last state."""
    layer = _Gru(
        weight_ih, weight_hh, bias, None, _activation(recurrent_activation), _activation(activation), reset_after=False
    )
    outputs, h = layer.run(_in_step_order(x, direction), initial_h)
    return _sequence(outputs, h, output_sequence), h


@op("gru", since="iOS18")
def gru_ios18(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `gru`; `input_bias` [3H] adds to the input product.

    With `reset_after` the reset gate multiplies the recurrent product and its bias, as in PyTorch's GRU with
    input_bias = bias_ih and bias = bias_hh.
    """
    functions = _activation(recurrent_activation), _activation(activation)
    layer = _Gru(weight_ih, weight_hh, bias, input_bias, *functions, reset_after)
    outputs, h = layer.run(_in_step_order(x, direction), initial_h)
    return _sequence(outputs, h, output_sequence), h


@op()
def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """h = activation(W_ih x + W_hh h + bias); yields the outputs [S or 1, B, H] and the last state."""
    function, h, outputs = _activation(activation), initial_h, []
    for step in _input_product(_in_step_order(x, direction), weight_ih, bias):
        h = function(step + h @ weight_hh.T)
        outputs.append(h)
    return _sequence(_joined(outputs, h), h, output_sequence), h


@dataclass(frozen=True)
class _Lstm:
    """One direction of an LSTM."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    peephole: Tensor | None
    gate: Activation
    cell: Activation
    output: Activation
    clip: float | None

    def run(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = []
        p_i, p_f, p_o = self.peephole.chunk(3) if self.peephole is not None else (None, None, None)
        for step in _input_product(x, self.weight_ih, self.bias):
            i, f, o, z = (step + h @ self.weight_hh.T).chunk(4, dim=1)
            i, f = self.gate(_peep(i, p_i, c)), self.gate(_peep(f, p_f, c))
            c = f * c + i * self.cell(z)
            if self.clip is not None:
                c = c.clamp(-self.clip, self.clip)
            h = self.gate(_peep(o, p_o, c)) * self.output(c)
            outputs.append(h)
        return _joined(outputs, h), h, c


@dataclass(frozen=True)
class _Gru:
    """A GRU layer."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    input_bias: Tensor | None
    gate: Activation
    output: Activation
    reset_after: bool

    def run(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        hidden, outputs = self.weight_hh.shape[1], []
        bias = self.bias if self.bias is not None else torch.zeros(3 * hidden)
        w_r, w_o, w_z = self.weight_hh.T.chunk(3, dim=1)
        b_r, b_o, b_z = bias.chunk(3)
        for step in _input_product(x, self.weight_ih, self.input_bias):
            x_r, x_o, x_z = step.chunk(3, dim=1)
            r, z = self.gate(x_r + h @ w_r + b_r), self.gate(x_z + h @ w_z + b_z)
            recurrent = r * (h @ w_o + b_o) if self.reset_after else (r * h) @ w_o + b_o
            h = (1 - z) * self.output(x_o + recurrent) + z * h
            outputs.append(h)
        return _joined(outputs, h), h


def _activation(name: str) -> Activation:
    if name.lower() not in _ACTIVATIONS:
        raise ValueError(f"unknown activation '{name}'; known are {sorted(_ACTIVATIONS)}")
    return _ACTIVATIONS[name.lower()]


def _in_step_order(x: Tensor, direction: str) -> Tensor:
    if direction not in ("forward", "reverse"):
        raise ValueError(f"unknown direction '{direction}'")
    return x.flip(0) if direction == "reverse" else x


def _input_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The part of all gates that does not depend on the state: [S, B, I] -> [S, B, gates * H]."""
    return torch.nn.functional.linear(x, weight, bias)


def _peep(gate: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    return gate if peephole is None else gate + peephole * c


def _joined(outputs: list[Tensor], h: Tensor) -> Tensor:
    return torch.stack(outputs) if outputs else h.new_zeros((0, *h.shape))


def _sequence(outputs: Tensor, h: Tensor, whole: bool) -> Tensor:
    """Every step, or the last states alone (for both directions the state after all steps)."""
    return outputs if whole else h.unsqueeze(0)
