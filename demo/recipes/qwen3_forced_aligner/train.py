"""Train the demo aligner on one thread.

python -m qwen3_forced_aligner.train --banks BANKS --digits FSDD --out checkpoint --minutes 30
"""

import argparse
import json
import time
from pathlib import Path

import torch
from qwen3_forced_aligner import model as models
from qwen3_forced_aligner.losses import Helpers, losses
from qwen3_forced_aligner.targets import Collator
from qwen3_forced_aligner.utterances import Utterances, batches
from speech import bank, corpus
from speech.augment import Augmenter
from speech.average import Average
from transformers import Qwen3ASRForTokenClassification, Qwen3ASRProcessor

SHOWN = 25  # steps between two lines of the log
RISE = 0.06  # part of the training in which the learning rate rises
GROWTH = 0.8  # part of the training in which utterances grow longer and more of them are distorted
EASY, HARD = 0.2, 0.7  # part of the utterances that is distorted, at first and at last
HELPED = 0.75  # part of the training with helper losses


def learning_rate(peak: float, done: float, rise: float) -> float:
    """Return the rate once the part `done` (0..1) of the training is over: up in a line, down in half a cosine."""
    if done < rise:
        return peak * (0.05 + 0.95 * done / rise)
    part = torch.tensor((done - rise) / (1 - rise)).clamp(max=1.0)
    return peak * max(0.002, float(0.5 + 0.5 * torch.cos(torch.pi * part)))


def common_clips(folder: Path | None) -> list[bank.Clip]:
    """Load the banks of common English, but for the unheard voices and the held-out texts."""
    clips = [clip for path in sorted(folder.glob("*.npz")) for clip in bank.load(path)] if folder else []
    return [clip for clip in clips if corpus.trained_on(clip)]


def train(options: argparse.Namespace) -> None:
    """Train for the given minutes and write the averaged weights now and then, and at the end."""
    torch.manual_seed(options.seed)
    processor = models.make_processor()
    config = models.make_config(processor)
    network = models.make_model(config)
    helpers = Helpers(config.text_config.hidden_size)
    if options.start:
        network = Qwen3ASRForTokenClassification.from_pretrained(options.start)
        helpers.load_state_dict(torch.load(options.start / "helpers.pt"))
    network.model.audio_tower.to(memory_format=torch.channels_last)  # a third faster in the convolutions
    matrices = [p for p in [*network.parameters(), *helpers.parameters()] if p.dim() > 1]
    vectors = [p for p in [*network.parameters(), *helpers.parameters()] if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
    mixer = corpus.mixer_from_folders(options.banks, options.digits, options.seed)
    utterances = Utterances(mixer, common_clips(options.common), options.common_share, options.seed)
    augmenter = Augmenter(models.front_end(processor), options.seed)
    source = batches(utterances, augmenter)
    collate, average = Collator(processor, config), Average(network)
    network.train()
    shown, step, heard, began, done = torch.zeros(5), 0, 0, time.monotonic(), 0.0
    while done < 1:
        examples = next(source)
        done = (time.monotonic() - began) / 60 / options.minutes
        utterances.reach = 1.0 if options.grown else min(1.0, done / GROWTH)
        augmenter.strength = EASY + (HARD - EASY) * utterances.reach
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(options.rate, done, RISE / 3 if options.start else RISE)
        result = losses(network, helpers, collate(examples))
        optimiser.zero_grad(set_to_none=True)
        result.total(options.help_weight * min(1.0, max(0.0, 2 * (1 - done / HELPED)))).backward()
        torch.nn.utils.clip_grad_norm_([*matrices, *vectors], 2.0)
        optimiser.step()
        average.update(network)
        step, heard = step + 1, heard + len(examples)
        shown += result.values()
        if step % SHOWN == 0:
            names = ("markers", "words", "clock", "ordinals", "pointer")
            values = " ".join(f"{name} {value / SHOWN:.3f}" for name, value in zip(names, shown, strict=True))
            print(f"{step} {(time.monotonic() - began) / 60:.1f} min {values}", flush=True)
            shown.zero_()
        if step % 200 == 0 or done >= 1:
            facts = {"steps": step, "utterances": heard, "minutes": round((time.monotonic() - began) / 60, 1)}
            write(average, helpers, processor, options, facts)


def write(
    average: Average,
    helpers: Helpers,
    processor: Qwen3ASRProcessor,
    options: argparse.Namespace,
    facts: dict[str, object],
) -> None:
    """Write the averaged weights and the facts of the training so far."""
    averaged = models.make_model(models.make_config(processor))
    averaged.load_state_dict(average.weights)
    models.save(averaged, processor, options.out)
    torch.save(helpers.state_dict(), options.out / "helpers.pt")  # for --start; not part of the checkpoint
    facts |= {
        "seed": options.seed,
        "peak_learning_rate": options.rate,
        "help_weight": options.help_weight,
        "grown": options.grown,
    }
    facts |= {"parameters": sum(p.numel() for p in averaged.parameters())}
    facts |= {"common_share": options.common_share if options.common else 0.0}
    if options.start:
        facts["started_from"] = json.loads((options.start / "training.json").read_text())
    (options.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--banks", type=Path, required=True, help="folder of the domain's banks")
    parser.add_argument("--digits", type=Path, required=True, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("--common", type=Path, help="folder of the banks of common English")
    parser.add_argument("--common-share", type=float, default=0.4, help="how many of the draws are common English")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint to write")
    parser.add_argument("--start", type=Path, help="a training's folder to go on from")
    parser.add_argument("--grown", action="store_true", help="utterances of full length from the first step on")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; the schedule follows the clock")
    parser.add_argument("--help-weight", type=float, default=1.0, help="of the helper losses in the first half")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
