"""milrun against ONNX Runtime, PyTorch eager and PyTorch with fused attention, on the same modules.

For each: what the arithmetic alone would take at this machine's measured matrix-product rate and memory rate.
Needs the group `bench`: `uv run --group bench python -m bench milrun`.
"""

import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench._measure import alternately, in_process, resident_gib, seconds, table

MODULE = "bench.milrun"


class Block(nn.Module):
    """A pre-norm transformer layer with explicit attention, as our wrappers write it; or fused, as references do."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.fused = False
        self.heads, self.head_dim = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [1, T, D] -> [1, T, D]."""
        frames, width = x.shape[1], x.shape[2]
        q, k, v = (
            part.view(1, frames, self.heads, self.head_dim).transpose(1, 2)  # [1, T, D] -> [1, H, T, d]
            for part in self.qkv(self.norm1(x)).split(width, dim=-1)
        )
        if self.fused:
            attended = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            attended = torch.softmax(q @ k.transpose(2, 3) * self.head_dim**-0.5, dim=-1) @ v
        x = x + self.out(attended.transpose(1, 2).reshape(1, frames, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


def _transformer() -> tuple[nn.Module, tuple[np.ndarray, ...]]:
    x = np.random.default_rng(0).standard_normal((1, 500, 512)).astype(np.float32)
    return nn.Sequential(*(Block(512, 8) for _ in range(12))), (x,)


def _whisper_shape() -> tuple[nn.Module, tuple[np.ndarray, ...]]:
    x = np.random.default_rng(0).standard_normal((1, 1500, 384)).astype(np.float32)
    return nn.Sequential(*(Block(384, 6) for _ in range(4))), (x,)


def _small_convolutions() -> tuple[nn.Module, tuple[np.ndarray, ...]]:
    x = np.random.default_rng(0).standard_normal((1, 32, 64)).astype(np.float32)
    return nn.Sequential(*(layer for _ in range(16) for layer in (nn.Conv1d(32, 32, 3, padding=1), nn.ReLU()))), (x,)


def _token_step() -> tuple[nn.Module, tuple[np.ndarray, ...]]:
    x = np.random.default_rng(0).standard_normal((1, 1, 1024)).astype(np.float32)
    return nn.Sequential(*(Block(1024, 16) for _ in range(8))), (x,)


def _conformer() -> tuple[nn.Module, tuple[np.ndarray, ...]]:
    from transformers import ParakeetForTDT, ParakeetTDTConfig

    from bench.parakeet_tdt import PUBLISHED, PUBLISHED_ENCODER
    from wrappers.parakeet_tdt import Encoder

    config = ParakeetTDTConfig(encoder_config=PUBLISHED_ENCODER | {"num_hidden_layers": 6}, **PUBLISHED)
    mel = np.random.default_rng(0).standard_normal((1, 1501, 128)).astype(np.float32)
    return Encoder(ParakeetForTDT(config).eval(), 1501), (mel, np.array([1501], dtype=np.int32))


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[np.ndarray, ...]]]] = {
    "transformer, 12 layers, d 512, T 500": _transformer,
    "transformer of Whisper tiny's shape, T 1500": _whisper_shape,
    "16 small convolutions": _small_convolutions,
    "Conformer, 6 layers of Parakeet's shape, 15 s": _conformer,
    "decoder step, 8 layers, d 1024, one token": _token_step,
}


def run(small: bool) -> None:
    """Print every table; `small` leaves out the 1.2 GB package."""
    rows, limits = [], in_process(MODULE, "machine_limits")
    for name in CASES:
        t = in_process(MODULE, "case_times", name)
        bound = max(t["gflop"] / limits["gflops"], t["gbyte"] / limits["gbytes_s"])
        times = [1e3 * t[key] for key in ("eager", "fused", "onnx", "fp32", "fp16")]
        ratios = [t["fp32"] / t["onnx"], t["fp16"] / t["onnx"], t["fp32"] / t["eager"], bound / t["fp32"]]
        rows.append([name, *times, *ratios, t["gflop"], t["gbyte"], t["us_per_op"]])
    print(f"measured limits: {limits['gflops']:.0f} GFLOP/s (float32 product), {limits['gbytes_s']:.1f} GB/s (read)\n")
    header = ["case", "eager, ms", "fused, ms", "ONNX Runtime, ms", "fp32, ms", "fp16, ms", "fp32 / ONNX Runtime"]
    header += ["fp16 / ONNX Runtime", "fp32 / eager", "share of the limit", "GFLOP", "GB of weights", "us an op"]
    table("milrun against ONNX Runtime and eager", header, rows)
    if not small:
        _loading()


def machine_limits() -> dict[str, Any]:
    """The matrix-product rate and the rate at which memory is read, measured here."""
    a = torch.randn(2048, 2048)
    flops = 2 * 2048**3 / seconds(lambda: a @ a, 5)
    big = torch.randn(128 * 2**20)
    return {"gflops": flops / 1e9, "gbytes_s": big.numel() * 4 / seconds(big.sum, 5) / 1e9}


def case_times(name: str) -> dict[str, Any]:
    """Seconds a call: eager, fused, ONNX Runtime, milrun fp32 and fp16; and the case's arithmetic."""
    import milrun

    torch.manual_seed(0)
    module, arrays = CASES[name]()
    module = module.eval()
    tensors = tuple(torch.from_numpy(a) for a in arrays)
    fused = _fused(module)
    result: dict[str, Any] = {"gflop": _flop(module, tensors) / 1e9, "us_per_op": _overhead_us()}
    result["gbyte"] = 4 * sum(p.numel() for p in module.parameters()) / 1e9
    with tempfile.TemporaryDirectory() as folder:
        fp32, fp16 = (milrun.load(_convert(module, arrays, p, Path(folder))) for p in ("fp32", "fp16"))
        inputs = dict(zip(fp32.inputs, arrays, strict=True))
        onnx = _onnx(module, arrays, Path(folder))
        with torch.no_grad():
            times = alternately(
                {
                    "eager": lambda: module(*tensors),
                    "fused": lambda: fused(*tensors),
                    "onnx": onnx,
                    "fp32": lambda: fp32.predict(inputs),
                    "fp16": lambda: fp16.predict(inputs),
                }
            )
    return result | times


def _fused(module: nn.Module) -> nn.Module:
    """The same weights with PyTorch's fused attention; the module itself where it has none of our blocks."""
    twin = copy.deepcopy(module)
    for block in twin.modules():
        if isinstance(block, Block):
            block.fused = True
    return twin


def _onnx(module: nn.Module, arrays: tuple[np.ndarray, ...], folder: Path) -> Callable[[], Any]:
    """A call of ONNX Runtime on the same module, with as many threads as PyTorch has."""
    import onnxruntime

    names = [f"input_{i}" for i in range(len(arrays))]
    file = str(folder / "model.onnx")
    with torch.no_grad():
        torch.onnx.export(module, tuple(map(torch.from_numpy, arrays)), file, input_names=names, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {one.name: array for one, array in zip(session.get_inputs(), arrays, strict=False)}
    return lambda: session.run(None, given)


def _flop(module: nn.Module, tensors: tuple[torch.Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*tensors)
    return float(counter.get_total_flops())


def _convert(module: nn.Module, arrays: tuple[np.ndarray, ...], precision: str, folder: Path) -> Path:
    from toolkit.quiet import coremltools, quiet

    ct = coremltools()
    names = [f"input_{i}" for i in range(len(arrays))]
    path = folder / f"{precision}.mlpackage"
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(module, tuple(torch.from_numpy(a) for a in arrays), check_trace=False)
        ct.convert(
            traced,
            inputs=[
                ct.TensorType(name=n, shape=a.shape, dtype=a.dtype.type) for n, a in zip(names, arrays, strict=True)
            ],
            compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        ).save(str(path))
    return path


def _overhead_us() -> float:
    """Microseconds that a trivial op costs in the loop, less what torch itself takes for it."""
    import coremltools as ct
    from coremltools.converters.mil import Builder

    import milrun

    count = 300

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 2))], opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        for _ in range(count):
            x = Builder.add(x=x, y=np.float32(1))
        return x

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/chain.mlpackage"
        ct.convert(program, pass_pipeline=ct.PassPipeline.EMPTY, skip_model_load=True).save(path)
        model = milrun.load(path)
        x = np.zeros((2, 2), dtype=np.float32)
        ours = seconds(lambda: model.predict({"x": x}), 50) / count
    one, value = torch.ones(()), torch.zeros(2, 2)

    def plain() -> None:
        with torch.inference_mode():
            for _ in range(count):
                torch.add(value, one)

    return 1e6 * (ours - seconds(plain, 50) / count)


def save_large(path: str) -> dict[str, Any]:
    """An fp16 package of 1.2 GB: 150 linear layers of 2000 x 2000."""
    module = nn.Sequential(*(nn.Linear(2000, 2000) for _ in range(150))).eval()
    x = np.zeros((1, 2000), dtype=np.float32)
    _convert(module, (x,), "fp16", Path(path))
    return {}


def load_large(path: str, cache_weights: bool) -> dict[str, Any]:
    """Seconds to load, and resident memory that loading and one call add to the process."""
    import milrun

    before, start = resident_gib(), time.perf_counter()
    model = milrun.load(f"{path}/fp16.mlpackage", cache_weights=cache_weights)
    load_s, loaded = time.perf_counter() - start, resident_gib()
    x = np.zeros((1, 2000), dtype=np.float32)
    name = next(iter(model.inputs))
    model.predict({name: x})
    called = resident_gib()
    call_s = seconds(lambda: model.predict({name: x}), 2)
    return {"load": load_s, "after_load": loaded - before, "after_call": called - before, "call": call_s}


def _loading() -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_process(MODULE, "save_large", folder)
        size = sum(f.stat().st_size for f in Path(folder).rglob("weight.bin")) / 2**30
        rows = []
        for cache in (True, False):
            t = in_process(MODULE, "load_large", folder, cache)
            rows.append([str(cache), size, t["load"], t["after_load"], t["after_call"], t["call"]])
    header = ["cache_weights", "weights, GiB", "load, s", "resident after load, GiB", "after a call, GiB", "a call, s"]
    table("A package of 1.2 GB", header, rows)
