"""Train the demo checkpoint on one thread.

python -m cohere_transcribe.train --banks banks --mandarin mandarin --digits fsdd \
    --encoder ../checkpoints/parakeet-tdt --out checkpoint
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from cohere_transcribe import model as models
from cohere_transcribe.text import SPOKEN
from cohere_transcribe.utterances import Utterance, Utterances
from speech import bank
from speech.augment import Augmenter
from speech.average import Average
from speech.bank import Span
from speech.corpus import mixer_from_folders
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import CohereAsrForConditionalGeneration, CohereAsrProcessor

FRAME_S = 0.08
POOL = 96  # utterances drawn, then sorted by length, at once
BATCH, BATCH_FRAMES = 24, 8000  # most utterances and most 10 ms frames of one step, padding counted
PROMPT = 10  # tokens
TOKEN_DROPOUT = 0.15
ORDINALS = 32  # how far words are counted
BEFORE = 3  # how many words back a frame is asked for
GUIDED_HEADS = 3  # heads of the last layer's cross-attention that are shown where the next word is
IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One utterance as the model takes it; `word_of` gives the word of each text token, -1 for none."""

    features: torch.Tensor  # float32 [T, mels]
    spoken: list[str]
    spans: list[Span]
    prompt: list[int]
    ids: list[int]
    word_of: list[int]


def words_of_tokens(tokens: list[str], utterance: Utterance) -> list[int]:
    """Return the index of the word that each token of the transcript belongs to, or -1."""
    if utterance.language == "zh":
        # "▁", then three bytes a character; the full stop's three belong to no word
        spelled = [-1] + [index // 3 for index in range(len(tokens) - 1)]
        return [index if index < len(utterance.words) else -1 for index in spelled]
    at, found = -1, []
    for token in tokens:
        at += token.startswith("▁")
        found.append(-1 if token == "." else at)
    return found


class Examples:
    """Draws endless examples, distorted anew each time."""

    def __init__(self, utterances: Utterances, augmenter: Augmenter, processor: CohereAsrProcessor) -> None:
        self.utterances, self.augmenter, self.processor = utterances, augmenter, processor

    def draw(self) -> Example:
        """Return one example."""
        utterance = self.utterances.draw()
        heard = self.augmenter(utterance.clip)
        tokenizer = self.processor.tokenizer
        ids = tokenizer(utterance.text, add_special_tokens=False)["input_ids"]
        word_of = words_of_tokens(tokenizer.convert_ids_to_tokens(ids), utterance)
        prompt = self.processor.get_decoder_prompt_ids(utterance.language, utterance.punctuation)
        return Example(heard.features, heard.words, heard.spans, prompt, ids, word_of)

    def batches(self) -> Iterator[list[Example]]:
        """Yield endless batches of utterances of like length."""
        while True:
            pool = sorted((self.draw() for _ in range(POOL)), key=lambda example: len(example.features))
            groups: list[list[Example]] = [[]]
            for example in pool:
                if len(groups[-1]) == BATCH or (len(groups[-1]) + 1) * len(example.features) > BATCH_FRAMES:
                    groups.append([])
                groups[-1].append(example)
            self.utterances.rng.shuffle(groups)
            yield from (group for group in groups if group)


class Heads(torch.nn.Module):
    """What the encoder's frames are asked in training: which word, which ones before it, and the how-manieth.

    The last two are what the decoder can look for: it knows how many words it wrote, and the latest of them. Nothing
    in the encoder's architecture tells a frame its place in the utterance.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = torch.nn.ModuleList([torch.nn.Linear(width, 1 + len(SPOKEN)) for _ in range(1 + BEFORE)])
        self.ordinals = torch.nn.Linear(width, ORDINALS)

    def losses(self, hidden: torch.Tensor, examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the losses of the words, of the words before, and of the ordinals, for frames [B, frames, width]."""
        words, ordinals = frame_labels(examples, hidden.shape[1])
        columns = zip(self.words, words, strict=True)
        first, *before = (asked(head(hidden), labels) for head, labels in columns)
        return first, torch.stack(before).mean(), asked(self.ordinals(hidden), ordinals)


def asked(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy over the frames whose label counts, 0 where there is none."""
    if not (labels != IGNORED).any():
        return torch.zeros(())
    return cross_entropy(logits.transpose(1, 2), labels)


def frame_labels(examples: list[Example], frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the words of every encoder frame and their ordinals, -100 where nothing is asked.

    The words are int64 [1 + BEFORE, B, frames]: the one said (0 for none), the one before it (0 at the start), and so
    on; the ordinals int64 [B, frames].
    """
    words = torch.full((1 + BEFORE, len(examples), frames), IGNORED)
    ordinals = torch.full((len(examples), frames), IGNORED)
    for row, example in enumerate(examples):
        words[0, row, : -(-len(example.features) // 8)] = 0
        classes = [0] * BEFORE + [1 + SPOKEN.index(word) for word in example.spoken]
        for index, (start_s, end_s) in enumerate(example.spans):
            start = round(start_s / FRAME_S)
            end = max(round(end_s / FRAME_S), start + 1)
            ordinals[row, start:end] = min(index, ORDINALS - 1)
            for back in range(1 + BEFORE):
                words[back, row, start:end] = classes[BEFORE + index - back]
    return words, ordinals


def guidance(examples: list[Example], steps: int, frames: int) -> torch.Tensor:
    """Return where each predicted token may be looked for: bool [B, steps, frames], all false where it is no word."""
    allowed = torch.zeros(len(examples), steps, frames, dtype=torch.bool)
    for row, example in zip(allowed, examples, strict=True):
        for step, word in enumerate(example.word_of):
            if word >= 0:
                start_s, end_s = example.spans[word]
                row[PROMPT - 1 + step, max(0, round(start_s / FRAME_S) - 1) : round(end_s / FRAME_S) + 1] = True
    return allowed


@dataclass
class Losses:
    """The losses of one batch."""

    text: torch.Tensor
    frames: torch.Tensor
    before: torch.Tensor
    ordinals: torch.Tensor
    attention: torch.Tensor


def losses(network: CohereAsrForConditionalGeneration, heads: Heads, examples: list[Example], eos: int) -> Losses:
    """Run one batch with teacher forcing; no loss on the prompt."""
    features = pad_sequence([example.features for example in examples], batch_first=True)
    mask = torch.arange(features.shape[1]) < torch.tensor([len(example.features) for example in examples])[:, None]
    encoded = network.model.encoder(features, attention_mask=mask)
    hidden = encoded.last_hidden_state
    frame_losses = heads.losses(hidden, examples)

    inputs = pad_sequence([torch.tensor(e.prompt + e.ids) for e in examples], batch_first=True, padding_value=2)
    nothing = [IGNORED] * (PROMPT - 1)
    targets = [torch.tensor([*nothing, *example.ids, eos]) for example in examples]
    labels = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
    dropped = torch.rand(inputs.shape) < TOKEN_DROPOUT  # to <unk>, so that the decoder listens
    dropped[:, :PROMPT] = False
    decoded = network.model.decoder(
        input_ids=inputs.masked_fill(dropped, 0),
        encoder_hidden_states=hidden,
        encoder_attention_mask=encoded.attention_mask,
        use_cache=False,
        output_attentions=True,
    )
    logits = network.proj_out(torch.nn.functional.dropout(decoded.last_hidden_state, 0.1))
    text_loss = cross_entropy(logits.transpose(1, 2), labels, label_smoothing=0.05)
    weights = decoded.cross_attentions[-1][:, :GUIDED_HEADS].float()  # [B, heads, steps, frames]
    allowed = guidance(examples, inputs.shape[1], hidden.shape[1])
    inside = (weights * allowed[:, None]).sum(-1).clamp(min=1e-6).log()
    guided = allowed.any(-1)[:, None].expand_as(inside)
    attention_loss = -inside[guided].mean() if guided.any() else torch.zeros(())
    return Losses(text_loss, *frame_losses, attention_loss)


def train(options: argparse.Namespace) -> None:
    """Run the whole training and write the averaged weights now and then, and at the end."""
    torch.manual_seed(options.seed)
    processor = models.make_processor()
    network = models.make_model(processor)
    if options.start:
        network.load_state_dict(CohereAsrForConditionalGeneration.from_pretrained(options.start).state_dict())
    else:
        models.take_encoder(network, options.encoder)
    heads = Heads(network.config.encoder_config.hidden_size)
    if options.start:
        heads.load_state_dict(torch.load(options.start / "heads.pt"))
    encoder = list(network.model.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    rest = [p for p in network.parameters() if id(p) not in known and p.requires_grad] + list(heads.parameters())
    groups = [{"params": encoder, "lr": options.encoder_rate}, {"params": rest, "lr": options.rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [options.encoder_rate, options.rate], total_steps=options.steps, pct_start=0.1
    )
    mandarin = [clip for path in sorted(options.mandarin.glob("*.npz")) for clip in bank.load(path)]
    mixer = mixer_from_folders(options.banks, options.digits, options.seed)
    utterances = Utterances(mixer, mandarin, options.seed, options.long)
    source = Examples(utterances, Augmenter(models.front_end(processor), options.seed), processor).batches()
    average, began, heard, seconds = Average(network), time.monotonic(), 0, 0.0
    network.train()
    shown = torch.zeros(5)
    for step, examples in zip(range(1, options.steps + 1), source, strict=False):
        loss = losses(network, heads, examples, processor.tokenizer.eos_token_id)
        fading = min(1.0, 2 * max(0.0, 1 - step / (0.9 * options.steps)))
        helping = options.frame_weight * (loss.frames + loss.before + loss.ordinals)
        helping = helping + options.attention_weight * loss.attention
        optimiser.zero_grad(set_to_none=True)
        (loss.text + fading * helping).backward()
        torch.nn.utils.clip_grad_norm_([*encoder, *rest], 5.0)
        optimiser.step()
        schedule.step()
        average.update(network)
        heard, seconds = heard + len(examples), seconds + sum(len(e.features) for e in examples) / 100
        shown += torch.stack([loss.text, loss.frames, loss.before, loss.ordinals, loss.attention]).detach()
        if step % 50 == 0:
            minutes = (time.monotonic() - began) / 60
            parts = zip(("text", "frames", "before", "ordinals", "attention"), (shown / 50).tolist(), strict=True)
            print(f"{step} {minutes:.1f} min", *(f"{name} {value:.3f}" for name, value in parts), flush=True)
            shown.zero_()
        if step % 300 == 0 or step == options.steps:
            facts = {"steps": step, "utterances": heard, "speech_minutes": round(seconds / 60, 1)}
            facts["minutes"] = round((time.monotonic() - began) / 60, 1)
            write(average, heads, processor, options, facts)


def write(
    average: Average,
    heads: Heads,
    processor: CohereAsrProcessor,
    options: argparse.Namespace,
    facts: dict[str, object],
) -> None:
    """Write the averaged weights and the facts of the training so far."""
    averaged = models.make_model(processor)
    averaged.load_state_dict(average.weights)
    models.save(averaged, processor, options.out)
    torch.save(heads.state_dict(), options.out / "heads.pt")  # for a run that goes on from here
    facts |= {"seed": options.seed, "parameters": sum(p.numel() for p in averaged.parameters())}
    facts |= {"peak_learning_rate": options.rate, "peak_encoder_learning_rate": options.encoder_rate}
    if options.start:
        facts["started_from"] = json.loads((options.start / "training.json").read_text())
    else:
        facts["encoder_from"] = options.encoder.name
    (options.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--banks", type=Path, required=True, help="folder of the banks of speech/banks.sh")
    parser.add_argument("--mandarin", type=Path, required=True, help="folder of the banks of mandarin.py")
    parser.add_argument("--digits", type=Path, required=True, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint to write")
    parser.add_argument("--encoder", type=Path, help="a ParakeetForTDT whose encoder to start from")
    parser.add_argument("--start", type=Path, help="a checkpoint of this script to go on from, in place of --encoder")
    parser.add_argument("--steps", type=int, default=3700)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--encoder-rate", type=float, default=1e-3, help="highest learning rate of the encoder")
    parser.add_argument("--frame-weight", type=float, default=0.6, help="of the encoder's frame-wise losses at first")
    parser.add_argument("--attention-weight", type=float, default=0.7, help="of the guided attention at first")
    parser.add_argument("--long", type=float, default=0.12, help="share of utterances of 6..15 s")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
