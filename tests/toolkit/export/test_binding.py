"""Inputs are bound to `forward` by position: another order or another name than declared is refused."""

import pytest
import torch

from toolkit.errors import RuntimeFault
from toolkit.export.package import trace
from toolkit.runtimes.eager import EagerRuntime
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor


class Attention(torch.nn.Module):
    def forward(self, query, key_in, value_in):
        return query * key_in + value_in


class Streamed(torch.nn.Module):
    def forward(self, query, *states):
        return (query + sum(states),)


class Scaled(torch.nn.Module):
    def forward(self, query, *, scale=2.0):
        return query * scale


class Optional(torch.nn.Module):
    def forward(self, query, key_in=None):
        return query if key_in is None else query * key_in


def function(*names):
    tensors = {name: Tensor(name, (2,), "float32", name) for name in (*names, "y")}
    return FunctionSpec("step", tuple(tensors[name] for name in names), (tensors["y"],))


def loaded(module, declared):
    plan = ExportPlan((ComponentSpec("part", lambda _: module, (declared,)),), {}, {}, {})
    return EagerRuntime(plan).load("part", "step")


@pytest.mark.parametrize("use", [trace, loaded])
@pytest.mark.parametrize(
    ("module", "names", "parameters"),
    [
        (Attention(), ("query", "value_in", "key_in"), "query, key_in, value_in"),
        (Attention(), ("query", "key_in"), "query, key_in, value_in"),
        (Attention(), ("query", "key_in", "value"), "query, key_in, value_in"),
        (Attention(), ("query", "key_in", "value_in", "mask"), "query, key_in, value_in"),
        (Streamed(), ("token", "conv_in"), r"query, \*states"),
        (Streamed(), (), r"query, \*states"),
        (Optional(), ("query",), "query, key_in"),
    ],
)
def test_other_names_than_those_declared_are_refused(use, module, names, parameters):
    both = rf"takes \({parameters}\), its export declares \({', '.join(names)}\)"
    with pytest.raises(RuntimeFault, match=rf"forward of {type(module).__name__} \(step\) {both}"):
        use(module, function(*names))


@pytest.mark.parametrize("use", [trace, loaded])
@pytest.mark.parametrize(
    ("module", "names"),
    [
        (Attention(), ("query", "key_in", "value_in")),
        (Streamed(), ("query", "conv_in", "key_in")),  # made from one list by design
        (Streamed(), ("query",)),
        (Scaled(), ("query",)),  # a keyword is no input
    ],
)
def test_the_declared_names_are_bound(use, module, names):
    assert use(module, function(*names))
