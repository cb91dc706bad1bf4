"""Train the codec: 80 ms of speech to 32 numbers and back.

python -m pocket_tts.codec --voices VOICES --out CODEC --steps 3000
"""

import argparse
import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from pocket_tts.model import make_codec
from pocket_tts.voices import FRAME_SAMPLES, RATE, VOICES
from speech import bank
from speech.average import Average
from speech.bank import Clip
from torch.nn.functional import pad
from transformers import PocketTTSAudioTokenizerModel
from transformers.audio_utils import mel_filter_bank

CROP_FRAMES, BATCH = 16, 4
WINDOWS = (256, 512, 1024, 2048)
SCALE = 2.0  # weight of the distance from unit scale
FLOOR = 2e-5  # magnitudes below are silence to the logarithm


def spectra(samples: torch.Tensor, window: int) -> torch.Tensor:
    """Return magnitudes [B, bins, frames] of samples [B, N], of a unit sine about 1/2."""
    hann = torch.hann_window(window)
    transform = torch.stft(samples, window, window // 4, window=hann, center=True, return_complex=True)
    return torch.view_as_real(transform).square().sum(-1).add(1e-12).sqrt() * (2 / window)


@cache
def mel_bands(window: int) -> torch.Tensor:
    """Return the mel filters [bands, bins] for spectra of a window."""
    bands = min(window // 16, 80)
    filters = mel_filter_bank(window // 2 + 1, bands, 0.0, RATE / 2, RATE, norm=None, mel_scale="htk")  # [bins, bands]
    return torch.from_numpy(filters.T.copy()).float()


def log_distance(made: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute distance of the logarithms of magnitudes."""
    return ((made + FLOOR).log() - (target + FLOOR).log()).abs().mean()


def reconstruction(made: torch.Tensor, target: torch.Tensor, waveform_weight: float) -> torch.Tensor:
    """Return the distance of two batches of waveforms [B, N]: spectra at four resolutions, their mels, samples."""
    loss = waveform_weight * (made - target).abs().mean() / target.abs().mean()
    for window in WINDOWS:
        a, b, bands = spectra(made, window), spectra(target, window), mel_bands(window)
        loss = loss + (a - b).abs().mean() / b.mean()
        loss = loss + 0.5 * log_distance(a, b) + log_distance(bands @ a, bands @ b)
    return loss


def unit_scale(latents: torch.Tensor) -> torch.Tensor:
    """Return how far latents [B, T, D] are from mean 0 and standard deviation 1."""
    flat = latents.flatten(0, 1)
    return flat.mean(0).square().mean() + (flat.var(0) - 1).square().mean()


def crops(clips: list[Clip], rng: np.random.Generator) -> torch.Tensor:
    """Draw a batch of crops [B, N] that begin where a frame does; one in four begins with its utterance."""
    rows = []
    for index in rng.integers(len(clips), size=BATCH):
        samples = clips[index].samples
        spare = max(len(samples) // FRAME_SAMPLES - CROP_FRAMES + 1, 0)
        start = 0 if rng.random() < 0.25 else rng.integers(spare + 1) * FRAME_SAMPLES
        cut = torch.from_numpy(samples[start : start + CROP_FRAMES * FRAME_SAMPLES])
        rows.append(pad(cut, (0, CROP_FRAMES * FRAME_SAMPLES - len(cut))))
    return torch.stack(rows)


def noisy(latents: torch.Tensor, most: float) -> torch.Tensor:
    """Put noise on latents [B, T, D], so that the decoder forgives; its strength, up to `most`, differs by row."""
    return latents + torch.rand(len(latents), 1, 1) * most * torch.randn_like(latents)


def start_from(folder: Path | None) -> PocketTTSAudioTokenizerModel:
    """Return an untrained codec, or a trained one to go on from."""
    return PocketTTSAudioTokenizerModel.from_pretrained(folder) if folder else make_codec()


def train(options: argparse.Namespace) -> None:
    """Run the training and write the averaged weights now and then, and at the end."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    clips = [clip for name in VOICES for clip in bank.load(options.voices / f"{name}_train.npz")]
    codec = start_from(options.start)
    trained = list(codec.parameters())
    if options.decoder_only:
        codec.encoder.requires_grad_(False)
        trained = [*codec.decoder.parameters(), *codec.latent_proj.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=options.rate, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.06)
    average, began, shown = Average(codec), time.monotonic(), torch.zeros(2)
    codec.train()
    for step in range(1, options.steps + 1):
        target = crops(clips, rng)
        with torch.set_grad_enabled(not options.decoder_only):
            latents = codec.encode(target[:, None]).latents
        made = codec.decode(noisy(latents, options.noise)).audio_values[:, 0]
        loss, scale = reconstruction(made, target, options.waveform), unit_scale(latents)
        optimiser.zero_grad(set_to_none=True)
        (loss + SCALE * scale).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        average.update(codec)
        shown += torch.stack([loss, scale]).detach()
        if step % 50 == 0:
            minutes = (time.monotonic() - began) / 60
            print(f"{step} {minutes:.1f} min loss {shown[0] / 50:.3f} scale {shown[1] / 50:.3f}", flush=True)
            shown.zero_()
        if step % 200 == 0 or step == options.steps:
            write(average, options, step, (time.monotonic() - began) / 60)


def write(average: Average, options: argparse.Namespace, step: int, minutes: float) -> None:
    """Write the averaged weights and the facts of the training so far."""
    averaged = make_codec()
    averaged.load_state_dict(average.weights)
    averaged.save_pretrained(options.out)
    facts = {"steps": step, "seconds_a_step": BATCH * CROP_FRAMES * 0.08, "minutes": round(minutes, 1)}
    facts |= {"seed": options.seed, "peak_learning_rate": options.rate, "waveform_weight": options.waveform}
    facts |= {"noise": options.noise, "decoder_only": options.decoder_only}
    if options.start:
        facts["started_from"] = json.loads((options.start / "training.json").read_text())
    (options.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--voices", type=Path, required=True, help="folder that voices.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the codec to write")
    parser.add_argument("--start", type=Path, help="a codec to go on from")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder as it is")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--waveform", type=float, default=0.5, help="weight of the distance of the samples")
    parser.add_argument("--noise", type=float, default=0.2, help="most noise on the latents, of about unit scale")
    parser.add_argument("--rate", type=float, default=8e-4, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
