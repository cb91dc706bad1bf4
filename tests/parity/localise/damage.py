"""Small attention blocks with a line for every op, and ways to damage a saved package."""

import shutil
from pathlib import Path

import numpy as np
import torch

import milrun
from milrun.package import _model_path, open_package
from milrun.program import Const, Ref
from toolkit.export.package import export_component
from toolkit.runtimes.recording import Call
from toolkit.spec import ComponentSpec, FunctionSpec, Tensor

FRAMES, WIDTH, HEADS = 6, 16, 2


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))
        angles = torch.arange(FRAMES)[:, None] / 3.0 ** torch.arange(WIDTH // HEADS // 2)
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos()[None, None], persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin()[None, None], persistent=False)

    def forward(self, x, mask):
        query, key, value = (self.heads(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        query, key = self.rotate(query), self.rotate(key)
        scores = query @ key.transpose(2, 3)  # line: scores
        masked = scores + mask  # line: mask
        weights = torch.softmax(masked, dim=-1)  # line: softmax
        context = weights @ value  # line: context
        return self.o_proj(context.transpose(1, 2).reshape(1, FRAMES, WIDTH))

    def heads(self, x):
        return x.view(1, FRAMES, HEADS, -1).transpose(1, 2)

    def rotate(self, x):
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)  # line: rope
        return x * self.cos + turned * self.sin


class SwappedPairs(Attention):
    """RoPE for a checkpoint whose pairs stand side by side."""

    def rotate(self, x):
        half = x.shape[-1] // 2
        turned = torch.cat([x[..., half:], -x[..., :half]], dim=-1)  # line: swapped
        return x * self.cos + turned * self.sin


class Layer(torch.nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.norm, self.attention = torch.nn.LayerNorm(WIDTH, eps=1e-5), attention()
        self.up, self.down = torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x, mask, valid):
        x = x + self.attention(self.norm(x), mask)
        hidden = torch.nn.functional.silu(self.up(x))  # line: up
        gated = hidden * valid  # line: valid
        return x + self.down(gated)


class Blocks(torch.nn.Module):
    def __init__(self, layers=2, attention=Attention):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(Layer(attention) for _ in range(layers))

    def forward(self, x, length):
        valid = (torch.arange(FRAMES, dtype=torch.int32) < length).to(x.dtype)
        mask = (1.0 - valid)[None, None, None] * -1e4
        for layer in self.layers:
            x = layer(x, mask, valid[None, :, None])
        return x


class Squares(torch.nn.Module):
    """A norm that squares: float16 overflows where |x| > 255."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.proj, self.out = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x, length):
        hidden = self.proj(x) * length.to(x.dtype)
        squares = hidden * hidden  # line: squares
        scale = torch.rsqrt(squares.mean(-1, keepdim=True) + 1e-5)
        return self.out(hidden * scale) + (squares - squares)


def component(build, name="blocks"):
    x = Tensor("x", (1, FRAMES, WIDTH), "float32", "hidden")
    length = Tensor("length", (1,), "int32", "valid frames", np.array([FRAMES], np.int32))
    y = Tensor("y", (1, FRAMES, WIDTH), "float32", "hidden")
    return ComponentSpec(name, lambda _: build(), (FunctionSpec("main", (x, length), (y,)),))


def call(length=4, seed=0):
    x = np.random.default_rng(seed).standard_normal((1, FRAMES, WIDTH)).astype(np.float32)
    return Call("blocks", "main", {"x": x, "length": np.array([length], np.int32)}, {})


def saved(spec, folder: Path, precision="fp16") -> Path:
    folder.mkdir(exist_ok=True)
    (file,) = export_component(spec, folder, precision, "iOS18")
    return folder / file


def line_of(marker):
    """`file:line` of a comment in this file."""
    lines = Path(__file__).read_text().splitlines()
    (line,) = (n for n, text in enumerate(lines, 1) if text.endswith(f"# line: {marker}"))
    return f"tests/parity/localise/damage.py:{line}"


class Damage:
    """A copy of a package whose spec can be changed; `save` writes it."""

    def __init__(self, package, folder):
        self.path = folder / "damaged.mlpackage"
        shutil.copytree(package, self.path)
        self.package = open_package(self.path)
        (self.function,) = self.package.spec.mlProgram.functions.values()
        self.block = self.function.block_specializations[self.function.opset]

    def op(self, type, scope="", place=0):
        """An op of the spec by type and module."""
        scopes = self.package.scopes["main"]
        found = [o for o in self.block.operations if o.type == type and scopes.get(o.outputs[0].name, "") == scope]
        return found[place]

    def constant(self, op, parameter):
        """The value of a constant parameter, the op's own from now on."""
        binding = op.inputs[parameter].arguments[0]
        if binding.WhichOneof("binding") == "name":  # other ops may read the same constant
            shared = next(o for o in self.block.operations if o.outputs[0].name == binding.name)
            binding.value.CopyFrom(shared.attributes["val"])
        return binding.value

    def scale_weight(self, op, parameter, factor):
        """Scale a weight in the weight file."""
        operations = milrun.load(self.path).function.block.operations
        (named,) = (o for o in operations if o.name == op.outputs[0].name)
        (binding,) = named.inputs[parameter]
        if isinstance(binding, Ref):
            (binding,) = next(o for o in operations if o.name == binding.name).inputs["val"]
        assert isinstance(binding, Const)
        values = binding.numpy()
        (file,) = self.path.rglob("weight.bin")
        content = file.read_bytes()
        assert content.count(values.tobytes()) == 1
        file.write_bytes(content.replace(values.tobytes(), (values * values.dtype.type(factor)).tobytes()))

    def drop(self, op, keep="x"):
        """Remove an op; what read it reads its input instead."""
        name, source = op.outputs[0].name, op.inputs[keep].arguments[0].name
        self.block.operations.remove(op)
        for other in self.block.operations:
            for argument in other.inputs.values():
                for binding in argument.arguments:
                    if binding.name == name:
                        binding.name = source

    def save(self):
        _model_path(self.path).write_bytes(self.package.spec.SerializeToString())
        return milrun.load(self.path)
