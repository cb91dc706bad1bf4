"""The tables of a model card, as Markdown."""

import re
from collections.abc import Iterable, Sequence

from toolkit.bundle.manifest import ComponentEntry, FunctionEntry, Manifest, ParityEntry, TensorEntry
from toolkit.publish.results import Results

PRECISIONS = {"fp16": "float16", "fp32": "float32"}
COMPRESSIONS = {"none": "none", "int8": "8-bit integers per channel", "palette4": "4-bit palettes"}
# A limit of a gate, as the manifest has it -> as a reader knows it; the first pattern that fits counts.
_LIMITS = (
    (r"psnr_db >= (\S+)", r"PSNR ≥ \1 dB"),
    (r"flip_share <= 0", "no integer differs"),
    (r"flip_share <= (\S+)", r"share of differing integers ≤ \1"),
    (r"rel_l2 <= (\S+)", r"relative error ≤ \1"),
    (r"max_abs <= (\S+)", r"max. error ≤ \1"),
    (r"(\w+) >= (\S+)", r"\1 ≥ \2"),
    (r"(\w+) <= (\S+)", r"\1 ≤ \2"),
)
_UNITS = {
    "ALL": "all",
    "CPU_ONLY": "CPU",
    "CPU_AND_GPU": "CPU and GPU",
    "CPU_AND_NE": "CPU and Neural Engine",
}


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a `|` in a cell does not end it."""
    lines = [list(headers), ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def component_table(manifest: Manifest) -> str:
    """One row per component: files, size, precision, compression, compute units."""
    headers = ("Component", "Package", "Size", "Compute precision", "Weight compression", "Compute units")
    return table(headers, map(_component_row, manifest.components))


def tensor_table(function: FunctionEntry) -> str:
    """Inputs, outputs and states of one function."""
    sides = (("input", function.inputs), ("output", function.outputs), ("state", function.states))
    return table(
        ("", "Name", "Type", "Shape", "Meaning"),
        (_tensor_row(side, tensor) for side, tensors in sides for tensor in tensors),
    )


def parity_table(manifest: Manifest) -> str:
    """Package against PyTorch: one row per output, with its gate and verdict."""
    headers = ("Component", "Output", "Calls", "Max. error", "Relative error (L2)", "PSNR", "Gate", "Verdict")
    rows = (_parity_row(c, p) for c in manifest.components for p in c.parity)
    return table(headers, rows)


def figure_table(results: Results) -> str:
    """Task figures of a comparison."""
    return table(
        ("Comparison", "Figure", "Value", "Verdict"), ((f.row, f.name, f.value, f.verdict) for f in results.figures)
    )


def megabytes(size: int) -> str:
    """A size in MB; in kB where that would show as less than 0.1 MB."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def compute_units(component: ComponentEntry) -> str:
    """The Core ML name of the compute units that a component is meant for."""
    return str(getattr(component, "compute_units", "ALL"))


def failed_outputs(manifest: Manifest) -> list[str]:
    """`component (function): output` of every output that is out of its gate."""
    return [
        f"{_function_label(c, p.function)}: {p.output}" for c in manifest.components for p in c.parity if not p.passed
    ]


def _component_row(component: ComponentEntry) -> tuple[str, ...]:
    units = compute_units(component)
    return (
        component.name,
        ", ".join(f"`{p.file}`" for p in component.packages),
        megabytes(sum(p.size_bytes for p in component.packages)),
        PRECISIONS[component.precision],
        COMPRESSIONS[component.compression],
        _UNITS.get(units, units),
    )


def _tensor_row(side: str, tensor: TensorEntry) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    return side, f"`{tensor.name}`", tensor.dtype, shape, tensor.meaning


def _parity_row(component: ComponentEntry, row: ParityEntry) -> tuple[str, ...]:
    return (
        _function_label(component, row.function),
        f"`{row.output}`",
        str(row.calls),
        "not compared" if row.max_abs is None else _error(row.max_abs),
        "not compared" if row.rel_l2 is None else _error(row.rel_l2),
        _psnr(row),
        _gate(row.gate),
        "passed" if row.passed else "**FAILED**",
    )


def _function_label(component: ComponentEntry, function: str) -> str:
    return component.name if len(component.functions) == 1 else f"{component.name} ({function})"


def _gate(gate: str) -> str:
    """The limits of a gate, without the reason behind its colon."""
    return ", ".join(map(_limit, gate.partition(":")[0].split(", ")))


def _limit(limit: str) -> str:
    fitting = ((pattern, shown) for pattern, shown in _LIMITS if re.fullmatch(pattern, limit))
    return next((re.sub(pattern, shown, limit) for pattern, shown in fitting), limit)


def _error(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _psnr(row: ParityEntry) -> str:
    if row.psnr_db is not None:
        return f"{row.psnr_db:.1f} dB"
    return "exact" if row.max_abs == 0 else "none"
