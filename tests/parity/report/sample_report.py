"""A small ladder with every exhibit, a failed stage, and text that means something to a browser."""

import numpy as np

from parity.ladder.exhibits import Audio, Axis, Curves, Series, Spectrograms, Timeline, error_over
from parity.ladder.ladder import Ladder, LadderResult, Row, Status, row_from_metrics
from parity.ladder.rungs import LadderPlan, Rung
from parity.ladder.tables import TitledTable
from toolkit.spec import Gate
from toolkit.transcript import Word

HOSTILE = "<script>document.title='owned'</script>\"'&amp;]]>\x00\ud800 <img src=x onerror=alert(1)>"
RATE = 16000
GATE = Gate("the reason of the gate", at_most={"max_abs": 0.5}, measured="0.1")
MEL = Rung("features", "mel", "Extractor", "Mel", GATE)
ENCODER = Rung("wrappers", "encoder {function}", f"Encoder {HOSTILE}", "wrapper encoder", GATE)
FRAMES = Rung("decode", "frames", "Encoder", "packages in a row", GATE)
WORDS = Rung("task", "words", "Processor", "the pipeline", Gate("words"))
DECLARED = LadderPlan((MEL, ENCODER, FRAMES, WORDS))


def words(*spans: tuple[str, float, float]) -> list[Word]:
    return [Word(text, start, end, 1.0) for text, start, end in spans]


REFERENCE_WORDS = words(("go", 0.2, 0.5), ("forward", 0.6, 1.1), ("<b>ten</b>", 1.2, 1.2), ("meters", 4.8, 5.4))
OUR_WORDS = words(("go", 0.2, 0.5), ("forward", 0.68, 1.1), ("<b>ten</b>", 1.2, 1.2), ("metres", 4.8, 5.4))


def sound() -> np.ndarray:
    times = np.arange(RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * 330 * times) * np.exp(-2 * times)).astype(np.float32)


def mel() -> np.ndarray:
    """[80, 900] with structure."""
    bins, frames = np.mgrid[0:80, 0:900]
    return (np.sin(frames / 40) * np.cos(bins / 9) - bins / 40).astype(np.float32)


def sample_result(*, fail: bool = True) -> LadderResult:
    rng = np.random.default_rng(0)
    board = Ladder("toy", DECLARED, {"bundle": HOSTILE, "runtime": "fake"}, exhibits=2)
    ours = mel() + rng.normal(0, 1e-5, mel().shape).astype(np.float32)
    board.compare(MEL, mel(), ours)
    board.exhibit("features", "mel", Spectrograms.of(mel(), ours, Axis("time", "s"), 0.01), HOSTILE)
    broken = ours.copy()
    broken[20:30, 100:200] = np.nan
    board.exhibit("features", "mel", Spectrograms.of(mel(), broken[:, :850], Axis("time", "s"), 0.01), "broken")
    frames = rng.normal(size=(60, 8))
    wrong = frames + 1e-4 * np.exp(np.arange(60) / 8)[:, None]
    wrong[40] = np.inf
    board.compare(ENCODER, frames, frames + fail, function=HOSTILE)
    board.exhibit("wrappers", "encoder error", error_over(frames, wrong, Axis("frame")), "clip")
    layers = tuple(f"encoder.layers.{k}.self_attn" for k in range(12))
    errors = Series("rel. L2", np.geomspace(1e-7, 3e-3, 12))
    board.exhibit(
        "wrappers", "error by layer", Curves(Axis("layer"), Axis("rel. L2"), (errors,), ticks=layers, log=True)
    )
    margins = Series("margin", np.array([3.0, 2.5, 0.1, 4.0]))
    board.exhibit("wrappers", "margin", Curves(Axis("token"), Axis("margin"), (margins,)))
    empty = Curves(Axis("frame"), Axis("error"), (Series("none", np.zeros(0)),))
    board.exhibit("wrappers", "nothing", empty)
    board.compare(FRAMES, frames, frames)
    board.exhibit("decode", "word boundaries", Timeline.of(REFERENCE_WORDS, OUR_WORDS, REFERENCE_WORDS[:2]), HOSTILE)
    board.exhibit("task", "speech", Audio.of(sound(), 0.9 * sound(), RATE), "text")
    rates = {"wer_percent": 2.5, "reference_wer_percent": 2.5}
    row = row_from_metrics("words", rates, GATE if fail else Gate("words"), HOSTILE, f"WER {HOSTILE}")
    board.add_row("task", row, WORDS)
    board.add_row("device", Row("-", Status.SKIPPED, note="not here"))
    board.facts.append(TitledTable("versions", ("what", "now"), (("torch", "2.7.0"),)))
    return board.result().with_table(sample_table("wrappers"))


def sample_table(stage: str = "") -> TitledTable:
    rows = (("layer 1", 1e-7, Status.PASSED), (HOSTILE, float("nan"), Status.FAILED), ("a|b", "", "text\nof two lines"))
    return TitledTable("errors by layer", ("layer", "rel. L2", "result"), rows, (f"note {HOSTILE}",), stage)
