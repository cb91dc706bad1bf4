"""Write docs/ops.md, the table of milrun's ops: `uv run python -m tests.ops_table [--conformance RESULTS.json]`.

RESULTS.json is what `python -m tests.conformance --results` wrote; its counts are kept in
tests/conformance/measured.json, so that the table can be made again without running the suites.
"""

import argparse
import ast
import json
import re
from collections import Counter
from pathlib import Path

from milrun.registry import OPS, OPSET_ORDER, find_op
from tests.milrun.ops.inference_arithmetic import ARITHMETIC
from tests.milrun.ops.inference_tensors import TENSORS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ops.md"
MEASURED = ROOT / "tests" / "conformance" / "measured.json"

# literal: numbers worked out by hand or printed in a documentation. loops: the definition, element by element.
# moments: mean, deviation and shares of many draws. decompress_weights: coremltools.optimize's own decompression.
ORACLES = {"literal", "loops", "moments", "NumPy", "PyTorch", "decompress_weights"}

_HEAD = """# The ops of milrun

`uv run python -m tests.ops_table` writes this page, and a test checks that it is up to date. An op is verified if it
has an oracle or passed at least one of coremltools' tests.

- *oracle*: what our own tests compare the op with. The docstring of `tests/milrun/ops/test_<family>.py` names it.
  - *literal*: a number worked out by hand or printed in a documentation
  - *loops*: the definition, written out element by element
  - *moments*: statistics of many draws
  - *decompress_weights*: coremltools' own decompression
  - *value_inference*: coremltools' folding of constants; `tests/milrun/ops/test_value_inference.py` has an example in
    which both agree
- *coremltools*: the number of coremltools' own tests that ran a program with this implementation and passed, in the
  last measured run ([conformance.md](conformance.md))

"""


def family(operation):
    """`activation` of milrun.ops.activation."""
    return operation.call.__module__.split(".")[-1]


def opsets(key):
    """`iOS15 - iOS16` of the implementation that a newer one takes over from in iOS17."""
    name, _, since = key.partition("@")
    first = since or OPSET_ORDER[0]
    newer = [o for o in OPSET_ORDER if f"{name}@{o}" in OPS and OPSET_ORDER.index(o) > OPSET_ORDER.index(first)]
    return first + (f" - {OPSET_ORDER[OPSET_ORDER.index(newer[0]) - 1]}" if newer else " -")


def own_file(operation):
    """The family's test; both kinds of elementwise ops share one."""
    name = "elementwise" if family(operation).startswith("elementwise") else family(operation)
    return ROOT / "tests" / "milrun" / "ops" / f"test_{name}.py"


def declared(file):
    """What a family's test compares with: its docstring's `Oracle: ...` and `Oracle of op, op@iOS17: ...`."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    found = {}
    for names, oracles in re.findall(r"^Oracle(?: of ([\w, @]+))?: (.+)\.$", text, re.MULTILINE):
        unknown = set(oracles.split(", ")) - ORACLES
        if unknown:
            raise ValueError(f"{file.name}: unknown oracles {sorted(unknown)}")
        found |= dict.fromkeys(names.split(", ") if names else [""], oracles.split(", "))
    return found


def own_oracles(key, operation):
    """The oracles of the family's test, where that test builds the op, or calls it, by name."""
    file = own_file(operation)
    uses = rf'mb\.{operation.name}\(|"{operation.name}"|(?<![.\w]){operation.name}\('
    if not file.exists() or not re.search(uses, file.read_text(encoding="utf-8")):
        return []
    oracles = declared(file)
    return oracles.get(key) or oracles.get(operation.name) or oracles[""]


def inferred():
    """The implementations that agree with coremltools' value_inference in at least one example."""
    return {id(find_op(example.op, opset)) for example in [*ARITHMETIC, *TENSORS] for opset in example.opsets}


def measured():
    """Key of OPS -> number of coremltools' tests that passed."""
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}


def page():
    """The Markdown page."""
    passed, agreeing = measured(), inferred()
    rows = []
    for key, operation in sorted(OPS.items(), key=lambda pair: (family(pair[1]), pair[0])):
        oracles = own_oracles(key, operation) + (["value_inference"] if id(operation) in agreeing else [])
        count = passed.get(key, 0)
        verified = "yes" if oracles or count else "**no**"
        cells = (f"`{operation.name}`", opsets(key), family(operation), ", ".join(oracles), str(count), verified)
        rows.append(f"| {' | '.join(cells)} |")
    title = "| op | opsets | family | oracle | coremltools | verified |\n|---|---|---|---|---:|---|\n"
    return _HEAD + title + "\n".join(rows) + "\n"


def keep_measured(files):
    """Add up the tests that passed, by op, over several result files."""
    counts = Counter()
    for file in files:
        for suite in json.loads(file.read_text(encoding="utf-8")).values():
            counts.update(op for result in suite if result["outcome"] == "passed" for op in result["ops"])
    MEASURED.write_text(json.dumps(dict(sorted(counts.items())), indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--conformance", type=Path, nargs="*", metavar="RESULTS.json", help="new results to keep")
    options = parser.parse_args()
    if options.conformance:
        keep_measured(options.conformance)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
