"""The ladder of Parrot: runs reference and port, and fills the rungs."""

from models.parrot.parity import rungs
from models.parrot.parity.reference import Reference
from models.parrot.pipeline import Pipeline
from parity.ladder.ladder import Ladder
from parity.ladder.subject import Subject
from parity.measures.totals import Totals


def measure(subject: Subject, ladder: Ladder) -> None:
    """Run all clips through reference and port."""
    reference = Reference(subject.checkpoint.folder)
    ours, wrapped = Pipeline(subject.bundle, subject.runtime), Pipeline(subject.bundle, subject.eager)
    letters = wrong = 0
    for clip in subject.clips:
        run = reference.run(clip.audio)
        ladder.compare(rungs.FRAMES, run.frames, ours.frames(clip.audio))
        ladder.compare(rungs.SCORES, run.scores, wrapped.scores(run.frames))
        ladder.compare(rungs.CHAIN, run.scores, ours.scores(ours.frames(clip.audio)))
        text = ours.transcribe(clip.audio).text
        letters += len(run.text)
        wrong += sum(a != b for a, b in zip(run.text, text, strict=True))
    ladder.judge(rungs.LETTERS, Totals({"wrong_percent": 100 * wrong / max(letters, 1)}))
