"""A model of two small components behind a short host, with a ladder of its own: cheap to convert and break."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from commands.conversion import ConvertRequest, Prepared, convert
from parity.ladder.contract import ModelParity
from parity.ladder.gates import chain_gates, decisions_gate, mel_gate, wrapper_gate
from parity.ladder.judging import judge_margins
from parity.ladder.rungs import Rung
from parity.ladder.subject import Clip, ClipStream, Subject
from parity.measures.flips import Flips
from parity.measures.margins import Margins
from parity.measures.totals import Totals
from tests.parity.toy.export import CLASSES, FRAMES, WIDTH, Encoder, Head, Overflowing, Quiet
from toolkit.export.checkpoint import Checkpoint
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Gate, Tensor

__all__ = ["CHECKPOINT", "Encoder", "Head", "Overflowing", "Toy", "clips", "converted", "outlier_toy", "subject", "toy"]

ID = "toy"

MEL = Rung("features", "mel", "the clip", "the toy's front", mel_gate(""))
ENCODER = Rung("wrappers", "encoder: y", "Encoder", "wrapper encoder", wrapper_gate(""))
LOGITS = Rung("decode", "teacher-forced logits", "Head", "packages in a row", chain_gates(""))
DECISIONS = Rung("decode", "decisions", "Head", "packages in a row", decisions_gate(""))
MARGINS = Rung("decode", "margins of classes", "Head", "packages in a row", None)
WORDS = Rung("task", "words", "Head", "the toy", Gate("as many", {"wrong": 6}))
RUNGS = (MEL, ENCODER, LOGITS, DECISIONS, MARGINS, WORDS)


def f32(name, *shape):
    return Tensor(name, shape, "float32", name)


@dataclass(frozen=True)
class Toy:
    """The reference's two modules, and those that the port takes for them."""

    encoder: torch.nn.Module
    head: torch.nn.Module
    wrapper: torch.nn.Module
    shift: float = 0.0  # a fault of the host's loop: added to what the head is fed
    gain: float = 1.0  # a fault of the host's front end

    def plan(self, *_):
        return ExportPlan(
            components=(
                ComponentSpec(
                    "encoder",
                    lambda _: self.wrapper.eval(),
                    (FunctionSpec("main", (f32("x", FRAMES, WIDTH),), (f32("y", FRAMES, WIDTH),)),),
                ),
                ComponentSpec(
                    "head",
                    lambda _: self.head.eval(),
                    (FunctionSpec("main", (f32("y", 1, WIDTH),), (f32("logits", 1, CLASSES),)),),
                ),
            ),
            host={"sample_rate": 16000},
            assets={},
            options={"audio_seconds": "5"},
        )

    @property
    def model(self):
        """In place of `ModelInfo`."""
        modules = {
            "export": SimpleNamespace(plan=self.plan),
            "parity": SimpleNamespace(PARITY=ModelParity(RUNGS, self.measure, self.exercise)),
        }
        return SimpleNamespace(
            id=ID,
            package=__name__,
            task="transcription",
            options={},
            demo_clips=(".",),
            module=modules.__getitem__,
        )

    def exercise(self, plan, bundle, runtime, clips):
        for clip in clips:
            self.port(runtime, self.front(clip.audio))

    def front(self, audio):
        return (audio[: FRAMES * WIDTH].reshape(FRAMES, WIDTH) * self.gain).astype(np.float32)

    def port(self, runtime, x):
        frames = runtime.load("encoder").predict({"x": x})["y"] + np.float32(self.shift)
        return np.concatenate([runtime.load("head").predict({"y": frame[None]})["logits"] for frame in frames])

    def measure(self, subject, ladder):
        flips, margins, wrong = Flips(), Margins(), 0
        for clip in subject.clips:
            x = clip.audio[: FRAMES * WIDTH].reshape(FRAMES, WIDTH)
            with torch.no_grad():
                frames = self.encoder(torch.from_numpy(x))
                logits = self.head(frames).numpy()
            ladder.compare(MEL, x, self.front(clip.audio))
            wrapped = subject.eager.load("encoder").predict({"x": x})["y"]
            ladder.compare(ENCODER, frames.numpy(), wrapped)
            with ladder.attempt("decode", clip.id):
                ours = self.port(subject.runtime, self.front(clip.audio))
                ladder.compare(LOGITS, logits, ours)
                margins.add(clip.id, logits, ours)
                flips.decisions += len(logits)
                noise = float(np.abs(logits - ours).max())
                for step in np.flatnonzero(logits.argmax(1) != ours.argmax(1)):
                    flips.add(f"{clip.id}, step {step}", logits[step], int(ours[step].argmax()), noise)
                wrong += int((logits.argmax(1) != ours.argmax(1)).sum())
        ladder.judge(DECISIONS, flips.totals())
        judge_margins(ladder, MARGINS, margins)
        ladder.judge(WORDS, Totals({"wrong": wrong}))


def toy(**changes):
    encoder, head = Encoder(), Head()
    return replace(Toy(encoder, head, encoder), **changes)


def outlier_toy():
    encoder = Quiet(Encoder())
    return Toy(encoder, Head(outlier=True), encoder)


def clips(count=2):
    rng = np.random.default_rng(0)
    return [Clip(f"clip{k}", rng.standard_normal(FRAMES * WIDTH).astype(np.float32), "text") for k in range(count)]


CHECKPOINT = Checkpoint(ID, "folder", Path(__file__).parent)  # holds no weights: the toy's are made anew


def converted(toy, folder, precision="fp16", compression="none"):
    """A bundle of the toy."""
    request = ConvertRequest(toy.model, output=folder, precision=precision, compression=compression)
    return convert(Prepared(request, CHECKPOINT, CHECKPOINT.entry(), toy.plan(), folder)).bundle


def subject(toy, bundle, runtime=None):
    """The toy's bundle under test on the portable runtime, or on another."""
    plan = toy.plan()
    eager = EagerRuntime(plan)
    packages = PortableRuntime(bundle.locate)
    return Subject(
        model=toy.model,
        bundle=bundle,
        checkpoint=CHECKPOINT,
        plan=plan,
        eager=eager,
        runtime=runtime or packages,
        packages=None if runtime is not None and runtime.name == "eager" else packages,
        clips=ClipStream(clips(), 2),
    )
