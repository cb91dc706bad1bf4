"""Kyutai's side of the oracle, run by the python of build/oracles/kyutai: imports pocket-tts and nothing of ours.

Usage: kyutai_side.py FOLDER. FOLDER/job.json says what to do; results are written beside it.
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import yaml
from pocket_tts import TTSModel
from pocket_tts.data.audio_utils import convert_audio
from pocket_tts.models.mimi import build_mimi
from pocket_tts.models.model_state import export_model_state
from pocket_tts.models.text_chunking import prepare_text_prompt, split_into_best_sentences
from pocket_tts.modules.stateful_module import init_states
from pocket_tts.utils.config import CONFIGS_DIR, Config


class Given:
    """Noise of ours in the place of torch's, a row for each frame; what the model saw is kept.

    The flow samples at the end of voice and text too, where nothing of it is used: those calls get zeros.
    """

    def __init__(self, model):
        self.model, self.rows, self.logits, self.latents = model, iter(()), [], []
        self._forward, self._eos = model.flow_lm.forward, model.flow_lm.out_eos.forward
        model.flow_lm.forward, model.flow_lm.out_eos.forward = self.forward, self.eos

    def forward(self, sequence, **arguments):
        self.is_frame = sequence.shape[1] > 0
        latent, is_eos = self._forward(sequence=sequence, **arguments)
        if self.is_frame:
            self.latents[-1].append(latent[0].numpy())
        return latent, is_eos

    def eos(self, hidden):
        logit = self._eos(hidden)
        if self.is_frame:
            self.logits[-1].append(logit.item())
        return logit

    def normal(self, tensor, mean, std):
        return tensor.copy_(torch.from_numpy(next(self.rows))) if self.is_frame else tensor.zero_()

    def begin(self, noise):
        self.rows = iter(noise)
        self.logits.append([])
        self.latents.append([])


def state_of(model, folder, voice):
    """The state of a voice: from latents, samples, an embedding that is projected already, or a file."""
    if voice["kind"] == "file":
        return model.get_state_for_audio_prompt(Path(folder / voice["file"]))
    values = torch.from_numpy(np.load(folder / voice["file"]))
    if voice["kind"] == "samples":
        return model.get_state_for_audio_prompt(values[None])
    prompt = values[None]
    if voice["kind"] == "latents":
        prompt = torch.nn.functional.linear(prompt, model.flow_lm.speaker_proj_weight)
    if model.flow_lm.insert_bos_before_voice:
        prompt = torch.cat([model.flow_lm.bos_before_voice, prompt], dim=1)
    state = init_states(model.flow_lm, batch_size=1, sequence_length=prompt.shape[1])
    model._run_flow_lm_and_increment_step(model_state=state, audio_conditioning=prompt)
    return state


@torch.no_grad()
def speak(folder, job):
    """Every voice says every text."""
    model = TTSModel.load_model(config=job["yaml"])
    given, found = Given(model), {}
    given.is_frame = False
    with patch("torch.nn.init.normal_", given.normal):
        say_all(folder, job, model, given, found)
    np.savez(folder / f"{job['name']}.npz", **found)
    return model


def say_all(folder, job, model, given, found):
    chunks_of = model._generate_audio_stream_short_text
    for voice in job["voices"]:
        state = state_of(model, folder, voice)
        export_model_state(state, folder / f"{job['name']}-{voice['name']}.safetensors")
        for number, text in enumerate(job["texts"]):
            noise, said = np.load(folder / job["noise"]), []

            def one(said=said, noise=noise, **arguments):
                given.begin(noise[len(said)])
                said.append(torch.cat(list(chunks_of(**arguments))).numpy())
                yield torch.from_numpy(said[-1])

            model._generate_audio_stream_short_text = one
            given.logits.clear()
            given.latents.clear()
            for _ in model.generate_audio_stream(state, text):
                pass
            for chunk, audio in enumerate(said):
                name = f"{voice['name']}/{number}/{chunk}"
                # The frame behind the last is computed, and thrown away.
                frames = len(audio) // int(model.sample_rate / model.config.mimi.frame_rate)
                found[f"{name}/audio"] = audio
                found[f"{name}/latents"] = np.stack(given.latents[chunk])[:frames]
                found[f"{name}/logits"] = np.array(given.logits[chunk][:frames], np.float32)


def prepare(folder, job, tokenizer):
    """Texts prepared with several switches, and cut into chunks."""
    found = {}
    for name, switches in job["switches"].items():
        rows = []
        for text in job["texts"]:
            try:
                prepared, guess = prepare_text_prompt(text, **switches)
                rows.append(
                    {
                        "text": prepared,
                        "frames": guess + 1,
                        "chunks": split_into_best_sentences(tokenizer, text, 50, **switches),
                    }
                )
            except ValueError:
                rows.append(None)
        found[name] = rows
    (folder / "prepared.json").write_text(json.dumps(found))


def list_tensors(folder, job):
    """Names and shapes of what Kyutai's own classes hold in the published sizes; no memory is taken for them."""
    found = {}
    for name in job["languages"]:
        content = yaml.safe_load((CONFIGS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
        content["flow_lm"]["lookup_table"]["tokenizer_path"] = job["tokenizer"]
        content["flow_lm"]["lookup_table"]["tokenizer"] = "tokenizers"
        config = Config(**content)
        with torch.device("meta"):
            model = TTSModel._from_pydantic_config(config, 0.3, 1, None, -4.0, None)
            voice = config.mimi.inner_dim or config.mimi.seanet.dimension
            model.flow_lm.speaker_proj_weight = torch.nn.Parameter(torch.zeros(model.flow_lm.dim, voice))
            model.mimi = build_mimi(config.mimi)
        found[name] = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    (folder / "tensors.json").write_text(json.dumps(found))


@torch.no_grad()
def resample(folder, job, model):
    """A recording of another rate, resampled and encoded."""
    found = {}
    for name in job["names"]:
        wav = torch.from_numpy(np.load(folder / f"{name}.npy"))[None]
        samples = convert_audio(wav, job["rate"], model.sample_rate, 1)
        found[f"{name}/samples"] = samples[0].numpy()
        found[f"{name}/latents"] = model.mimi.encode_to_latent(samples[None])[0].numpy()
    np.savez(folder / "resampled.npz", **found)


def main(folder):
    job = json.loads((folder / "job.json").read_text())
    models = [speak(folder, one) for one in job["models"]]
    prepare(folder, job["prepare"], models[0].flow_lm.conditioner.tokenizer)
    resample(folder, job["resample"], models[0])
    list_tensors(folder, job["tensors"])


main(Path(sys.argv[1]))
