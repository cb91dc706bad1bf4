"""Parakeet TDT against NeMo 2.7.3: the demo's weights and random ones, carried there in a `.nemo`, and back by ours.

Both sides start from the same archive. NeMo loads it strictly; ours converts it as any `.nemo`.
"""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commands.conversion import ConvertRequest, convert, prepare
from models.parakeet_tdt import MODEL
from models.parakeet_tdt.parity.reference import Reference
from models.parakeet_tdt.pipeline import Pipeline
from tests.models.bundles import host_bundle
from tests.oracles.environment import environment
from tests.oracles.nemo_cases import Case, write_cases, write_clips
from toolkit.bundle.bundle import open_bundle
from toolkit.cache import CACHE_VARIABLE
from toolkit.contract import export_of
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.open import open_runtime
from toolkit.text.detokenise import Detokeniser

REQUIREMENT = "nemo_toolkit[asr]==2.7.3"
SIDE = Path(__file__).with_name("nemo_side.py")
WINDOWS = {"audio_seconds": "5,15"}
NAMES = ("mel", "encoder", "prediction", "token logits", "duration logits")
DECISIONS = ("tokens", "frames", "durations", "text")
# Relative error in the L2 norm. float32: two orders of summation; float16: the packages' gate against the wrappers.
LIMITS = {"float32": dict.fromkeys(NAMES, 2e-5), "float16": {"mel": 2e-5} | dict.fromkeys(NAMES[1:], 2e-2)}


@dataclass
class Side:
    """One utterance as one side computes it; the names of `NAMES` and `DECISIONS`."""

    arrays: dict[str, np.ndarray]
    decisions: dict[str, Any]
    words: list[tuple[str, int, int]] = field(default_factory=list)


def relative(ours, theirs):
    """Relative error in the L2 norm; infinite where the shapes differ."""
    if ours.shape != theirs.shape or not theirs.size:
        return float("inf")
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs.astype(np.float64)))


def without_blank_before(text, marks):
    """NeMo's rule: a blank in front of a punctuation mark of the vocabulary is dropped."""
    return re.sub(rf"\s({'|'.join(map(re.escape, marks))})", r"\1", text) if marks else text


def compared(theirs, ours):
    """Errors by name, decisions that are the same, and words whose starts are, the first word apart from the others."""
    found = {name: relative(ours.arrays[name], theirs.arrays[name]) for name in NAMES}
    found |= {name: ours.decisions[name] == theirs.decisions[name] for name in DECISIONS}
    starts = [
        [word[1] for word in side.words] if [w[0] for w in ours.words] == [w[0] for w in theirs.words] else None
        for side in (ours, theirs)
    ]
    found["first start"] = starts[0] is not None and starts[0][:1] == starts[1][:1]
    found["other starts"] = starts[0] is not None and starts[0][1:] == starts[1][1:]
    return found


def problems(found, precision):
    """What is beyond its limit, or another decision, by name."""
    return [n for n in NAMES if not found[n] <= LIMITS[precision][n]] + [n for n in DECISIONS if not found[n]]


def run():
    """Make the environment, run both sides, and write the page."""
    python = environment("nemo", REQUIREMENT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ[CACHE_VARIABLE] = str(folder / "cache")
        clips, cases = write_clips(folder), write_cases(folder)
        (folder / "jobs.json").write_text(json.dumps([case.job() for case in cases]))
        environ = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        # -P: this folder, whose nemo.py would stand for the package, stays out of the path.
        subprocess.run([python, "-P", SIDE, folder], check=True, env=environ)
        rows, notes = [], []
        for case in cases:
            theirs = json.loads((folder / f"{case.job()['name']}.json").read_text())
            rows += _rows(folder, case, theirs, clips)
            notes += _notes(folder, case, theirs, clips)
        return _page(rows, notes, side_by_side(folder))


def _rows(folder, case, theirs, clips):
    """One row for each way in which ours runs a case: eager wrappers, and packages of the demo in both precisions."""
    checkpoint = resolve_checkpoint(MODEL, str(folder / case.archive))
    plan = export_of(MODEL).plan(checkpoint.folder, WINDOWS)
    bundle = host_bundle(folder / f"{case.archive}.host", MODEL, plan)
    ways = [("wrappers, float32", "float32", bundle, EagerRuntime(plan))]
    if case.archive == "demo.nemo":
        for precision, name in (("fp32", "float32"), ("fp16", "float16")):
            made = _converted(folder / case.archive, folder / precision, precision)
            ways.append((f"packages on milrun, {name}", name, made, open_runtime("portable", made, MODEL)))
    rows = [_row(folder, case, theirs, clips, way) for way in ways]
    if case.archive == "demo.nemo":
        rows.append(_reference_row(folder, case, theirs, clips, Reference(checkpoint.folder)))
    return rows


def _converted(archive, output, precision):
    request = ConvertRequest(MODEL, str(archive), output=output, precision=precision, options=WINDOWS)
    return convert(prepare(request)).bundle


def _row(folder, case, theirs, clips, way):
    name, precision, bundle, runtime = way
    pipeline = Pipeline(bundle, runtime, max_symbols=10)
    found = {}
    for clip in case.clips:
        nemo, steps = _nemo(folder, case, theirs, clip)
        ours = _ours(pipeline, runtime, clips[clip], nemo.decisions["tokens"], steps)
        ours.decisions["text"] = without_blank_before(ours.decisions["text"], theirs["marks"])
        found[clip] = compared(nemo, ours)
    return case, name, precision, found


def _reference_row(folder, case, theirs, clips, reference):
    """Transformers' class itself, on the folder that ours makes of the archive."""
    found = {}
    for clip in case.clips:
        nemo, steps = _nemo(folder, case, theirs, clip)
        run = reference.run(clips[clip])
        spoken = run.tokens != reference.config.blank_token_id
        predictions = reference.predict(np.array([reference.config.blank_token_id, *nemo.decisions["tokens"]]))
        tokens, durations = reference.joint(run.frames[steps[:, 0]], predictions[steps[:, 1]])
        decisions = {
            "tokens": run.tokens[spoken].tolist(),
            "frames": run.positions[spoken].tolist(),
            "durations": run.durations[spoken].tolist(),
            "text": run.text,
        }
        words = [(w.text, *(round(t / 0.08) for t in (w.start_s, w.end_s))) for w in run.words]
        arrays = dict(zip(NAMES, (run.mel[: run.length], run.frames, predictions, tokens, durations), strict=True))
        found[clip] = compared(nemo, Side(arrays, decisions, words))
    return case, "transformers 5.23", "float32", found


def _nemo(folder, case, theirs, clip):
    with np.load(folder / f"{case.job()['name']}.{clip}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    result = theirs[clip]["greedy_batch-10"]
    keys = ("mel", "frames", "predictions", "token_logits", "duration_logits")
    side = Side(
        {name: arrays[key] for name, key in zip(NAMES, keys, strict=True)},
        {name: result[name] for name in DECISIONS},
        [tuple(word) for word in result["words"]],
    )
    return side, arrays["steps"]


def _ours(pipeline, runtime, audio, tokens, steps):
    """The pipeline's own decisions, and its components along NeMo's path."""
    features = pipeline.features(audio)
    frames = pipeline.encode(**features)
    predictions = _predictions(runtime, pipeline.host, tokens)
    joint = runtime.load("joint")
    logits = [
        joint.predict({"encoder_frame": frames[f][None, None], "prediction": predictions[p][None, None]})
        for f, p in steps
    ]
    spoken = [e for e in pipeline.decode(frames) if e.token_id != pipeline.host.blank_id]
    transcript = pipeline.transcript(spoken, len(audio) / 16000)
    decisions = {
        "tokens": [e.token_id for e in spoken],
        "frames": [e.frame for e in spoken],
        "durations": [e.duration for e in spoken],
        "text": transcript.text,
    }
    frame_s = pipeline.host.frame_s
    words = [(w.text, round(w.start_s / frame_s), round(w.end_s / frame_s)) for w in transcript.words]
    rows = [np.stack([x[name].ravel() for x in logits]) for name in ("token_logits", "duration_logits")]
    arrays = (features["mel"][: features["length"]], frames, predictions, *rows)
    return Side(dict(zip(NAMES, arrays, strict=True)), decisions, words)


def _predictions(runtime, host, tokens):
    """Outputs of the prediction network [U + 1, D] for the blank and then each token."""
    network = runtime.load("prediction")
    hidden = cell = np.zeros((host.num_layers, 1, host.hidden_size), np.float32)
    outputs = []
    for token in (host.start_id, *tokens):
        found = network.predict({"token": np.full((1, 1), token, np.int32), "hidden_in": hidden, "cell_in": cell})
        hidden, cell = found["hidden_out"], found["cell_out"]
        outputs.append(found["prediction"].reshape(-1))
    return np.stack(outputs)


def _notes(folder, case, theirs, clips):
    if case.archive == "demo.nemo":
        return [*_first_words(folder, case, theirs, clips), *_bounds(folder, case, theirs, clips)]
    if case.archive == "start.nemo":
        return _bounds(folder, case, theirs, clips)
    return _punctuation(folder, case, theirs) if case.ids else []


def _first_words(folder, case, theirs, clips):
    """Where the first word's start differs, and whether a bare boundary stands there."""
    pipeline, runtime = _host(folder, case, 10)
    earlier, bare = [], 0
    for clip in case.clips:
        nemo, steps = _nemo(folder, case, theirs, clip)
        ours = _ours(pipeline, runtime, clips[clip], nemo.decisions["tokens"], steps)
        if ours.words and ours.words[0][1] != nemo.words[0][1]:
            earlier.append(ours.words[0][1] - nemo.words[0][1])
            bare += pipeline.transcript(pipeline.decode(_frames(pipeline, clips[clip])), 1.0).tokens[0].text == ""
    return [
        f"First word's start: NeMo counts a bare ▁ in front of it. In {len(earlier)} of {len(case.clips)} clips its "
        f"first word starts earlier, by {', '.join(map(str, sorted(set(earlier))))} frames of 80 ms; in {bare} of them "
        "the first token is a bare ▁."
    ]


def _bounds(folder, case, theirs, clips):
    """Both of NeMo's greedy searches with bounds on symbols, against the host's loop."""
    said = []
    for strategy, bound in case.strategies:
        pipeline, _ = _host(folder, case, bound)
        same = 0
        for clip in case.clips:
            emissions = pipeline.decode(_frames(pipeline, clips[clip]))
            spoken = [(e.token_id, e.frame) for e in emissions if e.token_id != pipeline.host.blank_id]
            result = theirs[clip][f"{strategy}-{bound}"]
            same += spoken == list(zip(result["tokens"], result["frames"], strict=True))
        said.append(f"`{strategy}` with `max_symbols` {bound}: {same}")
    return [
        f"Symbols per frame, {case.name}. Clips of {len(case.clips)} with the tokens and frames of `--max-symbols`: "
        f"{'; '.join(said)}. NeMo's default is `greedy_batch` with 10. Its plain `greedy` begins with zeros where the "
        "others take the blank's embedding, and advances by a frame more than the duration at the last symbol allowed."
    ]


def _host(folder, case, bound):
    """The pipeline on the eager wrappers."""
    plan = export_of(MODEL).plan(resolve_checkpoint(MODEL, str(folder / case.archive)).folder, WINDOWS)
    runtime = EagerRuntime(plan)
    return Pipeline(host_bundle(folder / f"{case.archive}.host", MODEL, plan), runtime, max_symbols=bound), runtime


def _frames(pipeline, audio):
    return pipeline.encode(**pipeline.features(audio))


def _punctuation(folder, case, theirs):
    """Random pieces as text: ours, NeMo's, and NeMo's without its rule of the blank before a mark."""
    checkpoint = resolve_checkpoint(MODEL, str(folder / case.archive))
    ours = [Detokeniser(checkpoint.folder / "tokenizer.json").text(ids) for ids in case.ids]
    ruled = [without_blank_before(text, theirs["marks"]) for text in ours]
    pairs = ((ours, theirs["texts"]), (ruled, theirs["texts"]), (ours, theirs["plain"]))
    differ, left, plain = (sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairs)
    return [
        f"Blank before punctuation: NeMo drops it where the mark is in the vocabulary, ours keeps it. Of {len(ours)} "
        f"random sequences of pieces, {differ} give another text; {left} do with NeMo's rule applied to ours, and "
        f"{plain} where NeMo's own is left out. The column `text` has the rule applied.",
        f"Punctuation marks: NeMo takes all of the vocabulary (here `{' '.join(theirs['marks'])}`), and gives them no "
        "duration; transformers has a fixed list.",
    ]


def side_by_side(folder, clip="ps_cards_001"):
    """Duration logits at each token of one clip of the demo: NeMo's, and those of the packages in float16."""
    case = Case("demo", "demo.nemo", (clip,))
    theirs = json.loads((folder / "demo.json").read_text())
    nemo, steps = _nemo(folder, case, theirs, clip)
    bundle = open_bundle(folder / "fp16")
    runtime = open_runtime("portable", bundle, MODEL)
    audio = np.load(folder / f"{clip}.npy")
    ours = _ours(Pipeline(bundle, runtime, max_symbols=10), runtime, audio, nemo.decisions["tokens"], steps)
    lines = [
        f"## Duration logits of `{clip}`, float16 packages",
        "",
        "| frame | token | NeMo | ours |",
        "|---|---|---|---|",
    ]
    for k, token in enumerate(nemo.decisions["tokens"]):
        both = (", ".join(f"{x:.2f}" for x in side.arrays["duration logits"][k]) for side in (nemo, ours))
        lines.append(f"| {steps[k, 0]} | {token} | {' | '.join(both)} |")
    return lines


def _page(rows, notes, logits):
    errors, words = " | ".join(NAMES), "starts of first words | of other words"
    lines = [
        "# Parakeet TDT against NeMo",
        "",
        f"Generated by `uv run python -m tests.oracles nemo`, with {REQUIREMENT}.",
        "",
        "Both sides start from the same `.nemo`: NeMo restores it strictly, and ours converts it. The encoder's frames",
        "and the outputs of the prediction network are compared behind their projections into the joint, the logits at",
        "each token and once at every frame of NeMo's path. Errors are relative in the L2 norm, the worst of all.",
        "Decisions are NeMo's `greedy_batch` with its default of 10 symbols per frame against `--max-symbols 10`;",
        "transformers has no bound. Random weights make no words, so no starts are counted there.",
        "",
        f"| weights | ours | {errors} | {' | '.join(DECISIONS)} | {words} | verdict |",
        "|---" * (len(NAMES) + len(DECISIONS) + 5) + "|",
    ]
    lines += [_line(*row) for row in rows]
    return "\n".join([*lines, "", *logits, "", "## Differences by name", "", *(f"- {note}" for note in notes), ""])


def _line(case, way, precision, found):
    errors = [f"{max(f[name] for f in found.values()):.1e}" for name in NAMES]
    counts = [
        f"{sum(f[name] for f in found.values())}/{len(found)}" for name in (*DECISIONS, "first start", "other starts")
    ]
    counts = counts if case.speaks else [*counts[:-2], "", ""]
    failed = sorted({problem for f in found.values() for problem in problems(f, precision)})
    verdict = f"**differs**: {', '.join(failed)}" if failed else "agrees"
    return f"| {case.name} | {way} | {' | '.join(errors + counts)} | {verdict} |"
