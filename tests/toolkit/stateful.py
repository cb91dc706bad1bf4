"""Two small components with states, as wrappers hold them: a running sum, and attention over a cache."""

import numpy as np
import torch

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import CheckpointEntry, ComponentEntry, FunctionEntry, Manifest, PackageEntry
from toolkit.export.package import export_component
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor

LAYERS, HEADS, SLOTS, WIDTH = 2, 2, 8, 4
PREFILL = 3  # tokens
CACHE = (LAYERS, HEADS, SLOTS, WIDTH)


class Accumulator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 3))

    def forward(self, x):
        self.total.add_(x)
        return self.total


class CachedAttention(torch.nn.Module):
    """Writes the keys and values of `tokens` rows from `position` on, then attends to all rows up to each."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens
        torch.manual_seed(0)
        self.qkv = torch.nn.ModuleList(torch.nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH) for _ in range(LAYERS))
        self.register_buffer("key_cache", torch.zeros(CACHE))
        self.register_buffer("value_cache", torch.zeros(CACHE))

    def forward(self, x, position):
        begin = position[0]
        rows = begin + torch.arange(self.tokens)
        mask = (torch.arange(SLOTS)[None] > rows[:, None]).to(x.dtype) * -1e4  # [T, C]
        for layer, qkv in enumerate(self.qkv):
            q, k, v = qkv(x).reshape(self.tokens, 3, HEADS, WIDTH).permute(1, 2, 0, 3)  # [T, 3HD] -> 3 x [H, T, D]
            keys, values = self.write(layer, begin, k, v)
            attended = torch.softmax(q @ keys.transpose(-1, -2) / WIDTH**0.5 + mask, -1) @ values
            x = x + attended.permute(1, 0, 2).reshape(self.tokens, HEADS * WIDTH)  # [H, T, D] -> [T, HD]
        return x

    def write(self, layer, begin, k, v):
        end = begin + self.tokens
        self.key_cache[layer, :, begin:end] = k
        self.value_cache[layer, :, begin:end] = v
        return self.key_cache[layer], self.value_cache[layer]


class Forgetful(CachedAttention):
    """Right outputs, but the keys are not kept."""

    def write(self, layer, begin, k, v):
        keys, end = self.key_cache[layer].clone(), begin + self.tokens
        keys[:, begin:end] = k
        self.value_cache[layer, :, begin:end] = v
        return keys, self.value_cache[layer]


class Shifted(CachedAttention):
    """Right outputs, but the keys are kept one row too late."""

    def write(self, layer, begin, k, v):
        keys, values = Forgetful.write(self, layer, begin, k, v)
        self.key_cache[layer, :, begin + 1 : begin + self.tokens + 1] = k
        return keys, values


def decoder_function(name, tokens):
    return FunctionSpec(
        name,
        (
            Tensor("x", (tokens, HEADS * WIDTH), "float32", "embedded tokens"),
            Tensor("position", (1,), "int32", "of the first token", np.zeros(1, np.int32)),
        ),
        (Tensor("y", (tokens, HEADS * WIDTH), "float32", "hidden"),),
        (Tensor("key_cache", CACHE, "float16", "keys"), Tensor("value_cache", CACHE, "float16", "values")),
    )


def plan(attention=CachedAttention):
    total = Tensor("total", (2, 3), "float16", "sum of all x")
    x, y = Tensor("x", (2, 3), "float32", "summand"), Tensor("y", (2, 3), "float32", "sum so far")
    tokens = {"prefill": PREFILL, "step": 1}
    return ExportPlan(
        components=(
            ComponentSpec("sum", lambda _: Accumulator(), (FunctionSpec("main", (x,), (y,), (total,)),)),
            ComponentSpec(
                "decoder",
                lambda function: attention(tokens[function]),
                tuple(decoder_function(name, count) for name, count in tokens.items()),
            ),
        ),
        host={},
        assets={},
        options={},
    )


def convert(plan, folder, precision):
    """A bundle of the plan's packages."""
    components = []
    for spec in plan.components:
        files = export_component(spec, folder, precision, "iOS18")
        components.append(
            ComponentEntry(
                name=spec.name,
                packages=tuple(
                    PackageEntry(file=file, sha256="0", size_bytes=1, functions=dict(functions))
                    for file, functions in files.items()
                ),
                fingerprint="0",
                sources={"wrappers": "0"},
                precision=precision,
                compression="none",
                functions=tuple(FunctionEntry.of(f) for f in spec.functions),
            )
        )
    manifest = Manifest(
        schema_version=1,
        model="parakeet-tdt",
        task="transcription",
        checkpoint=CheckpointEntry(id="tiny", kind="folder", revision=None, sha256="0", location="tiny"),
        target="iOS18",
        options={},
        components=tuple(components),
        assets=(),
        host={},
        versions={},
    )
    return Bundle(folder, manifest)


def embedded(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, HEADS * WIDTH)).astype(np.float32)


def decode(runtime, tokens):
    """Prefill, then a step a token, the states handed over by value: the outputs of all tokens, and the last states."""
    prefill, step = runtime.load("decoder", "prefill"), runtime.load("decoder", "step")
    state = prefill.make_state()
    outputs = [prefill.predict({"x": tokens[:PREFILL], "position": np.zeros(1, np.int32)}, state)["y"]]
    state = step.make_state(prefill.read_state(state))
    for position in range(PREFILL, len(tokens)):
        inputs = {"x": tokens[position : position + 1], "position": np.array([position], np.int32)}
        outputs.append(step.predict(inputs, state)["y"])
    return np.concatenate(outputs), step.read_state(state)


def accumulate(runtime, *summands):
    """The running sum of arrays full of a number each."""
    component = runtime.load("sum")
    state = component.make_state()
    outputs = [component.predict({"x": np.full((2, 3), value, np.float32)}, state)["y"] for value in summands]
    return outputs, component.read_state(state)
