"""What the pipeline's tests run on: a bundle of host files alone, and a runtime of the real class's modules."""

import shutil
from collections.abc import Callable

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import ParakeetFeatureExtractor, ParakeetForTDT

from models.parakeet_tdt import MODEL
from tests.models.bundles import bundle_without_packages
from tests.models.parakeet_tdt.tiny import DEMO
from toolkit.component import Component, Runtime
from toolkit.spec import TensorInfo

COMPONENTS = ("encoder", "prediction", "joint", "joint_decision", "decoder_step")


def host_constants(model, mel_frames=(101, 301, 501), overlap_s=1.0):
    config, encoder = model.config, model.config.encoder_config
    factor = encoder.subsampling_factor
    return {
        "sample_rate": 16000,
        "mel": {
            "n_fft": 512,
            "win_length": 400,
            "hop_length": 160,
            "n_mels": encoder.num_mel_bins,
            "preemphasis": 0.97,
            "log_guard": 2**-24,
            "eps": 1e-5,
        },
        "subsampling_factor": factor,
        "frame_s": factor * 0.01,
        "blank_id": config.blank_token_id,
        "start_id": config.blank_token_id,
        "vocabulary_size": config.vocab_size,
        "hidden_size": config.decoder_hidden_size,
        "num_layers": config.num_decoder_layers,
        "encoder_windows": [
            {"function": f"audio_{frames}", "mel_frames": frames, "encoder_frames": -(-frames // factor)}
            for frames in mel_frames
        ],
        "window_overlap_s": overlap_s,
        "max_symbols_per_step": config.max_symbols_per_step,
        "special_ids": sorted({0, 1, 2, config.blank_token_id}),
    }


def host_bundle(folder, host, components=COMPONENTS):
    """A bundle with the host's files and no packages."""
    extractor = ParakeetFeatureExtractor(feature_size=host["mel"].get("n_mels", 80))
    window = torch.hann_window(host["mel"].get("win_length", 400), periodic=False).numpy()
    save_file({"mel_filters": extractor.mel_filters.numpy(), "window": window}, folder / "features.safetensors")
    shutil.copy(DEMO / "tokenizer.json", folder)
    assets = ("features.safetensors", "tokenizer.json")
    return bundle_without_packages(folder, MODEL, host, components, assets)


class FunctionComponent(Component):
    """A component that is a Python function over arrays."""

    def __init__(self, name, function_name, inputs, outputs, function: Callable[..., tuple[np.ndarray, ...]]):
        self.name, self.function, self.states = name, function_name, {}
        self.inputs, self.outputs = inputs, outputs
        self._function = function

    def make_state(self):
        return None

    def _predict(self, inputs, state):
        return dict(zip(self.outputs, self._function(**inputs), strict=True))


class ReferenceRuntime(Runtime):
    """The components' contract, met by the real class's encoder, decoder and joint."""

    name = "reference"

    def __init__(self, model: ParakeetForTDT, host):
        self.model, self.host, self.calls = model, host, []

    def load(self, component, function="main"):
        return getattr(self, f"_{component}")(function)

    def _encoder(self, function):
        window = next(w for w in self.host["encoder_windows"] if w["function"] == function)
        frames, mels, width = window["mel_frames"], self.host["mel"]["n_mels"], self.host["hidden_size"]

        def encode(mel, length):
            self.calls.append((function, int(length[0])))
            mask = torch.arange(frames)[None] < int(length[0])
            with torch.no_grad():
                encoded = self.model.get_audio_features(torch.from_numpy(mel), attention_mask=mask)
            count = -(-int(length[0]) // self.host["subsampling_factor"])
            return encoded.pooler_output.numpy(), np.array([count], np.int32)

        inputs = {"mel": f32(1, frames, mels), "length": i32(1)}
        outputs = {"encoder": f32(1, window["encoder_frames"], width), "encoder_length": i32(1)}
        return FunctionComponent("encoder", function, inputs, outputs, encode)

    def _prediction(self, function):
        states = {"hidden_out": self._lstm, "cell_out": self._lstm}
        outputs = {"prediction": self._vector, **states}
        return FunctionComponent("prediction", function, self._token_inputs, outputs, self._predict)

    def _joint(self, function):
        host = self.host
        inputs = {"encoder_frame": self._vector, "prediction": self._vector}
        outputs = {
            "token_logits": f32(1, 1, host["vocabulary_size"]),
            "duration_logits": f32(1, 1, len(self.model.config.durations)),
        }
        return FunctionComponent("joint", function, inputs, outputs, self._join)

    def _joint_decision(self, function):
        inputs = {"encoder_frame": self._vector, "prediction": self._vector}
        return FunctionComponent("joint_decision", function, inputs, DECISION, self._decide)

    def _decoder_step(self, function):
        def step(token, hidden_in, cell_in, encoder_frame):
            prediction, hidden, cell = self._predict(token, hidden_in, cell_in)
            return *self._decide(encoder_frame, prediction), hidden, cell

        inputs = {**self._token_inputs, "encoder_frame": self._vector}
        outputs = {**DECISION, "hidden_out": self._lstm, "cell_out": self._lstm}
        return FunctionComponent("decoder_step", function, inputs, outputs, step)

    @property
    def _vector(self):
        return f32(1, 1, self.host["hidden_size"])

    @property
    def _lstm(self):
        return f32(self.host["num_layers"], 1, self.host["hidden_size"])

    @property
    def _token_inputs(self):
        return {"token": i32(1, 1), "hidden_in": self._lstm, "cell_in": self._lstm}

    def _predict(self, token, hidden_in, cell_in):
        decoder = self.model.decoder
        with torch.no_grad():
            embedded = decoder.embedding(torch.from_numpy(token).long())
            output, states = decoder.lstm(embedded, (torch.from_numpy(hidden_in), torch.from_numpy(cell_in)))
            return decoder.decoder_projector(output).numpy(), states[0].numpy(), states[1].numpy()

    def _join(self, encoder_frame, prediction):
        with torch.no_grad():
            logits = self.model.joint(
                encoder_hidden_states=torch.from_numpy(encoder_frame),
                decoder_hidden_states=torch.from_numpy(prediction),
            ).numpy()
        return logits[..., : self.host["vocabulary_size"]], logits[..., self.host["vocabulary_size"] :]

    def _decide(self, encoder_frame, prediction):
        tokens, durations = (logits[0] for logits in self._join(encoder_frame, prediction))
        token = tokens.argmax(-1).astype(np.int32)[None]
        probability = torch.from_numpy(tokens).softmax(-1).max(-1).values.numpy()[None]
        frames = durations.argmax(-1).astype(np.int32)[None]
        return token, probability, frames


def f32(*shape):
    return TensorInfo("float32", shape)


def i32(*shape):
    return TensorInfo("int32", shape)


DECISION = {"token_id": i32(1, 1), "token_probability": f32(1, 1), "duration": i32(1, 1)}
