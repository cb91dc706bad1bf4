"""The forecast against compute plans that WhisperKit models are published with: agreement counted, op by op.

The plans name op types and parameters, not shapes: those of mel come from the `model.mil` beside it, the others from
the architecture. Only the first ops of each plan were readable (read 2026-11), and no plan names its chip. Compared is
`supported`, whether the Neural Engine has the op; `dispatch`, where it ran, depends on costs too. The rules `lookup`,
`stride` and `kernel-width` cite these plans beside other sources; `reflect-pad` rests on them alone, so that the
agreement of its one op proves nothing.

- mel: huggingface.co/mickekringai/kb-whisper-coreml large, aoiandroid/Breeze-ASR-25_coreml MelSpectrogram
- encoder: huggingface.co/TerminatorPower/whisperkit-coreml openai_whisper-medium AudioEncoder
- decoder: huggingface.co/SingularityUS/atc-whisperkit small TextDecoder
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import save_program
from tests.toolkit.lint.programs import findings_in, half, views_of, weights

CPU, BOTH = "CPU", "CPU, ANE"


def mel(x):
    """Its first 10 ops and one more: reflection, and the Fourier transform as convolutions 400 wide, stride 160."""
    x = mb.reshape(x=x, shape=[1, 1, 480_000])
    x = mb.pad(x=x, pad=[0, 0, 0, 0, 200, 200], mode="reflect")
    x = mb.reshape(x=x, shape=[480_400])
    one = mb.expand_dims(x=x, axes=[0])
    two = mb.expand_dims(x=one, axes=[0])
    filters = {"strides": [160], "pad_type": "valid"}
    real, imaginary = (mb.conv(x=two, weight=weights(201, 1, 400), **filters) for _ in range(2))
    parts = [mb.squeeze(x=part, axes=[0]) for part in (real, imaginary)]
    return tuple(mb.square(x=part) for part in parts)


def encoder(x):
    """First 10 ops of the encoder of width 1,024."""
    x = mb.gelu(x=mb.conv(x=x, weight=weights(1024, 80, 1, 3), pad_type="same"), mode="EXACT")
    x = mb.gelu(x=mb.conv(x=x, weight=weights(1024, 1024, 1, 3), strides=[1, 2], pad_type="same"), mode="EXACT")
    x = mb.add(x=x, y=weights(1, 1024, 1, 1500))
    return tuple(projections(x, 1024))


def projections(x, width):
    """A layer norm, its scale as a batch norm, and three 1x1 convolutions."""
    normed = mb.layer_norm(x=x, axes=[1], epsilon=np.float16(1e-5))
    ones = np.ones(width, np.float16)
    scaled = mb.batch_norm(x=normed, mean=0 * ones, variance=ones, gamma=ones, beta=ones)
    return [mb.conv(x=scaled, weight=weights(width, width, 1, 1)) for _ in range(3)]


def decoder(token, position, key, value):
    """First 10 ops of the decoder of width 768, whose cache stands in the channels."""
    embedded = mb.gather(x=weights(512, 768), indices=token, axis=0)
    placed = mb.gather(x=weights(448, 768), indices=position, axis=0)
    x = mb.expand_dims(x=mb.expand_dims(x=mb.add(x=embedded, y=placed), axes=[2]), axes=[3])
    caches = [part for kept in (key, value) for part in mb.split(x=kept, num_splits=12, axis=1)]
    return (*caches, projections(x, 768)[0])


TOKEN = np.zeros(1, np.int32)
CACHE = half(1, 9216, 1, 224)
PLANS = {
    "mel": (mel, {"x": half(480_000)}, [BOTH, CPU, BOTH, BOTH, BOTH, CPU, CPU, BOTH, BOTH, BOTH]),
    "encoder": (encoder, {"x": half(1, 80, 1, 3000)}, [BOTH] * 10),
    "decoder": (
        decoder,
        {"token": TOKEN, "position": TOKEN, "key": CACHE, "value": CACHE},
        [CPU, CPU, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH],
    ),
}
# Supported there, forecast as off: the tensors are 480,000 long. Both plans ran them on the CPU.
LONG = {"reshape", "expand_dims"}


def compared(name, folder):
    """(op type, forecast to be off, the plan has the Neural Engine) of each op in order."""
    build, inputs, plan = PLANS[name]
    path = save_program(build, inputs, folder, "iOS16")
    off = {finding.op for finding in findings_in(path) if finding.severity != "info"}
    ran = [op for op in views_of(path)[0].operations if op.type != "cast"][: len(plan)]
    assert len(ran) == len(plan)
    return [(op.type, op.name in off, supported == BOTH) for op, supported in zip(ran, plan, strict=True)]


@pytest.mark.parametrize(("name", "agreeing"), [("mel", 6), ("encoder", 10), ("decoder", 10)])
def test_agreement_with_a_published_plan(name, agreeing, tmp_path):
    rows = compared(name, tmp_path)
    assert sum(off is not supported for _, off, supported in rows) == agreeing
    assert {kind for kind, off, supported in rows if off is supported} <= LONG
