"""Train the demo recogniser on one thread.

python -m parakeet_tdt.train --banks banks --digits fsdd --out checkpoint --steps 3000
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from parakeet_tdt import model as models
from parakeet_tdt.loss import tdt_loss
from speech import grammar
from speech.augment import Augmenter, Example
from speech.average import Average
from speech.corpus import mixer_from_folders
from speech.mixing import Mixer
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import ParakeetForTDT, ParakeetTokenizer

FRAME_S = 0.08
BATCH, POOL = 24, 4  # utterances a step; batches drawn, then sorted by length, at once
SLACK_FRAMES = 1  # a token may fall this far outside its word


def batches(mixer: Mixer, augmenter: Augmenter) -> Iterator[list[Example]]:
    """Yield endless batches of utterances of like length."""
    while True:
        pool = sorted((augmenter(mixer.draw()) for _ in range(BATCH * POOL)), key=lambda example: len(example.features))
        groups = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
        mixer.rng.shuffle(groups)
        yield from groups


def collated(examples: list[Example], tokenizer: ParakeetTokenizer) -> dict[str, torch.Tensor]:
    """Pad one batch; windows holds the first and last 80 ms frame [B, U, 2] at which each token may fall."""
    features = pad_sequence([example.features for example in examples], batch_first=True)
    lengths = torch.tensor([len(example.features) for example in examples])
    ids, windows = [], []
    for example in examples:
        tokens, limits = [], []
        for word, (start_s, end_s) in zip(example.words, example.spans, strict=True):
            pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
            last = int(end_s / FRAME_S) + SLACK_FRAMES
            tokens += pieces
            limits += [[int(start_s / FRAME_S) - SLACK_FRAMES, last]] * len(pieces)
        ids.append(torch.tensor(tokens))
        windows.append(torch.tensor(limits))
    return {
        "features": features,  # [B, T, mels]
        "mask": torch.arange(features.shape[1]) < lengths[:, None],
        "labels": pad_sequence(ids, batch_first=True, padding_value=2),
        "tokens": torch.tensor([len(tokens) for tokens in ids]),
        "windows": pad_sequence(windows, batch_first=True),
    }


def frame_words(examples: list[Example], frames: int) -> torch.Tensor:
    """Return the word said at every encoder frame, int64 [B, frames]: 0 is none, -100 is padding."""
    labels = torch.full((len(examples), frames), -100)
    for row, example in zip(labels, examples, strict=True):
        row[: -(-len(example.features) // 8)] = 0
        for word, (start_s, end_s) in zip(example.words, example.spans, strict=True):
            row[round(start_s / FRAME_S) : max(round(end_s / FRAME_S), round(start_s / FRAME_S) + 1)] = (
                1 + grammar.WORDS.index(word)
            )
    return labels


def losses(
    network: ParakeetForTDT, head: torch.nn.Linear, examples: list[Example], tokenizer: ParakeetTokenizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the TDT loss and the frame-wise word loss of one batch."""
    batch = collated(examples, tokenizer)
    encoded = network.get_audio_features(batch["features"], batch["mask"], output_attention_mask=True)
    hidden = encoded.last_hidden_state
    frame_loss = cross_entropy(head(hidden).transpose(1, 2), frame_words(examples, hidden.shape[1]))
    config, labels = network.config, batch["labels"]
    heard = torch.where(torch.rand(labels.shape) < 0.25, 0, labels)  # label dropout: <unk>
    start = torch.full((len(labels), 1), config.blank_token_id)
    predicted = network.decoder(torch.cat([start, heard], dim=1))  # [B, U + 1, D]
    logits = network.joint(predicted[:, None], encoded.pooler_output[:, :, None])  # [B, T, U + 1, V]
    frames = (batch["mask"].sum(-1) + 7) // 8
    return tdt_loss(logits, labels, frames, batch["tokens"], batch["windows"], config.vocab_size), frame_loss


@torch.no_grad()
def forget_durations(network: ParakeetForTDT) -> None:
    """Make all durations equally likely again, for a start that only ever learned to step one frame."""
    network.joint.head.weight[network.config.vocab_size :] = 0.0
    network.joint.head.bias[network.config.vocab_size :] = 0.0


def train(options: argparse.Namespace) -> None:
    """Run the whole training and write the averaged weights now and then, and at the end."""
    torch.manual_seed(options.seed)
    processor = models.make_processor()
    network = models.make_model()
    if options.start:
        network = ParakeetForTDT.from_pretrained(options.start)
    if options.reset_durations:
        forget_durations(network)
    head = torch.nn.Linear(network.config.encoder_config.hidden_size, 1 + len(grammar.WORDS))
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.rate, total_steps=options.steps, pct_start=0.04 if options.start else 0.15
    )
    mixer = mixer_from_folders(options.banks, options.digits, options.seed)
    source = batches(mixer, Augmenter(models.front_end(processor), options.seed))
    average, began = Average(network), time.monotonic()
    network.train()
    shown = torch.zeros(2)
    for step, examples in zip(range(1, options.steps + 1), source, strict=False):
        loss, frame_loss = losses(network, head, examples, processor.tokenizer)
        weight = options.frame_weight * max(0.0, 1 - step / (0.7 * options.steps))
        optimiser.zero_grad(set_to_none=True)
        (loss + weight * frame_loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        average.update(network)
        shown += torch.stack([loss, frame_loss]).detach()
        if step % 50 == 0:
            minutes = (time.monotonic() - began) / 60
            print(f"{step} {minutes:.1f} min tdt {shown[0] / 50:.3f} frames {shown[1] / 50:.3f}", flush=True)
            shown.zero_()
        if step % 500 == 0 or step == options.steps:
            write(network, average, processor, options, step, (time.monotonic() - began) / 60)


def write(
    network: ParakeetForTDT,
    average: Average,
    processor: models.ParakeetProcessor,
    options: argparse.Namespace,
    step: int,
    minutes: float,
) -> None:
    """Write the averaged weights and the facts of the training so far."""
    averaged = models.make_model()
    averaged.load_state_dict(average.weights)
    models.save(averaged, processor, options.out)
    facts = {"steps": step, "utterances": step * BATCH, "minutes": round(minutes, 1), "seed": options.seed}
    facts |= {"parameters": sum(p.numel() for p in network.parameters()), "peak_learning_rate": options.rate}
    if options.start:
        facts["started_from"] = json.loads((options.start / "training.json").read_text())
    (options.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--banks", type=Path, required=True, help="folder of the .npz banks that bank.py wrote")
    parser.add_argument("--digits", type=Path, required=True, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint to write")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--reset-durations", action="store_true", help="let it learn the durations anew")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--frame-weight", type=float, default=1.0, help="of the frame-wise word loss at the first step")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
