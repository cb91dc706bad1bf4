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
import torch

from commands.conversion import ConvertRequest, convert, prepare
from models.parakeet_tdt import MODEL
from models.parakeet_tdt.parity.reference import Reference
from models.parakeet_tdt.pipeline import Pipeline
from tests.models.bundles import host_bundle
from tests.models.parakeet_tdt.tiny import DEMO, save_tiny_checkpoint
from tests.oracles.environment import environment
from tests.published_layouts.nemo import trained_pieces, without_dropout_of_the_joint, write_nemo
from toolkit.audio.read import read_audio
from toolkit.bundle.bundle import open_bundle
from toolkit.contract import export_of
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.export.layout import CACHE_VARIABLE
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.open import open_runtime
from toolkit.text.detokenise import Detokeniser

REQUIREMENT = "nemo_toolkit[asr]==2.7.3"
SIDE = Path(__file__).with_name("nemo_side.py")
CLIPS = DEMO.parents[1] / "clips"
SHORT = ("ps_cards_001", "praatio_mary")
WINDOWS = {"audio_seconds": "5,15"}
NAMES = ("mel", "encoder", "prediction", "token logits", "duration logits")
DECISIONS = ("tokens", "frames", "durations", "text")
# Relative error in the L2 norm. float32: two summation orders; float16: packages, whose gate against the wrappers is 2e-2.
LIMITS = {"float32": dict.fromkeys(NAMES, 2e-5), "float16": {"mel": 2e-5} | dict.fromkeys(NAMES[1:], 2e-2)}
PLAIN = {"attention_bias": False, "convolution_bias": False, "scale_input": False}
WIDE_MELS = {"num_mel_bins": 128, "num_hidden_layers": 3, "num_attention_heads": 8}
KERNEL_5 = {"hidden_size": 48, "num_attention_heads": 3, "conv_kernel_size": 5, "intermediate_size": 192}
PUBLISHED = {"hidden_size": 1024, "num_attention_heads": 8, "intermediate_size": 4096, "subsampling_conv_channels": 256}
# Seven with the switches of published checkpoints (no biases, no input scaling) in several sizes; two others.
RANDOM: dict[str, dict[str, Any]] = {
    "2 layers": {"encoder_config": PLAIN},
    "128 mels, 3 layers, 8 heads": {"encoder_config": PLAIN | WIDE_MELS},
    "one LSTM layer": {"encoder_config": PLAIN, "num_decoder_layers": 1},
    "kernel 5, width 48": {"encoder_config": PLAIN | KERNEL_5, "decoder_hidden_size": 24},
    "factor 4, 7 durations": {"encoder_config": PLAIN | {"subsampling_factor": 4}, "durations": tuple(range(7))},
    "weights in bfloat16": {"encoder_config": PLAIN | {"num_mel_bins": 128}},
    "published widths, 2 of 24 layers": {
        "encoder_config": PLAIN | PUBLISHED | {"num_mel_bins": 128},
        "decoder_hidden_size": 640,
    },
    "biases, scaling, joint without dropout": {},
    "255 pieces with punctuation": {"encoder_config": PLAIN, "vocab_size": 256, "blank_token_id": 255},
}


@dataclass
class Case:
    """One archive, and what NeMo is to do with it."""

    name: str
    archive: str
    clips: tuple[str, ...]
    speaks: bool = False  # random weights make no words
    durations: int = 5
    strategies: tuple[tuple[str, int], ...] = (("greedy_batch", 10),)
    ids: list[list[int]] = field(default_factory=list)

    def job(self):
        return {
            "name": self.archive.removesuffix(".nemo"),
            "archive": self.archive,
            "clips": self.clips,
            "durations": list(range(self.durations)),
            "strategies": self.strategies,
            "ids": self.ids,
        }


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
        clips, cases = _clips(folder), _cases(folder)
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


def _clips(folder):
    """Name -> samples of the 13 human clips, written for the other side."""
    clips = {f.stem: read_audio(f, 16000) for f in sorted([*CLIPS.glob("*.wav"), *(CLIPS / "other").glob("*.wav")])}
    for name, audio in clips.items():
        np.save(folder / f"{name}.npy", audio)
    return clips


def _cases(folder):
    names = tuple(sorted(f.stem for f in [*CLIPS.glob("*.wav"), *(CLIPS / "other").glob("*.wav")]))
    write_nemo(DEMO, folder / "demo.nemo")
    write_nemo(DEMO, folder / "stuck.nemo", change=_never_advancing)
    write_nemo(DEMO, folder / "start.nemo", change=_zeros_for_the_blank)
    bounds = tuple((strategy, bound) for bound in (10, 1) for strategy in ("greedy_batch", "greedy"))
    cases = [
        Case("demo", "demo.nemo", names, speaks=True, strategies=bounds),
        Case("demo, zeros as embedding of the blank", "start.nemo", names, speaks=True, strategies=bounds),
        Case("demo, made never to advance", "stuck.nemo", names[:2]),
    ]
    for seed, (name, sizes) in enumerate(RANDOM.items()):
        save_tiny_checkpoint(folder / f"random{seed}", seed=seed, **sizes)
        archive, options, ids = f"random{seed}.nemo", {}, []
        if "bfloat16" in name:
            options["dtype"] = torch.bfloat16
        if "without dropout" in name:
            options["change"] = without_dropout_of_the_joint
        if "pieces" in name:
            options["pieces"] = _pieces(sizes["vocab_size"] - 1)
            ids = _adversarial(sizes["vocab_size"] - 1)
        write_nemo(folder / f"random{seed}", folder / archive, **options)
        cases.append(Case(f"random: {name}", archive, SHORT, durations=len(sizes.get("durations", range(5))), ids=ids))
    return cases


def _never_advancing(config, tensors):
    """Never a blank, always duration 0."""
    bias = tensors["joint.joint_net.2.bias"]
    bias[64] -= 1000
    bias[65] += 1000


def _zeros_for_the_blank(config, tensors):
    """As NeMo trains it (`padding_idx`), unlike the demo, which transformers' class trained."""
    tensors["decoder.prediction.embed.weight"][64] = 0


def _pieces(size):
    """A vocabulary with much punctuation, trained on the project's pages."""
    root = CLIPS.parents[1]
    lines = [line for page in sorted(root.glob("docs/*.md")) for line in page.read_text(encoding="utf-8").splitlines()]
    marks = ".,!?;:'\"-()%€"
    lines += [f"word {mark} other{mark} {mark}third" for mark in marks] * 50
    return trained_pieces(
        [line for line in lines if line.strip()], size, character_coverage=0.995, hard_vocab_limit=True
    )


def _adversarial(size):
    rng = np.random.default_rng(0)
    return [rng.integers(1, size, rng.integers(1, 12)).tolist() for _ in range(600)]


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
        f"First word's start: NeMo counts a bare ▁ in front of it. It starts {sorted(set(earlier))} frames earlier there in "
        f"{len(earlier)} of {len(case.clips)} clips; in {bare} of these the first token is a bare ▁."
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
        said.append(
            f"Symbols per frame, {case.name}: NeMo's `{strategy}` with `max_symbols` {bound} has the tokens and frames of "
            f"`--max-symbols {bound}` in {same} of {len(case.clips)} clips."
        )
    return said


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
        f"Blank before punctuation: NeMo drops it where the mark is in the vocabulary, ours keeps it. Of {len(ours)} random "
        f"sequences of pieces, {differ} give another text; {left} with NeMo's rule applied to ours; {plain} where NeMo's "
        "own rule is left out. The column `text` has the rule applied.",
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
        "Both sides start from the same `.nemo`: NeMo restores it strictly, and ours converts it. The encoder's frames and",
        "the outputs of the prediction network are compared behind their projections into the joint. The logits are compared",
        "at each token, and once at every frame of NeMo's path. Errors are relative in the L2 norm, the worst of all clips.",
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
