"""A text of several chunks through `Pipeline.speak`, which `infer` writes, against the reference chunk by chunk."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.pocket_tts.parity import rungs
from models.pocket_tts.parity.control import run_under_noise
from models.pocket_tts.parity.reference import Reference, ReferenceRun
from models.pocket_tts.parity.replayed import Replayed
from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompt
from models.pocket_tts.voices import Voice
from parity.ladder.ladder import Ladder
from parity.ladder.rungs import Rung
from parity.measures.arrays import compare_arrays
from parity.measures.drift import Drift
from toolkit.errors import ToolkitError
from toolkit.loops.flow import Frame

SPOKEN_CHUNKS = 2  # texts of clips, a chunk each
SPLIT_CHUNKS = 4  # chunks of a text of which only the split is compared
ENDS = (".", "!", "?")


class ReferenceDrivenPipeline(Pipeline):
    """A pipeline that speaks along runs of the reference, one per chunk: no step of the backbone, and so no drift.

    The flow samples under the noise that `speak` hands over.
    """

    runs: Iterator[ReferenceRun] = iter(())

    def frames(self, prompt: Prompt, noise: Iterator[np.ndarray]) -> Iterator[Frame]:
        """The frames of one chunk, along the next run of the reference."""
        return self.drive(ReferenceLatents(next(self.runs), self), prompt, noise)


class ReferenceLatents(Replayed):
    """A run of the reference whose hidden states drive the loop, while the pipeline's own flow samples the latents.

    Args:
        run: of one chunk of text.
        pipeline: its flow is used.
    """

    def __init__(self, run: ReferenceRun, pipeline: Pipeline) -> None:
        super().__init__(run)
        self._flow = pipeline.flow

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The latent [Z] that the pipeline's flow makes of hidden [D] and noise [Z]."""
        return self._flow.sample(hidden, noise)


class SeveralChunks:
    """Two sentences said in one call.

    Args:
        ladder: the ladder to fill.
        reference: the reference to compare with.
        pipeline: a pipeline on the runtime under test, which this comparison changes.
        driven: a pipeline on the same runtime that speaks along the reference; changed too.
        wrapped: a pipeline on the eager wrappers that speaks along the reference; changed too.
        texts: texts of clips, at least one.
    """

    def __init__(
        self,
        ladder: Ladder,
        reference: Reference,
        pipeline: Pipeline,
        driven: ReferenceDrivenPipeline,
        wrapped: ReferenceDrivenPipeline,
        texts: Sequence[str],
    ) -> None:
        self._ladder, self._reference = ladder, reference
        self._pipeline, self._driven, self._wrapped = pipeline, driven, wrapped
        self._texts = texts[:SPOKEN_CHUNKS]

    def compare(self, voice: Voice, error: float) -> None:
        """Compare the split of a text, then the speech of two chunks in a voice.

        Args:
            voice: the voice of both sides.
            error: RMS of the teacher-forced latents' error.
        """
        self._split()
        try:
            text, prompts = self._text(voice)
        except ToolkitError as refused:
            for rung in rungs.SEVERAL_CHUNKS:
                self._ladder.skip(rung, refused.message)
            return
        runs = [
            self._reference.run(p.chunk, voice, self._pipeline.noise(i), flow_steps=self._pipeline.flow.steps)
            for i, p in enumerate(prompts)
        ]
        with self._ladder.attempt("decode", "speech of several chunks, on the wrappers"):
            spoken, expected = self._speak_along(self._wrapped, rungs.SPOKEN_WRAPPED, text, runs)
            self._last_frames(spoken, expected, runs)
        with self._ladder.attempt("decode", "speech of several chunks"):
            spoken, expected = self._speak_along(self._driven, rungs.SPOKEN, text, runs)
            if len(spoken) == len(expected):
                self._free(text, voice, runs, error, compare_arrays(expected, spoken).rel_l2)

    def _split(self) -> None:
        """A text of several chunks by the everyday limit of tokens."""
        text = sentences(self._texts)
        while len(ours := self._pipeline.split(text)) < SPLIT_CHUNKS:
            text = f"{text} {text}"
        theirs = self._reference.processor.split_text(text)
        same = np.array([*(one == other for one, other in zip(theirs, ours, strict=False)), len(theirs) == len(ours)])
        self._ladder.compare(rungs.CHUNKS, np.ones_like(same), same)

    def _text(self, voice: Voice) -> tuple[str, list[Prompt]]:
        """Two sentences, and a limit of tokens that makes a chunk of each.

        By the everyday limit a text of two chunks takes a minute to compare, and a small cache has no room for it.

        Raises:
            ToolkitError: the cache has no room for one of them.
        """
        text, host = sentences([self._texts[0], self._texts[-1]]), self._pipeline.host
        for tokens in range(1, host.chunk_tokens + 1):
            self._pipeline.host = host.model_copy(update={"chunk_tokens": tokens})
            if len(self._pipeline.split(text)) == SPOKEN_CHUNKS:
                break
        else:
            text = " ".join(self._pipeline.split(text)[:SPOKEN_CHUNKS])
        for pipeline in (self._pipeline, self._driven, self._wrapped):
            pipeline.host = self._pipeline.host
            pipeline.set_voice(voice)
        return text, self._pipeline.chunks(text)

    def _speak_along(
        self, pipeline: ReferenceDrivenPipeline, rung: Rung, text: str, runs: Sequence[ReferenceRun]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples of the pipeline's speech along the runs, and of the runs themselves."""
        pipeline.runs = iter(runs)
        spoken, expected = np.concatenate(list(pipeline.speak(text))), np.concatenate([run.audio for run in runs])
        self._ladder.compare(rung, expected, spoken)
        return spoken, expected

    def _last_frames(self, spoken: np.ndarray, expected: np.ndarray, runs: Sequence[ReferenceRun]) -> None:
        """Each chunk's last frame, so quiet that its loss hardly shows in the whole; in float16 it is mostly noise."""
        if len(spoken) != len(expected):
            return
        ends, size = np.cumsum([len(run.audio) for run in runs]), self._pipeline.frame_size
        last = np.concatenate([np.arange(end - size, end) for end in ends])
        self._ladder.compare(rungs.SPOKEN_WRAPPED_LAST, expected[last], spoken[last])

    def _free(self, text: str, voice: Voice, runs: Sequence[ReferenceRun], error: float, noise: float) -> None:
        """Nothing replaced: each chunk up to where noise alone parts the reference from itself."""
        blocks: list[list[np.ndarray]] = [[]]
        for frame in self._pipeline.speak(text, lambda *_: blocks.append([])):
            blocks[-1].append(frame)
        drift = Drift()
        for run, spoken in zip(runs, blocks, strict=False):
            control, parted = run_under_noise(
                self._reference, run, voice, flow_steps=self._pipeline.flow.steps, error=error
            )
            theirs, moved = (side.audio.reshape(-1, self._pipeline.frame_size) for side in (run, control))
            count = max(min(parted, len(spoken)), 1)
            ours = np.stack(spoken[:count]) if spoken else np.zeros_like(theirs[:count])
            drift.add(theirs[:count], moved[:count], ours, len(theirs), noise)
        self._ladder.judge(rungs.SPOKEN_FREE, drift.totals())


def sentences(texts: Sequence[str]) -> str:
    """The texts as sentences of one."""
    stripped = [text.strip() for text in texts]
    return " ".join(text if text.endswith(ENDS) else f"{text}." for text in stripped)
