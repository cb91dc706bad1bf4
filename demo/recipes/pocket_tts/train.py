"""Train the text-to-latents model on the latents of a trained codec.

python -m pocket_tts.train --voices VOICES --codec CODEC --out OUT --steps 3000
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pocket_tts import model as models
from pocket_tts.guidance import guided_loss, lesson, word_loss
from pocket_tts.voices import FRAME_SAMPLES, RATE, VOICES, bare
from speech import bank, grammar
from speech.average import Average
from speech.bank import Clip, Span
from transformers import PocketTTSAudioTokenizerModel, PocketTTSForConditionalGeneration, PocketTTSProcessor

BATCH, POOL = 16, 8  # utterances a step; batches drawn, then sorted by length, at once
TAIL = 5  # most frames of silence behind an utterance
PROMPTS, PROMPT_S = 150, (0.8, 2.6)  # voice prompts of each voice; shortest and longest
SHIPPED_PROMPT_S = 2.4
VOICELESS = 0.05  # share of the utterances without a voice prompt; they are the default voice's


@dataclass(frozen=True)
class Utterance:
    """What is written and said, when, the latents [T + TAIL, D] of it and of TAIL frames of silence, whose voice."""

    text: str
    words: list[str]
    spans: list[Span]
    latents: torch.Tensor
    voice: str


@torch.no_grad()
def encoded(codec: PocketTTSAudioTokenizerModel, samples: np.ndarray, tail: int) -> torch.Tensor:
    """Return the latents [T + tail, D] of samples and of `tail` frames of silence behind them."""
    frames = -(-len(samples) // FRAME_SAMPLES) + tail
    padded = np.zeros(frames * FRAME_SAMPLES, np.float32)
    padded[: len(samples)] = samples
    return codec.encode(torch.from_numpy(padded)[None, None]).latents[0]


def prompt(processor: PocketTTSProcessor, clip: Clip, seconds: float) -> torch.Tensor:
    """Return the latents [T, D] of a voice prompt cut from a clip, as the processor makes them."""
    values = processor.feature_extractor(clip.samples[: int(seconds * RATE)], sampling_rate=RATE)
    with torch.no_grad():
        return processor.audio_tokenizer.encode(values["input_values"]).latents[0]


def shipped_prompt(processor: PocketTTSProcessor, clips: list[Clip]) -> torch.Tensor:
    """Return the latents of the prompt that ships: the utterance nearest to the wanted length, whole."""
    return prompt(processor, min(clips, key=lambda clip: abs(len(clip.samples) / RATE - SHIPPED_PROMPT_S)), 60.0)


def written(words: list[str], rng: random.Random) -> str:
    """Return the text of spoken words, now and then with other punctuation marks than most."""
    return " ".join(words).replace(",", rng.choice(",,,,,,;:")) + rng.choice(("", "", "", ".", "!", "?"))


class Source:
    """Draws endless batches for the processor from utterances and voice prompts."""

    def __init__(self, processor: PocketTTSProcessor, clips: dict[str, list[Clip]], seed: int) -> None:
        self.processor, self.rng = processor, random.Random(seed)
        codec = processor.audio_tokenizer
        self.prompts = {
            name: [prompt(processor, self.rng.choice(own), self.rng.uniform(*PROMPT_S)) for _ in range(PROMPTS)]
            for name, own in clips.items()
        }
        self.utterances = [
            Utterance(
                written(clip.words, self.rng), bare(clip.words), clip.spans, encoded(codec, clip.samples, TAIL), name
            )
            for name, own in clips.items()
            for clip in own
        ]

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation [D] of all latents."""
        latents = torch.cat([utterance.latents for utterance in self.utterances])
        return latents.mean(0), latents.std(0)

    def batch(self, utterances: list[Utterance]) -> dict[str, torch.Tensor]:
        """Return the model's inputs for some utterances."""
        texts, prompts, targets = [], [], []
        for utterance in utterances:
            voiced = utterance.voice != next(iter(VOICES)) or self.rng.random() >= VOICELESS
            texts.append(models.rendered(self.processor, utterance.text, voiced, target=True))
            if voiced:
                prompts.append(self.rng.choice(self.prompts[utterance.voice]))
            targets.append(utterance.latents[: len(utterance.latents) - self.rng.randrange(TAIL)])
        return self.processor(
            text=texts, audio_prompt_latents=prompts, labels=targets, return_tensors="pt", padding=True
        )

    def __iter__(self) -> Iterator[list[Utterance]]:
        """Yield endless groups of utterances of like length."""
        while True:
            pool = self.rng.sample(self.utterances, BATCH * POOL)
            pool.sort(key=lambda utterance: len(utterance.latents))
            starts = list(range(0, len(pool), BATCH))
            self.rng.shuffle(starts)
            for at in starts:
                yield pool[at : at + BATCH]


def disturb_history(network: PocketTTSForConditionalGeneration, strength: float) -> None:
    """Put noise on the latents that the backbone sees while it trains: when it speaks, it sees its own."""

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        (latents,) = inputs
        if not module.training or latents.ndim == 1:  # the latent of the beginning stays as it is
            return None
        return (latents + strength * torch.rand_like(latents[..., :1]) * torch.randn_like(latents),)

    network.model.audio_latent_proj.register_forward_pre_hook(hook)


def losses(
    network: PocketTTSForConditionalGeneration, head: torch.nn.Linear, source: Source, group: list[Utterance]
) -> torch.Tensor:
    """Return the loss of the class, that of the guided attention and that of the due words [3]."""
    batch = source.batch(group)
    out = network(**batch, output_attentions=True)
    shown = lesson(
        batch["input_ids"],
        [utterance.words for utterance in group],
        [utterance.spans for utterance in group],
        source.processor.tokenizer,
        network.config,
    )
    attention = guided_loss(shown, out.attentions)
    return torch.stack([out.loss, attention, word_loss(shown, out.last_hidden_state, head)])


def train(options: argparse.Namespace) -> None:
    """Run the training and write the averaged weights now and then, and at the end."""
    torch.manual_seed(options.seed)
    codec = PocketTTSAudioTokenizerModel.from_pretrained(options.codec).eval()
    processor = models.make_processor(codec)
    clips = {name: bank.load(options.voices / f"{name}_train.npz") for name in options.speakers}
    source = Source(processor, clips, options.seed)
    voices = {name: shipped_prompt(processor, own) for name, own in clips.items()}
    network = models.make_model()
    network.latent_mean[:], network.latent_std[:] = source.statistics()
    if options.start:
        network = PocketTTSForConditionalGeneration.from_pretrained(options.start)
    network.set_attn_implementation("eager")  # which tells the attention
    disturb_history(network, options.disturbance)
    head = torch.nn.Linear(network.config.hidden_size, len(grammar.WORDS))
    trained = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    average, began, shown = Average(network), time.monotonic(), torch.zeros(3)
    network.train()
    for step, group in zip(range(1, options.steps + 1), source, strict=False):
        parts = losses(network, head, source, group)
        optimiser.zero_grad(set_to_none=True)
        (parts[0] + options.guidance * (parts[1] + parts[2])).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        average.update(network)
        shown += parts.detach()
        if step % 50 == 0:
            means = " ".join(f"{part:.3f}" for part in (shown / 50).tolist())
            print(f"{step} {(time.monotonic() - began) / 60:.1f} min loss, attention, words {means}", flush=True)
            shown.zero_()
        if step % 200 == 0 or step == options.steps:
            averaged = models.make_model()
            averaged.load_state_dict(average.weights)
            models.save(averaged, codec, voices, options.out, options.temperature, options.eos_threshold)
            write_facts(options, step, (time.monotonic() - began) / 60)


def write_facts(options: argparse.Namespace, step: int, minutes: float) -> None:
    """Write how the training went so far."""
    facts = {"steps": step, "utterances": step * BATCH, "minutes": round(minutes, 1), "seed": options.seed}
    facts |= {"peak_learning_rate": options.rate, "disturbance": options.disturbance, "guidance": options.guidance}
    facts["speakers"] = options.speakers
    if options.start:
        facts["started_from"] = json.loads((options.start / "training.json").read_text())["model"]
    codec = json.loads((options.codec / "training.json").read_text())
    text = json.dumps({"model": facts, "codec": codec}, indent=2)
    (options.out / "training.json").write_text(text + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--voices", type=Path, required=True, help="folder that voices.py wrote")
    parser.add_argument("--codec", type=Path, required=True, help="folder that codec.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint to write")
    parser.add_argument("--speakers", nargs="+", choices=list(VOICES), default=[next(iter(VOICES))])
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--disturbance", type=float, default=0.4, help="noise on the latents that the backbone sees")
    parser.add_argument("--guidance", type=float, default=0.2, help="weight of the attention and of the due words")
    parser.add_argument("--temperature", type=float, default=0.3, help="to ship")
    parser.add_argument("--eos-threshold", type=float, default=-2.0, help="to ship")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
