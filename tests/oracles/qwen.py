"""The aligner compared with `qwen-asr`, Qwen's own code: word splits, repaired times, items and logits.

Qwen's code attends across the whole file outside FlashAttention, so that the comparison does, too (`--audio-attention
full`); our default follows transformers and the published way to serve it, windows of 8 s.
"""

import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.conversion import ConvertRequest, convert, prepare
from models.qwen3_forced_aligner import MODEL
from models.qwen3_forced_aligner.parity.reference import Reference
from models.qwen3_forced_aligner.pipeline import Pipeline
from tests.models.qwen3_forced_aligner.tiny import save_tiny_checkpoint
from tests.oracles.environment import environment
from tests.published_layouts.qwen import write_qwen
from toolkit.corpora.example import Example
from toolkit.corpora.open import open_corpus
from toolkit.runtimes.open import open_runtime
from toolkit.text.forced_words import monotonic, split_words

REQUIREMENT = "qwen-asr==0.0.6"
SIDE = Path(__file__).with_name("qwen_side.py")
DEMO = Path(__file__).resolve().parents[2] / "demo" / "checkpoints" / MODEL.id
# The switches of the published model, at small sizes: 128 mels, windows of 8 s, grouped queries, 5000 classes.
RANDOM: dict[str, dict[str, Any]] = {
    "random A": {"audio": {"num_mel_bins": 128, "n_window_infer": 800}, "text": {"head_dim": 16}, "labels": 5000},
    "random B": {
        "audio": {"num_mel_bins": 128, "n_window_infer": 800, "d_model": 48, "output_dim": 36},
        "text": {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 2, "num_hidden_layers": 3},
        "labels": 400,
    },
}
SPLITS = [
    ("Don't stop, it's 3.5 o'clock -- e-mail me!", "English"), ("  two\tnine\nthree  ", "English"), ("", "English"),
    ("Mr. Quilter's “gospel”", "English"), ("A.B.C. 1,000", "English"), ("你好,世界!", "Chinese"),
    ("我有3个iPhone手机", "Chinese"), ("㐀𠀀 mixed 漢字text", "Chinese"), ("Straße & Übermut", "German"),
    ("Geh'n wir zum 1.-2. Mai?", "German"), ("naïve — ÄÖÜ", "German"), ("L'été, c'est aujourd\u2019hui", "French"),
    ("où? À Noël…", "French"), ("dix-sept", "French"), ("…!?", "French"),
]  # fmt: skip
OPTIONS = {"audio_seconds": "4,16", "sequence_lengths": "128,512"}


@dataclass(frozen=True)
class Side:
    """What one implementation says of one clip.

    Attributes:
        items: (word, start in s, end in s).
        logits: [P, C] at the markers.
    """

    items: list[tuple[str, float, float]]
    logits: np.ndarray


@dataclass(frozen=True)
class Difference:
    """Of our side from theirs, over clips.

    Attributes:
        items: clips whose words and times are the same.
        clips: of how many.
        times: most that a time differs, in s; infinite where the words do.
        logits: largest difference relative to the largest logit.
    """

    items: int
    clips: int
    times: float
    logits: float


def run() -> str:
    """The page in Markdown."""
    python = environment("qwen", REQUIREMENT)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoints, clips, job = _checkpoints(folder), _clips(), _times()
        published = {name: write_qwen(path, folder / f"own-{i}") for i, (name, path) in enumerate(checkpoints.items())}
        theirs, arrays = _theirs(python, folder, published, clips, job)
        sections = [_texts(theirs, job)]
        for name, own in published.items():
            rows = _rows(own, folder, clips, _sides(theirs, arrays, name))
            sections.append(_section(name, theirs["checkpoints"][name]["wrong"], rows))
    return "\n\n".join([_head(clips), *sections, _differences()]) + "\n"


def difference(ours: Sequence[Side], theirs: Sequence[Side]) -> Difference:
    """How far two implementations are apart.

    Raises:
        ValueError: other clips, or other shapes of logits.
    """
    same, times, logits = 0, 0.0, 0.0
    for one, other in zip(ours, theirs, strict=True):
        if one.logits.shape != other.logits.shape:
            raise ValueError(f"logits of {one.logits.shape} and {other.logits.shape}")
        same += one.items == other.items
        times = max(times, _apart(one.items, other.items))
        apart = np.abs(one.logits - other.logits).max() / np.abs(other.logits).max()
        logits = float(np.maximum(logits, apart))  # keeps NaN
    return Difference(same, len(theirs), times, logits)


def _apart(ours: Sequence[tuple[str, float, float]], theirs: Sequence[tuple[str, float, float]]) -> float:
    if [item[0] for item in ours] != [item[0] for item in theirs]:
        return float("inf")
    return max(
        (abs(a - b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one[1:], two[1:], strict=True)),
        default=0.0,
    )


def _checkpoints(folder: Path) -> dict[str, Path]:
    for i, sizes in enumerate(RANDOM.values()):
        save_tiny_checkpoint(folder / f"random-{i}", seed=i, **sizes)
    return {"demo": DEMO} | {name: folder / f"random-{i}" for i, name in enumerate(RANDOM)}


def _clips() -> list[Example]:
    return list(open_corpus("demo", 16, (".", "zh", "other")))


def _language(clip: Example) -> str:
    return "Chinese" if any(ord(c) > 0x2E7F for c in clip.text) else "English"


def _times() -> list[list[float]]:
    """Times that run backwards in every way, in milliseconds."""
    rng = random.Random(0)
    return [[40.0 * max(0, round(k * 3 + rng.gauss(0, 12))) for k in range(rng.randint(1, 24))] for _ in range(400)]


def _theirs(
    python: Path, folder: Path, published: dict[str, Path], clips: Sequence[Example], times: list[list[float]]
) -> tuple[Any, Any]:
    np.savez(folder / "clips.npz", **{f"clip_{i}": clip.samples(16000) for i, clip in enumerate(clips)})
    job = {
        "checkpoints": {name: str(path) for name, path in published.items()},
        "clips": [{"text": clip.text, "language": _language(clip)} for clip in clips],
        "splits": SPLITS,
        "times": times,
    }
    (folder / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    subprocess.run([str(python), str(SIDE), str(folder)], check=True)
    return json.loads((folder / "theirs.json").read_text(encoding="utf-8")), np.load(folder / "theirs.npz")


def _sides(theirs: Any, arrays: Any, name: str) -> list[Side]:
    items = theirs["checkpoints"][name]["items"]
    return [Side([(w, s, e) for w, s, e in found], arrays[f"{name}/{i}/logits"]) for i, found in enumerate(items)]


def _rows(own: Path, folder: Path, clips: Sequence[Example], theirs: Sequence[Side]) -> list[str]:
    """One row per form of ours, each read from the checkpoint in Qwen's format."""
    rows = []
    for form, side in _forms(own, folder).items():
        short = [i for i, clip in enumerate(clips) if len(clip.samples(16000)) <= 8 * 16000]
        long = [i for i in range(len(clips)) if i not in short]
        found = {i: side(clips[i]) for i in range(len(clips))}
        for which, chosen in (("up to 8 s", short), ("over 8 s", long)):
            d = difference([found[i] for i in chosen], [theirs[i] for i in chosen])
            rows.append(f"| {form} | {which} | {d.items}/{d.clips} | {d.times:.2f} s | {d.logits:.1e} |")
    return rows


def _forms(own: Path, folder: Path) -> dict[str, Callable[[Example], Side]]:
    plain = prepare(ConvertRequest(MODEL, str(own), output=folder / "unused", options=OPTIONS)).checkpoint.folder
    forms = {
        "eager reference, full attention": _eager(Reference(plain, full_attention=True)),
        "eager reference, windows of 8 s": _eager(Reference(plain)),
    }
    for precision in ("fp32", "fp16"):
        forms[f"packages {precision}, full attention"] = _packages(own, folder / f"{own.name}-{precision}", precision)
    return forms


def _eager(reference: Reference) -> Callable[[Example], Side]:
    def side(clip: Example) -> Side:
        found = reference.run(clip.samples(16000), clip.text, _language(clip))
        return Side([(w.text, w.start_s, w.end_s) for w in found.words], found.logits)

    return side


def _packages(own: Path, output: Path, precision: Any) -> Callable[[Example], Side]:
    options = {**OPTIONS, "audio_attention": "full"}
    bundle = convert(
        prepare(ConvertRequest(MODEL, str(own), output=output, precision=precision, options=options))
    ).bundle
    pipeline = Pipeline(bundle, open_runtime("portable", bundle, MODEL))

    def side(clip: Example) -> Side:
        words = split_words(clip.text, _language(clip))
        outputs = pipeline.marker_outputs(clip.samples(16000), words)
        timed = pipeline.words_with_times(words, outputs)
        return Side([(w.text, w.start_s, w.end_s) for w in timed], outputs.logits)

    return side


def _head(clips: Sequence[Example]) -> str:
    return (
        "# The aligner beside Qwen's own code\n\n"
        f"`uv run python -m tests.oracles qwen` wrote this page with `{REQUIREMENT}`: {len(clips)} demo clips, the "
        "demo's weights and random weights with the published switches, each written in Qwen's own format, loaded by "
        "Qwen's code, and converted from that format by ours."
    )


def _texts(theirs: Any, times: list[list[float]]) -> str:
    splits = sum(
        split_words(text, language) == found for (text, language), found in zip(SPLITS, theirs["splits"], strict=True)
    )
    fixed = sum(monotonic(given) == found for given, found in zip(times, theirs["times"], strict=True))
    return (
        "| rules | the same |\n|---|---|\n"
        f"| words of a text (English, Chinese, German, French) | {splits}/{len(SPLITS)} |\n"
        f"| times that run backwards, repaired (random) | {fixed}/{len(times)} |"
    )


def _section(name: str, wrong: Sequence[str], rows: Sequence[str]) -> str:
    loaded = "every tensor used, none missing" if not wrong else f"wrong tensors: {', '.join(wrong[:3])}"
    table = "\n".join(
        ["| ours | clips | items the same | times apart | logits apart, relative |", "|---|---|---|---|---|", *rows]
    )
    return f"## {name}\n\nQwen's code loads the checkpoint strictly: {loaded}.\n\n{table}"


def _differences() -> str:
    return (
        "## Differences by name\n\n"
        "- **Attention of the audio over 8 s.** Without FlashAttention, Qwen's code lets every audio frame see the "
        "whole file. With FlashAttention, and in transformers, a frame sees its window of 8 s. Our default is the "
        "window; `--audio-attention full` is what Qwen's code does on a CPU.\n"
        "- **Float16 on random weights.** Random weights give time classes of nearly the same logits. The "
        "likely cause of the flips is that a difference of 1e-2 chooses another class, any number of seconds away; the "
        "margins were not measured. With the trained demo nothing flips."
    )
