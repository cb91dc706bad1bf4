"""Measure a checkpoint through plain `generate` and `decode`, with the demo recogniser; write metrics.json.

python -m pocket_tts.evaluate --checkpoint OUT --voices VOICES --recogniser ../checkpoints/parakeet-tdt
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from parakeet_tdt.evaluate import word_errors
from pocket_tts import model as models
from pocket_tts.codec import spectra
from pocket_tts.voices import FRAME_SAMPLES, RATE, VOICES, bare
from safetensors.torch import load_file
from speech import bank
from speech.bank import Clip
from transformers import AutoProcessor, ParakeetForTDT, PocketTTSForConditionalGeneration, PocketTTSProcessor

SILENCE_S = 0.1  # put around what the recogniser hears
MELS = 80


@dataclass(frozen=True)
class Speech:
    """Waveforms at 24 kHz and whether each ended by itself."""

    waveforms: list[np.ndarray]
    ended: list[bool]


class Recogniser:
    """The demo recogniser: words of waveforms at 24 kHz."""

    def __init__(self, folder: Path) -> None:
        self.model = ParakeetForTDT.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def __call__(self, waveforms: list[np.ndarray], batch: int = 8) -> list[list[str]]:
        """Return the words heard in each waveform."""
        heard, rate = [], self.processor.feature_extractor.sampling_rate
        quiet = int(SILENCE_S * rate)
        samples = [np.pad(bank.leveled(soxr.resample(wave, RATE, rate)), quiet) for wave in waveforms]
        for at in range(0, len(samples), batch):
            out = self.model.generate(**self.processor(samples[at : at + batch], sampling_rate=rate))
            texts = self.processor.batch_decode(out.sequences, skip_special_tokens=True)
            heard += [text.split() for text in texts]
        return heard


def error_percent(clips: list[Clip], heard: list[list[str]]) -> float:
    """Return the word error rate in percent."""
    errors = sum(word_errors(bare(clip.words), words) for clip, words in zip(clips, heard, strict=True))
    return round(100 * errors / sum(len(clip.words) for clip in clips), 1)


def speech(
    model: PocketTTSForConditionalGeneration,
    processor: PocketTTSProcessor,
    texts: list[str],
    voice: torch.Tensor,
    batch: int = 8,
    **settings: float,
) -> Speech:
    """Speak texts in one voice, in padded batches of like length."""
    waveforms: list[np.ndarray] = [np.zeros(0)] * len(texts)
    ended = [False] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        prompts = [models.rendered(processor, texts[row]) for row in rows]
        inputs = processor(text=prompts, audio_prompt_latents=[voice] * len(rows), return_tensors="pt", padding=True)
        out = model.generate(**inputs, output_scores=True, **settings)
        decoded = processor.decode(out.audio_latents, out.audio_latents_mask)
        logits = torch.stack(out.scores, dim=1)  # [B, T]
        threshold = settings.get("eos_threshold", model.generation_config.eos_threshold)
        first = model.generation_config.min_frames_before_eos
        for index, row in enumerate(rows):
            waveforms[row] = decoded[index].numpy()
            fired = (logits[index, first:] > threshold).nonzero()
            tail = int(inputs["frames_after_eos"][index])
            ended[row] = bool(len(fired)) and first + int(fired[0]) + tail < logits.shape[1]
    return Speech(waveforms, ended)


def round_trip(processor: PocketTTSProcessor, clip: Clip) -> np.ndarray:
    """Return a clip encoded and decoded, at its own length."""
    frames = -(-len(clip.samples) // FRAME_SAMPLES)
    padded = np.pad(clip.samples, (0, frames * FRAME_SAMPLES - len(clip.samples)))
    with torch.no_grad():
        latents = processor.audio_tokenizer.encode(torch.from_numpy(padded)[None, None]).latents[0]
    return processor.decode(latents).numpy()[: len(clip.samples)]


def log_spectral_error(made: np.ndarray, target: np.ndarray) -> float:
    """Return the mean absolute distance in dB of spectra (1024 samples), where the target is above -60 dB."""
    a, b = (spectra(torch.from_numpy(samples)[None].float(), 1024)[0] for samples in (made, target))
    counted = b > b.max() * 1e-3
    return float((20 * (a.clamp_min(1e-5).log10() - b.clamp_min(1e-5).log10())).abs()[counted].mean())


def signal_to_noise_db(made: np.ndarray, target: np.ndarray) -> float:
    """Return the ratio of the target's power to that of the difference, in dB."""
    return float(10 * np.log10(np.square(target).sum() / np.square(made - target).sum()))


def mean_of(distance: Callable[[np.ndarray, np.ndarray], float], made: list[np.ndarray], clips: list[Clip]) -> float:
    """Return the mean over utterances of a distance between what was made and what the engine spoke."""
    return round(float(np.mean([distance(a, clip.samples) for a, clip in zip(made, clips, strict=True)])), 1)


def measured(
    model: PocketTTSForConditionalGeneration,
    processor: PocketTTSProcessor,
    hear: Recogniser,
    clips: list[Clip],
    voice: torch.Tensor,
    seeds: range,
) -> dict[str, float]:
    """Return all figures of one voice on some texts."""
    trips = [round_trip(processor, clip) for clip in clips]
    facts: dict[str, float] = {
        "utterances": len(clips),
        "words": sum(len(clip.words) for clip in clips),
        "engine_wer_percent": error_percent(clips, hear([clip.samples for clip in clips])),
        "codec_wer_percent": error_percent(clips, hear(trips)),
        "codec_snr_db": mean_of(signal_to_noise_db, trips, clips),
        "codec_log_spectral_error_db": mean_of(log_spectral_error, trips, clips),
    }
    runs, lengths, unended = [], [], 0
    for seed in seeds:
        torch.manual_seed(seed)
        made = speech(model, processor, [" ".join(clip.words) for clip in clips], voice)
        runs.append(error_percent(clips, hear(made.waveforms)))
        lengths += [len(w) / len(c.samples) for w, c in zip(made.waveforms, clips, strict=True)]
        unended += made.ended.count(False)
    facts["wer_percent"] = round(float(np.mean(runs)), 1)
    facts |= {"wer_percent_of_each_seed": runs, "never_ended": unended, "spoken": len(lengths)}
    low, middle, high = np.percentile(lengths, (5, 50, 95))
    facts["length_to_engine_5_50_95_percentile"] = [round(float(part), 2) for part in (low, middle, high)]
    return facts


def main() -> None:
    """Measure one checkpoint and write its metrics.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--voices", type=Path, required=True, help="folder that voices.py wrote")
    parser.add_argument("--recogniser", type=Path, required=True, help="the demo checkpoint parakeet-tdt")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=1000, help="utterances of each set")
    parser.add_argument("--note", help="put into metrics.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, processor = models.load(options.checkpoint)
    hear = Recogniser(options.recogniser)
    scores = {}
    shipped = [name for name in VOICES if (options.checkpoint / "voices" / f"{name}.safetensors").exists()]
    for name in shipped:
        voice = load_file(options.checkpoint / "voices" / f"{name}.safetensors")["audio_prompt_latents"]
        for kind, label in (("held", "held-out texts"), ("long", "held-out texts, joined")):
            clips = bank.load(options.voices / f"{name}_{kind}.npz")[: options.most]
            scores[f"{name}, {label}"] = facts = measured(model, processor, hear, clips, voice, range(options.seeds))
            print(name, label, facts, flush=True)
    facts = {"speech": scores, "voices": {name: asdict(VOICES[name]) for name in shipped}}
    facts |= {"note": options.note} if options.note else {}
    facts["generation"] = {
        key: getattr(model.generation_config, key)
        for key in ("temperature", "num_flow_steps", "eos_threshold", "min_frames_before_eos")
    }
    parts = {"model": model, "audio_tokenizer": processor.audio_tokenizer}
    facts["parameters"] = {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()}
    facts["training"] = json.loads((options.checkpoint / "training.json").read_text())
    (options.checkpoint / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
