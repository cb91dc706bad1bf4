"""Parakeet TDT on the host: mel, encoder windows, one greedy loop, text and times."""

from functools import cached_property
from typing import Literal, TypedDict

import numpy as np
from pydantic import Field

from toolkit.audio.nemo_mel import NemoMel, NemoMelParameters
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.host_constants import EncoderWindow, HostSchema, host_arrays, host_constants
from toolkit.component import Runtime
from toolkit.contract import Progress, Transcriber
from toolkit.errors import BundleError, OptionError, RuntimeFault
from toolkit.loops.fixed_windows import encode_mel, first_form, smallest_window
from toolkit.loops.timestamps import tokens_from_emissions, words_from_tokens
from toolkit.loops.transducer import DecisionStep, Decoded, Emission, FusedStep, SplitStep, Step, greedy
from toolkit.loops.windows import plan_windows
from toolkit.text.detokenise import Detokeniser
from toolkit.transcript import Transcript

StepForm = Literal["split", "decision", "fused"]

# What each form needs, fastest first.
STEP_COMPONENTS: dict[StepForm, tuple[str, ...]] = {
    "fused": ("decoder_step",),
    "decision": ("prediction", "joint_decision"),
    "split": ("prediction", "joint"),
}


class HostConstants(HostSchema):
    """Schema of `manifest.host` for this model; `vocabulary_size` counts the blank."""

    sample_rate: int = Field(gt=0)
    mel: NemoMelParameters
    subsampling_factor: int = Field(gt=0)
    frame_s: float = Field(gt=0)
    blank_id: int
    start_id: int
    vocabulary_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    encoder_windows: tuple[EncoderWindow, ...] = Field(min_length=1)
    window_overlap_s: float = Field(ge=0)
    max_symbols_per_step: int = Field(gt=0)
    special_ids: tuple[int, ...]


class Features(TypedDict):
    """mel [T, n_mels] float32, normalised, zero beyond `length` valid frames."""

    mel: np.ndarray
    length: int


class Pipeline(Transcriber):
    """Audio in, transcript out, with the components of one bundle on one runtime.

    Args:
        bundle: an opened bundle; constants, mel filters and tokenizer come from it.
        runtime: runs its components.
        step: form of the decoding step; `auto` is the first of fused, decision, split that the bundle holds.
        max_symbols: bound on tokens at one frame; 0 is none, as the class has it; `checkpoint` is the checkpoint's own.
        encoder_function: use this length of the encoder only.

    Raises:
        BundleError: the bundle lacks what the pipeline needs.
        OptionError: a bound that is none of these.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        *,
        step: StepForm | Literal["auto"] = "auto",
        max_symbols: int | str = 0,
        encoder_function: str | None = None,
    ) -> None:
        self.host = host_constants(bundle, HostConstants)
        self._max_symbols = _symbols(max_symbols, self.host.max_symbols_per_step)
        self._bundle, self._runtime = bundle, runtime
        filters, window = host_arrays(bundle, "features.safetensors", "mel_filters", "window")
        self._mel = NemoMel(self.host.mel, filters, window, self.host.sample_rate)
        self._detokeniser = Detokeniser(bundle.asset("tokenizer.json"), self.host.special_ids)
        self._step_form = first_form(bundle, STEP_COMPONENTS, step, "the components of a decoding step")
        self._windows = self._chosen(encoder_function)

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `transcribe` takes, in Hz."""
        return self.host.sample_rate

    def load(self, samples: int) -> None:
        """Load what audio of this length needs, so that `transcribe` only computes."""
        self._runtime.load("encoder", self._window_for(self.host.mel.frames(samples)).function)
        _ = self._step

    def transcribe(self, audio: np.ndarray, progress: Progress | None = None) -> Transcript:
        """Transcribe one utterance of any length.

        Args:
            audio: [samples], float32, at `sample_rate`.
            progress: called with (encoder windows done, windows in all).

        Raises:
            AudioError: too short to normalise.
            RuntimeFault: a component failed, or the decoder never left a frame.
        """
        features = self.features(audio)
        frames = self.encode(**features, progress=progress)
        decoded = self._decoded(frames, self.max_steps(len(features["mel"])))
        if not decoded.finished:
            raise RuntimeFault(
                f"the decoder stays at frame {decoded.emissions[-1].frame} of {len(frames)} "
                f"after {len(decoded.emissions)} steps: the checkpoint never advances",
                "Bound the tokens at one frame: `--max-symbols 10`.",
            )
        return self.transcript(decoded.emissions, len(audio) / self.sample_rate)

    def features(self, audio: np.ndarray) -> Features:
        """The reference's `input_features` and its number of valid frames, over the whole audio."""
        mel, length = self._mel(audio)
        return {"mel": mel, "length": length}

    def encode(self, mel: np.ndarray, length: int, progress: Progress | None = None) -> np.ndarray:
        """Encode mel [T, n_mels] with `length` valid frames to the valid encoder frames [ceil(length / factor), D]."""
        window = self._window_for(length)
        overlap = round(self.host.window_overlap_s / self.host.frame_s)
        plan = plan_windows(length, window.mel_frames, self.host.subsampling_factor, overlap)
        kept = []
        for done, part in enumerate(plan, start=1):
            frames = self._encode_window(window, mel[part.mel_start : part.mel_start + part.mel_frames])
            kept.append(frames[part.keep_start : part.keep_stop].copy())
            if progress:
                progress(done, len(plan))
        return np.concatenate(kept)  # n * [T_k, D] -> [T, D]

    def decode(self, encoder_frames: np.ndarray) -> list[Emission]:
        """All steps over encoder frames [T, D], blanks included, up to the class's limit of steps."""
        mel_frames = len(encoder_frames) * self.host.subsampling_factor
        return list(self._decoded(encoder_frames, self.max_steps(mel_frames)).emissions)

    def max_steps(self, mel_frames: int) -> int:
        """`max_length` of the class less its start token, from the mel frames with the padded one."""
        return self.host.max_symbols_per_step * -(-mel_frames // self.host.subsampling_factor) - 1

    def transcript(self, emissions: tuple[Emission, ...] | list[Emission], duration_s: float) -> Transcript:
        """Text, words and tokens of what the loop emitted."""
        spoken = [e for e in emissions if self._detokeniser.is_text(e.token_id)]
        ids = [e.token_id for e in spoken]
        tokens = tokens_from_emissions(spoken, self._detokeniser.pieces(ids), self.host.frame_s)
        words = words_from_tokens(tokens, self._detokeniser)
        return Transcript(self._detokeniser.text(ids), duration_s, words, tokens)

    def _encode_window(self, window: EncoderWindow, mel: np.ndarray) -> np.ndarray:
        encoder = self._runtime.load("encoder", window.function)
        outputs = encode_mel(encoder, mel, len(mel), window, self.host.subsampling_factor)
        return outputs["encoder"][0, : int(outputs["encoder_length"].item())]

    def _decoded(self, frames: np.ndarray, max_steps: int) -> Decoded:
        return greedy(
            self._step, frames, blank_id=self.host.blank_id, max_steps=max_steps, max_symbols=self._max_symbols
        )

    @cached_property
    def _step(self) -> Step:
        h = self.host
        network = (h.blank_id, h.start_id, h.num_layers, h.hidden_size)
        parts = [self._runtime.load(name) for name in STEP_COMPONENTS[self._step_form]]
        if self._step_form == "split":
            return SplitStep(*network, *parts)
        return FusedStep(*network, *parts) if self._step_form == "fused" else DecisionStep(*network, *parts)

    def _chosen(self, function: str | None) -> tuple[EncoderWindow, ...]:
        windows = tuple(sorted(self.host.encoder_windows, key=lambda w: w.mel_frames))
        chosen = tuple(w for w in windows if function in (None, w.function))
        if not chosen:
            names = ", ".join(w.function for w in windows)
            raise BundleError(
                f"{self._bundle.path}: the encoder has no function '{function}'", f"Choose one of: {names}."
            )
        return chosen

    def _window_for(self, length: int) -> EncoderWindow:
        return smallest_window(self._windows, length, lambda window: window.mel_frames)


def _symbols(value: int | str, of_checkpoint: int) -> int:
    """The bound on tokens at one frame that `--max-symbols` gives."""
    if value == "checkpoint":
        return of_checkpoint
    if not str(value).isdecimal():
        raise OptionError(f"--max-symbols is {value}; give 0 for no bound, a positive number, or `checkpoint`")
    return int(value)
