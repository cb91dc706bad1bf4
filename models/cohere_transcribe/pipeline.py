"""Cohere Transcribe on the host: quiet cuts, mel, encoder, one decoder, text of every piece joined by language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from toolkit.audio.dither import dithered
from toolkit.audio.nemo_mel import NemoMel, NemoMelParameters
from toolkit.audio.quiet_cuts import cut_at_quiet_points
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.host_constants import EncoderWindow, HostSchema, host_arrays, host_constants
from toolkit.component import Runtime
from toolkit.contract import Progress, Transcriber
from toolkit.errors import ToolkitError
from toolkit.loops.cached_decoder import COMPONENTS, DECODERS, CachedDecoder, DecoderForm
from toolkit.loops.fixed_windows import encode_mel, first_form, smallest_window
from toolkit.loops.seq2seq import Decoded, Decoder, GreedyOptions, greedy
from toolkit.text.detokenise import Detokeniser
from toolkit.transcript import Segment, Token, Transcript, join_segments

# The names that a bundle's languages go by beside their codes.
LANGUAGE_NAMES = {
    "arabic": "ar", "german": "de", "greek": "el", "english": "en", "spanish": "es", "french": "fr", "italian": "it",
    "japanese": "ja", "korean": "ko", "dutch": "nl", "polish": "pl", "portuguese": "pt", "vietnamese": "vi",
    "chinese": "zh",
}  # fmt: skip


class Prompts(HostSchema):
    """Ids in front of a transcript of one language: with capitals and punctuation, or plain."""

    punctuated: tuple[int, ...]
    plain: tuple[int, ...]


class HostConstants(HostSchema):
    """Schema of `manifest.host` for this model."""

    sample_rate: int = Field(gt=0)
    mel: NemoMelParameters
    longest_s: float = Field(gt=0)
    search_s: float = Field(ge=0)
    energy_samples: int = Field(gt=0)
    dither: float = Field(ge=0)
    subsampling_factor: int = Field(gt=0)
    encoder_windows: tuple[EncoderWindow, ...] = Field(min_length=1)
    cache_tokens: int = Field(gt=0)
    prompts: Mapping[str, Prompts]
    eos_id: int
    special_ids: tuple[int, ...]
    head: Literal["raw", "log-softmax"]


@dataclass(frozen=True)
class EncodedAudio:
    """One piece of audio as the decoder takes it: encoder frames [1, F, D], cross keys and values [L, K, F, d]."""

    encoder: np.ndarray
    encoder_length: np.ndarray
    cross_key: np.ndarray
    cross_value: np.ndarray

    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs that every function of the decoder takes."""
        return {"cross_key": self.cross_key, "cross_value": self.cross_value, "encoder_length": self.encoder_length}


class Pipeline(Transcriber):
    """Audio in, transcript out, with the components of one bundle on one runtime.

    Args:
        bundle: an opened bundle; constants, mel filters and tokenizer come from it.
        runtime: runs its components.
        decoder: form of the decoder; `auto` is the first of stateful, external, stateless that the bundle holds.
        language: code or English name of what is spoken.
        max_tokens: most tokens of one piece of audio; 0 is what the cache holds.
        repetition_penalty: divides the scores of tokens that were said; 1 is off.
        no_repeat_ngram: no run of this many tokens comes twice; 0 is off.
        eos_bias: added to the score of the end.
        punctuation: capitals and punctuation, or plain words.
        dither: add the reference's own noise to the audio; parity compares without, where nothing hides behind it.
        encoder_function: use this length of the encoder only.

    Raises:
        BundleError: the bundle lacks what the pipeline needs.
        ToolkitError: a language that the checkpoint does not have, or an option out of range.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        *,
        decoder: DecoderForm | Literal["auto"] = "auto",
        language: str = "en",
        max_tokens: int = 0,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        eos_bias: float = 0.0,
        punctuation: bool = True,
        dither: bool = True,
        encoder_function: str | None = None,
    ) -> None:
        if max_tokens < 0:
            raise ToolkitError(f"--max-tokens is {max_tokens}", "Give 0 for all that the cache holds, or more.")
        self.host = host_constants(bundle, HostConstants)
        self.bundle, self.runtime, self._punctuation = bundle, runtime, punctuation
        self.language = self.language_code(language)
        self._dither = self.host.dither if dither else 0.0
        self._options = GreedyOptions(repetition_penalty, no_repeat_ngram, eos_bias)
        filters, window = host_arrays(bundle, "features.safetensors", "mel_filters", "window")
        self._mel = NemoMel(self.host.mel, filters, window, self.host.sample_rate)
        self._detokeniser = Detokeniser(bundle.asset("tokenizer.json"), self.host.special_ids)
        needed = {form: ("encoder", "cross_kv", name) for form, name in COMPONENTS.items()}
        self.decoder_form: DecoderForm = first_form(bundle, needed, decoder, "encoder, cross_kv or a decoder")
        self._windows = tuple(
            w
            for w in sorted(self.host.encoder_windows, key=lambda w: w.mel_frames)
            if encoder_function in (None, w.function)
        )
        self._max_tokens = max_tokens

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `transcribe` takes, in Hz."""
        return self.host.sample_rate

    @property
    def longest_s(self) -> float:
        """Longest piece of audio that is decoded at once; the reference's own, unless no encoder holds that much."""
        held_s = self._windows[-1].mel_frames * self.host.mel.hop_length / self.sample_rate
        return min(self.host.longest_s, held_s)

    @property
    def prompt(self) -> tuple[int, ...]:
        """Ids in front of the transcript."""
        prompts = self.host.prompts[self.language]
        return prompts.punctuated if self._punctuation else prompts.plain

    def language_code(self, name: str) -> str:
        """The code of a language.

        Args:
            name: code or English name, in any case.

        Raises:
            ToolkitError: the checkpoint does not have it.
        """
        code = LANGUAGE_NAMES.get(name.lower(), name.lower())
        if code not in self.host.prompts:
            known = ", ".join(sorted(self.host.prompts))
            raise ToolkitError(f"--language '{name}' is not supported by this checkpoint", f"Give one of {known}.")
        return code

    def load(self, samples: int) -> None:
        """Load what audio of this length needs, so that `transcribe` only computes."""
        longest = round(self.longest_s * self.sample_rate)
        self.runtime.load("encoder", self._window_for(self.host.mel.frames(min(samples, longest))).function)
        self.runtime.load("cross_kv")
        for function in ("main",) if self.decoder_form == "stateless" else ("prefill", "step"):
            self.runtime.load(COMPONENTS[self.decoder_form], function)

    def transcribe(self, audio: np.ndarray, progress: Progress | None = None) -> Transcript:
        """Transcribe one utterance of any length.

        Args:
            audio: [samples], float32, at `sample_rate`.
            progress: called with (pieces done, pieces in all).

        Raises:
            AudioError: too short to normalise.
            RuntimeFault: a component failed.
        """
        pieces = self.cuts(audio)
        segments: list[Segment] = []
        tokens: list[Token] = []
        for done, piece in enumerate(pieces, start=1):
            decoded = self.decode(self.encode(*self.features(audio[piece])))
            segments.append(self.segment(decoded, piece))
            tokens += self.tokens(decoded)
            if progress:
                progress(done, len(pieces))
        text = join_segments([s.text for s in segments], self.language)
        return Transcript(text, len(audio) / self.sample_rate, (), tuple(tokens), self.language, tuple(segments))

    def cuts(self, audio: np.ndarray) -> list[slice]:
        """The pieces that are decoded one by one: cut where it is quietest, as the reference cuts."""
        # An encoder shorter than the reference's may be no longer than the search: no piece may be next to nothing.
        search_s = min(self.host.search_s, self.longest_s / 2)
        return cut_at_quiet_points(audio, self.sample_rate, self.longest_s, search_s, self.host.energy_samples)

    def features(self, audio: np.ndarray) -> tuple[np.ndarray, int]:
        """The reference's `input_features` [T, M] of one piece, and its valid frames."""
        return self._mel(dithered(audio, self._dither) if self._dither else audio)

    def encode(self, mel: np.ndarray, length: int) -> EncodedAudio:
        """Encode mel [T, M] with `length` valid frames, and compute the decoder's keys and values of it."""
        window = self._window_for(length)
        encoder = self.runtime.load("encoder", window.function)
        outputs = encode_mel(encoder, mel, length, window, self.host.subsampling_factor)
        keys_values = self.runtime.load("cross_kv").predict({"encoder": outputs["encoder"]})
        return EncodedAudio(outputs["encoder"], outputs["encoder_length"], **keys_values)

    def start(self, encoded: EncodedAudio) -> CachedDecoder:
        """A decoder for one piece of audio, with a cache of its own."""
        return DECODERS[self.decoder_form](self.runtime, encoded.inputs(), self.host.cache_tokens)

    def decode(self, encoded: EncodedAudio) -> Decoded:
        """The greedy loop over one piece of audio."""
        return self.decode_with(self.start(encoded))

    def decode_with(self, decoder: Decoder) -> Decoded:
        """The greedy loop on a decoder that holds the keys and values of its audio."""
        return greedy(
            decoder,
            self.prompt,
            eos_id=self.host.eos_id,
            max_new_tokens=self._max_tokens,
            options=self._options,
        )

    def segment(self, decoded: Decoded, piece: slice) -> Segment:
        """The text of one piece, where it lies, and how it ended."""
        text = self.text([choice.token_id for choice in decoded.tokens])
        start_s, end_s = piece.start / self.sample_rate, piece.stop / self.sample_rate
        return Segment(text, start_s, end_s, decoded.stop, decoded.choices[-1].eos_margin)

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens; special ones have none."""
        return self._detokeniser.text(ids)

    def tokens(self, decoded: Decoded) -> list[Token]:
        """Tokens that are text, without times."""
        spoken = [choice for choice in decoded.tokens if self._detokeniser.is_text(choice.token_id)]
        pieces = self._detokeniser.pieces([choice.token_id for choice in spoken])
        return [Token(c.token_id, piece, None, None, c.probability) for c, piece in zip(spoken, pieces, strict=True)]

    def _window_for(self, length: int) -> EncoderWindow:
        return smallest_window(self._windows, length, lambda window: window.mel_frames)
