"""The pipeline's noise against its documented generator, and against the statistics of independent noise."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from models.pocket_tts.parity import rungs
from models.pocket_tts.parity.reference import Reference
from models.pocket_tts.pipeline import Pipeline
from parity.ladder.ladder import Ladder
from parity.measures.totals import Totals

STREAM_FRAMES = 4096  # enough that chance keeps far below the gate


def noise_of_generator(seed: int, chunk: int, frames: int, width: int) -> np.ndarray:
    """Noise [frames, Z] as docs/adr/0008 has it: NumPy's PCG64, seeded by the SeedSequence of seed and chunk."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, chunk])))
    return generator.standard_normal((frames, width), np.float32)


def compare_noise(ladder: Ladder, reference: Reference, pipelines: Sequence[Pipeline]) -> None:
    """Compare the noise with its generator, and check its variance and its independence between seeds and chunks.

    Args:
        ladder: the ladder to fill.
        reference: its `noise_scale` is the factor of the noise in `generate`.
        pipelines: pipelines of one bundle with different seeds.
    """
    if not reference.noise_scale:
        ladder.skip(rungs.NOISE_STREAMS, "the checkpoint speaks without noise")
        return
    width = len(pipelines[0].host.latent_mean)
    streams = []
    for pipeline in pipelines:
        for chunk in (0, 1):
            ours = np.stack(list(islice(pipeline.noise(chunk), STREAM_FRAMES)))
            scaled = noise_of_generator(pipeline.seed, chunk, STREAM_FRAMES, width) * reference.noise_scale
            ladder.compare(rungs.NOISE, scaled.astype(np.float32), ours)
            streams.append(ours.ravel() / reference.noise_scale)
    alike = np.corrcoef([*streams, *(np.roll(stream, width) for stream in streams)]) - np.eye(2 * len(streams))
    metrics = {
        "streams": len(streams),
        "mean": max(abs(float(stream.mean())) for stream in streams),
        "deviation_off": max(abs(float(stream.std()) - 1) for stream in streams),
        "correlation": float(np.abs(alike).max()),
    }
    ladder.judge(rungs.NOISE_STREAMS, Totals(metrics))
