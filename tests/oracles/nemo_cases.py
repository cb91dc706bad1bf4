"""What NeMo and ours are compared on: the demo, random checkpoints, and the clips."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tests.models.parakeet_tdt.tiny import DEMO, save_tiny_checkpoint
from tests.published_layouts.nemo import trained_pieces, without_dropout_of_the_joint, write_nemo
from toolkit.audio.read import read_audio

CLIPS = DEMO.parents[1] / "clips"
SHORT = ("ps_cards_001", "praatio_mary")
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


def write_clips(folder):
    """Name -> samples of the 13 human clips, written for the other side."""
    clips = {f.stem: read_audio(f, 16000) for f in sorted([*CLIPS.glob("*.wav"), *(CLIPS / "other").glob("*.wav")])}
    for name, audio in clips.items():
        np.save(folder / f"{name}.npy", audio)
    return clips


def write_cases(folder):
    """The archives, and what is to be done with each."""
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
    """A vocabulary with much punctuation, trained on a page that does not change."""
    lines = (CLIPS.parents[1] / "LICENSE").read_text(encoding="utf-8").splitlines()
    marks = ".,!?;:'\"-()%€"
    lines += [f"word {mark} other{mark} {mark}third" for mark in marks] * 50
    return trained_pieces(
        [line for line in lines if line.strip()], size, character_coverage=0.995, hard_vocab_limit=True
    )


def _adversarial(size):
    rng = np.random.default_rng(0)
    return [rng.integers(1, size, rng.integers(1, 12)).tolist() for _ in range(600)]
