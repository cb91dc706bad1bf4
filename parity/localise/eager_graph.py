"""The eager wrapper op by op: what it computed, in which module, on which line of Python.

A trace of the wrapper, the same that the conversion starts from, is run node by node on real inputs. Its values carry
the names that coremltools gives to the ops it makes of them, the path of the module, and Python's call stack, so that
also a softmax inside a longer `forward` has its line.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.errors import RuntimeFault
from toolkit.export.package import trace
from toolkit.spec import ComponentSpec

# Called with a node and what it computed; what it returns takes the value's place, None leaves it.
Visit = Callable[["EagerOp", torch.Tensor], torch.Tensor | None]

_FRAME = re.compile(r"^(?P<file>.+?)\((?P<line>\d+)\): (?P<function>.+)$")
_TORCH = str(Path(torch.__file__).parent)
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = "site-packages/"


@dataclass(frozen=True)
class EagerOp:
    """One op of the traced wrapper that yields a tensor.

    Attributes:
        name: of the value, unique in the wrapper.
        kind: the torch op, e.g. `aten::softmax`.
        module: path of the module it belongs to, e.g. `encoder.layers.0.attention`; empty for the wrapper itself.
        source: `file:line` of the innermost Python frame outside torch.
        shape: of the value.
        parents: names of the values it reads, through lists and tuples.
        index: place in the order of execution.
    """

    name: str
    kind: str
    module: str
    source: str
    shape: tuple[int, ...]
    parents: tuple[str, ...]
    index: int


class EagerGraph:
    """The traced wrapper of one function of a component.

    Args:
        spec: the component.
        function: its entry point.

    Attributes:
        ops: name -> op, in order of execution.
        outputs: our name of each output -> name of the value.
    """

    def __init__(self, spec: ComponentSpec, function: str) -> None:
        self._spec = spec.function(function)
        self._module = spec.build(function).eval()
        self._graph = _as_coremltools_sees_it(trace(self._module, self._spec))
        self._nodes = list(self._graph.nodes())
        self._inputs = [value.debugName() for value in self._graph.inputs()]
        self._results = [value.debugName() for value in self._graph.outputs()]
        lists = {n.output().debugName(): n for n in self._nodes if n.kind() in _LISTS}
        same = _unpacked(self._nodes, lists)
        self.ops = {op.name: op for op in _ops(self._nodes, lists, same)}
        returned = self._results
        if len(returned) == 1 and returned[0] in lists:
            returned = [same.get(value.debugName(), value.debugName()) for value in lists[returned[0]].inputs()]
        self.outputs = dict(zip((t.name for t in self._spec.outputs), returned, strict=True))
        self._last_use = self._last_uses()

    def run(
        self, inputs: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray], visit: Visit | None = None
    ) -> dict[str, np.ndarray]:
        """Run the wrapper once.

        Args:
            inputs: name -> array, as declared.
            states: name -> array, as they stand before the call.
            visit: shown every tensor that an op makes. It must copy what it keeps: a later op may write into it.

        Returns:
            The outputs in float32, and `state NAME` for each state after the call.
        """
        for name, value in states.items():
            self._module.get_buffer(name).copy_(torch.from_numpy(np.asarray(value, dtype=np.float32)))
        env: dict[str, Any] = {self._inputs[0]: self._module}
        for name, tensor in zip(self._inputs[1:], self._spec.inputs, strict=True):
            env[name] = torch.from_numpy(np.array(inputs[tensor.name]))
        with torch.inference_mode():
            for index, node in enumerate(self._nodes):
                self._step(node, env, visit)
                for name in self._last_use.get(index, ()):
                    env.pop(name, None)
        values = {ours: env[name].numpy().copy() for ours, name in self.outputs.items()}
        return values | {f"state {name}": self._module.get_buffer(name).numpy().copy() for name in states}

    def _step(self, node: Any, env: dict[str, Any], visit: Visit | None) -> None:
        arguments = [env[value.debugName()] for value in node.inputs()]
        results = _run_node(node, arguments)
        for output, value in zip(node.outputs(), results, strict=True):
            name = output.debugName()
            changed = visit(self.ops[name], value) if visit and name in self.ops else None
            env[name] = value if changed is None else changed

    def _last_uses(self) -> dict[int, list[str]]:
        last: dict[str, int] = {}
        for index, node in enumerate(self._nodes):
            for value in (*node.inputs(), *node.outputs()):
                last[value.debugName()] = index
        kept = set(self._results) | set(self.outputs.values())
        uses: dict[int, list[str]] = {}
        for name, index in last.items():
            if name not in kept:
                uses.setdefault(index, []).append(name)
        return uses


_SPLITS = ("prim::ListUnpack", "prim::ConstantChunk")
_LISTS = ("prim::ListConstruct", "prim::TupleConstruct")


def _as_coremltools_sees_it(traced: Any) -> Any:
    """The graph after the passes of coremltools' torch frontend, whose numbers end up in the names of its ops.

    Source: coremltools 9.0, `converters/mil/frontend/torch/torchscript_utils.py`, `_expand_and_optimize_ir`.
    """
    passes: Any = torch._C
    graph = traced.inlined_graph
    passes._jit_pass_dce(graph)
    passes._jit_pass_canonicalize_graph_fuser_ops(graph)
    return passes._jit_pass_canonicalize(graph)


def _unpacked(nodes: list[Any], lists: Mapping[str, Any]) -> dict[str, str]:
    """Value that comes out of a tuple or list -> the value that went in."""
    same: dict[str, str] = {}
    for node in nodes:
        if node.kind() not in ("prim::TupleUnpack", "prim::ListUnpack"):
            continue
        if packed := lists.get(next(iter(node.inputs())).debugName()):
            for output, value in zip(node.outputs(), packed.inputs(), strict=True):
                same[output.debugName()] = same.get(value.debugName(), value.debugName())
    return same


def _ops(nodes: list[Any], lists: Mapping[str, Any], same: Mapping[str, str]) -> Iterator[EagerOp]:
    index = 0
    for node in nodes:
        if not node.kind().startswith("aten::") and node.kind() not in _SPLITS:
            continue
        for output in node.outputs():
            if output.debugName() in same or not output.type().isSubtypeOf(torch._C.TensorType.get()):
                continue
            made_by = next(iter(node.inputs())).node() if node.kind() == "prim::ListUnpack" else node
            parents = tuple(same.get(name, name) for name in _tensors_read(made_by, lists))
            shape = tuple(output.type().sizes() or ())
            yield EagerOp(output.debugName(), made_by.kind(), _module(made_by), _source(made_by), shape, parents, index)
            index += 1


def _tensors_read(node: Any, lists: Mapping[str, Any]) -> Iterator[str]:
    for value in node.inputs():
        name = value.debugName()
        if name in lists:
            yield from _tensors_read(lists[name], lists)
        elif value.type().isSubtypeOf(torch._C.TensorType.get()):
            yield name


def _module(node: Any) -> str:
    """`__module.a/__module.a.b` -> `a.b`."""
    return node.scopeName().rpartition("/")[2].removeprefix("__module.").replace("__module", "")  # type: ignore[no-any-return]


def _source(node: Any) -> str:
    for line in str(node.sourceRange()).splitlines():
        frame = _FRAME.match(line)
        if frame and not frame["file"].startswith(_TORCH):
            return f"{_shown(frame['file'])}:{frame['line']}"
    return ""


def _shown(file: str) -> str:
    """A path from the project's folder, or from that of the installed packages."""
    if _PACKAGES in file:
        return file.rpartition(_PACKAGES)[2]
    path = Path(file)
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else file


def _run_node(node: Any, arguments: list[Any]) -> list[Any]:
    kind, outputs = node.kind(), node.outputsSize()
    if kind == "prim::Constant":
        return [next(iter(node.outputs())).toIValue()]
    if kind == "prim::GetAttr":
        return [getattr(arguments[0], node.s("name"))]
    if kind in _LISTS:
        return [tuple(arguments) if kind == "prim::TupleConstruct" else list(arguments)]
    if kind == "prim::ConstantChunk":
        return list(arguments[0].chunk(node.i("chunks"), node.i("dim")))
    if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
        return list(arguments[0])
    if kind == "prim::NumToTensor":
        return [torch.tensor(arguments[0])]
    if kind in ("aten::Int", "aten::IntImplicit"):
        return [int(arguments[0])]
    if kind in ("aten::ScalarImplicit", "aten::Float", "aten::FloatImplicit"):
        return [arguments[0].item()]
    if not kind.startswith("aten::"):
        raise RuntimeFault(f"{kind} in a traced wrapper", "Add it to parity/localise/eager_graph.py.")
    schema = torch._C.parse_schema(node.schema())
    overload = getattr(getattr(torch.ops.aten, kind.removeprefix("aten::")), schema.overload_name or "default")
    named = list(zip(schema.arguments, arguments, strict=True))
    given = [value for argument, value in named if not argument.kwarg_only]
    result = overload(*given, **{a.name: value for a, value in named if a.kwarg_only})
    return [result] if outputs == 1 else list(result)
