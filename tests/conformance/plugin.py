"""pytest plug-in under which coremltools' suites predict through milrun. Used by `python -m tests.conformance`."""

import dataclasses
import gc
import itertools
import json
import os
import random
import sys
import tempfile
import types
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from milrun import standin
from milrun.registry import OPS, find_op
from tests.conformance.tolerances import tighten
from tests.conformance.verdict import Seen, verdict
from tests.milrun.compiled.mil_text import NestedBlocksError
from tests.milrun.compiled.round_trip import assert_same_when_compiled

# The suites read `_IS_MACOS` and the like while they are imported, so the stand-in comes first, for the whole process.
_STACK = ExitStack()
_STACK.enter_context(standin.predictions())
_SEEN = pytest.StashKey[Seen]()
_RESULTS = {}
_count = itertools.count()
_current = Seen()


def _stub_peft():
    """`peft` is imported by a whole module of the suite for one test: that test fails at its use of it."""
    try:
        import peft  # noqa: F401
    except ModuleNotFoundError:
        stub = types.ModuleType("peft")
        stub.LoraConfig = stub.get_peft_model = _missing_peft
        sys.modules["peft"] = stub


def _missing_peft(*_, **__):
    raise ModuleNotFoundError("peft is not installed", name="peft")


def _watch(proxy):
    load, predict = proxy.__init__, proxy.predict

    def watched_load(self, *args, **kwargs):
        load(self, *args, **kwargs)
        _current.loads += 1
        if os.environ.get("CONFORMANCE_COMPILED"):
            _read_back(Path(args[0]))

    def watched_predict(self, *args, **kwargs):
        function = self.model.function
        _current.predictions += 1
        for name in function.op_counts:
            known = find_op(name, function.opset)
            _current.ops.add(name if known.since == "iOS15" else f"{name}@{known.since}")
        return predict(self, *args, **kwargs)

    proxy.__init__, proxy.predict = watched_load, watched_predict


def _read_back(package):
    """The package as a compiled model is the same program; one with blocks in its ops has no known text form."""
    if package.suffix == ".mlpackage":
        with tempfile.TemporaryDirectory() as scratch, suppress(NestedBlocksError):
            assert_same_when_compiled(package, Path(scratch))


def _break(name):
    """Make an op wrong by a twentieth, to show that the tolerances notice."""
    known = OPS[name]
    OPS[name] = dataclasses.replace(known, call=lambda **given: known.call(**given) * 1.05)


_watch(standin.ModelProxy)
if os.environ.get("CONFORMANCE_BREAK"):
    _break(os.environ["CONFORMANCE_BREAK"])
_stub_peft()
tighten()


def pytest_unconfigure():
    _STACK.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keep a part, or a sample that is the same in every run: one case of every test function, then a second ..."""
    part, parts = map(int, os.environ.get("CONFORMANCE_PART", "1/1").split("/"))
    _keep(config, items, [i for i in items if zlib.crc32(i.nodeid.encode()) % parts == part - 1])
    size = int(os.environ.get("CONFORMANCE_SAMPLE", "0"))
    if not size:
        return
    cases = {}
    for item in sorted(items, key=lambda i: zlib.crc32(i.nodeid.encode())):
        cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    ranked = [(rank, i) for group in cases.values() for rank, i in enumerate(group)]
    ranked.sort(key=lambda pair: (pair[0], zlib.crc32(pair[1].nodeid.encode())))
    chosen = {i.nodeid for _, i in ranked[:size]}
    _keep(config, items, [i for i in items if i.nodeid in chosen])


def _keep(config, items, chosen):
    kept = {i.nodeid for i in chosen}
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in kept])
    items[:] = chosen


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    global _current
    _current = item.stash[_SEEN] = Seen()
    if next(_count) % 50 == 0:  # `ct.convert` ends with a collection: over all that lives, slow
        gc.collect()
        gc.freeze()
    seed = zlib.crc32(item.nodeid.encode())  # a test's data does not depend on which tests ran before it
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    seen = item.stash.get(_SEEN, Seen())
    said = verdict(report, call, seen)
    if said is not None:
        report.user_properties.append(("conformance", [*said, sorted(seen.ops)]))


def pytest_runtest_logreport(report):
    for name, value in report.user_properties:
        if name == "conformance":
            outcome, reason, ops = value
            previous = _RESULTS.get(report.nodeid)
            if previous is None or outcome == "failed":
                _RESULTS[report.nodeid] = {"test": report.nodeid, "outcome": outcome, "reason": reason, "ops": ops}


def pytest_collectreport(report):
    if report.failed:
        _RESULTS[report.nodeid] = {
            "test": report.nodeid,
            "outcome": "failed",
            "reason": f"not collected: {str(report.longrepr)[-300:]}",
            "ops": [],
        }


def pytest_sessionfinish(session):
    target = os.environ.get("CONFORMANCE_RESULTS")
    if target and not hasattr(session.config, "workerinput"):
        Path(target).write_text(json.dumps(list(_RESULTS.values())), encoding="utf-8")
