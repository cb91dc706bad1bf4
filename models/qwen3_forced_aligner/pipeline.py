"""Qwen3-ForcedAligner on the host: mel, chunks, prompt, one pass, times that never run backwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from models.qwen3_forced_aligner.bounds import behind_the_end, within
from models.qwen3_forced_aligner.host import AudioFunction, HostConstants, SequenceFunction
from models.qwen3_forced_aligner.long_audio import REACH_USED, Heard, Limits, align_in_windows, long_audio_notes
from toolkit.audio.whisper_mel import WhisperMel
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.host_constants import host_arrays, host_constants
from toolkit.component import Runtime
from toolkit.contract import Aligner, Progress
from toolkit.errors import AudioError, ToolkitError
from toolkit.loops.fixed_windows import first_form, fitting_window, padded, padded_parts, smallest_window
from toolkit.loops.rope import rotary_tables
from toolkit.text.forced_words import language_from_name, monotonic, split_words
from toolkit.text.given_words import spelt_as_given, words_as_given
from toolkit.text.tokenise import Tokeniser
from toolkit.transcript import Transcript, Word

EncoderForm = Literal["split", "monolithic"]

ENCODER_COMPONENTS: dict[EncoderForm, tuple[str, ...]] = {
    "split": ("audio_conv", "audio_transformer"),
    "monolithic": ("audio_encoder",),
}
# Nobody says more words than this; a longer text belongs to other audio. The class would place it all the same.
MAX_WORDS_PER_S = 12.5
MIN_WINDOW_S = 2.0  # a prompt with less room aligns short audio alone
CONVOLUTIONS = 3  # of stride 2


@dataclass(frozen=True)
class Prompt:
    """Token ids of one prompt [S], and where its audio tokens and its time markers stand."""

    ids: np.ndarray
    audio: slice
    markers: np.ndarray


@dataclass(frozen=True)
class MarkerOutputs:
    """Outputs of the head at P time markers: time_class [P] int32, probability [P], logits [P, classes]."""

    time_class: np.ndarray
    probability: np.ndarray
    logits: np.ndarray


class Pipeline(Aligner):
    """Audio and its text in, the time of every word out, with the components of one bundle on one runtime.

    Args:
        bundle: an opened bundle; constants, mel filters and tokenizer come from it.
        runtime: runs its components.
        encoder: form of the audio encoder; `auto` is the first of split, monolithic that the bundle holds.

    Raises:
        BundleError: the bundle lacks what the pipeline needs.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, *, encoder: EncoderForm | Literal["auto"] = "auto") -> None:
        self.host = host_constants(bundle, HostConstants)
        self.bundle, self._runtime = bundle, runtime
        filters, window = host_arrays(bundle, "features.safetensors", "mel_filters", "window")
        self._mel = WhisperMel(self.host.mel, filters, window, self.host.sample_rate)
        self._tokeniser = Tokeniser(bundle.asset("tokenizer.json"))
        what = "the components of an audio encoder"
        self.encoder_form: EncoderForm = first_form(bundle, ENCODER_COMPONENTS, encoder, what)

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `align` takes, in Hz."""
        return self.host.sample_rate

    @property
    def longest_s(self) -> float:
        """Longest audio in seconds: the last time class; with full attention also the longest encoder."""
        classes_s = self.host.classes * self.host.bin_ms / 1000
        return min(classes_s, self._audio_functions[-1].seconds) if self._sees_all else classes_s

    def load(self, samples: int) -> None:
        """Load what audio of this length and a text as long again need, so that `align` only computes."""
        if samples > self.longest_s * self.sample_rate:
            samples = round(self.window_s * self.sample_rate)
        frames = self._audio_tokens(samples)
        functions = {"audio_transformer": self._audio_function(frames).function}
        if longer := fitting_window(self.host.sequences, 2 * frames + 1, lambda sequence: sequence.tokens):
            functions |= dict.fromkeys(("embedding", "decoder_prefill"), longer.function)
        for name in (*ENCODER_COMPONENTS[self.encoder_form], *(functions.keys() - {"audio_transformer"}), "head"):
            self._runtime.load(name, functions.get(name, "main"))

    def align(
        self, audio: np.ndarray, text: str, language: str | None = None, progress: Progress | None = None
    ) -> Transcript:
        """The time of every word of `text` in the audio, which may be longer than the model reaches (`long_audio`).

        Args:
            audio: [samples], float32, at `sample_rate`.
            text: what is said, in any case and with any punctuation; each word is returned as it is written here.
            language: code or name; decides how the text is split into words. Blanks and Han characters when left out.
            progress: called with (encoder calls done, calls in all).

        Raises:
            AudioError: too long for a bundle whose prompts hold no window either.
            ToolkitError: the text holds no word, more than the audio or the prompt has room for, or does not follow
                audio that is aligned in windows.
            RuntimeFault: a component failed.
        """
        duration_s = len(audio) / self.sample_rate
        name = language_from_name(language, self.host.languages) if language else None
        words = self.words(text, name, duration_s)
        timed, notes = self._timed(audio, words, progress)
        spelt = spelt_as_given(timed, words_as_given(text, words))
        notes += behind_the_end(spelt, duration_s, self.host.bin_ms / 1000)
        return Transcript(text.strip(), duration_s, within(spelt, duration_s), (), name, notes=notes)

    def _timed(
        self, audio: np.ndarray, words: Sequence[str], progress: Progress | None
    ) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        """The words with times, in one pass where the bundle has room for it, and notes on what else was done."""
        if self._has_room(len(audio), words) or self.window_s < MIN_WINDOW_S:
            self.check_room(len(audio), words)
            return self.words_with_times(words, self.marker_outputs(audio, words, progress)), ()
        limits = Limits(self.window_s, MAX_WORDS_PER_S, self.sample_rate)
        long = align_in_windows(self, audio, words, limits, progress or _silent)
        return long.words, long_audio_notes(long, len(audio) / self.sample_rate, limits)

    @property
    def window_s(self) -> float:
        """Length of the windows that longer audio is aligned in: within reach, and half of the longest prompt."""
        tokens = max(s.tokens for s in self.host.sequences) // 2
        chunk_s = self.host.chunk_mel_frames * self.host.mel.hop_length / self.sample_rate
        return min(REACH_USED * self.longest_s, tokens // self.host.chunk_frames * chunk_s)

    def hear(self, audio: np.ndarray, words: Sequence[str]) -> Heard:
        """One pass, its times in ms [n, 2] as the classes say them, and confidence [n]."""
        outputs, shape = self.marker_outputs(audio, words), (-1, self.host.prompt.markers_per_word)
        times_ms = (outputs.time_class * np.float32(self.host.bin_ms)).reshape(shape)
        return Heard(times_ms, outputs.probability.reshape(shape).mean(axis=1))

    def fitting(self, samples: int, words: Sequence[str]) -> int:
        """How many of the words, the first ones, the longest prompt has room for beside so much audio."""
        room = max(s.tokens for s in self.host.sequences) - len(self.prompt((), self._audio_tokens(samples)).ids)
        for count, word in enumerate(words):
            room -= len(self._tokeniser.ids(word)) + self.host.prompt.markers_per_word
            if room < 0:
                return count
        return len(words)

    def _has_room(self, samples: int, words: Sequence[str]) -> bool:
        within_reach = samples <= self.longest_s * self.sample_rate
        return within_reach and self.fitting(samples, words) == len(words)

    def _audio_tokens(self, samples: int) -> int:
        return self._frames(self.host.mel.frames(samples))

    def check_room(self, samples: int, words: Sequence[str]) -> None:
        """Refuse, before any work, what the bundle has no room for.

        Raises:
            AudioError: the audio is longer than the time classes reach, or than the longest encoder that must see all.
            ToolkitError: audio and words are longer than the longest prompt.
        """
        if samples > self.longest_s * self.sample_rate:
            raise AudioError(
                f"{samples / self.sample_rate:.1f} s of audio, and this bundle places words in the first "
                f"{self.longest_s:g} s only",
                "Cut the audio, and its text, at a pause.",
            )
        self._sequence(len(self.prompt(words, self._audio_tokens(samples)).ids))

    def words(self, text: str, language: str | None, duration_s: float) -> list[str]:
        """The words that get a time: `text` split for a language (its full name), without punctuation.

        Raises:
            ToolkitError: there is none, or more than can be said in `duration_s`.
        """
        words = split_words(text, language)
        if not words:
            reason = "the text holds nothing but punctuation" if text.strip() else "the text is empty"
            raise ToolkitError(reason, "Give the words of the audio.")
        if len(words) > max(1.0, MAX_WORDS_PER_S * duration_s):
            raise ToolkitError(
                f"{len(words)} words do not fit {duration_s:.1f} s of audio", "Give the text of this audio only."
            )
        return words

    def marker_outputs(
        self, audio: np.ndarray, words: Sequence[str], progress: Progress | None = None
    ) -> MarkerOutputs:
        """The whole chain: the head's answer at every marker of the words, two of each.

        Args:
            audio: [samples], float32, at `sample_rate`.
            words: what `words` returned; `check_room` has accepted them with the audio.
            progress: called with (encoder calls done, calls in all).
        """
        mel, length = self.features(audio)
        prompt = self.prompt(words, self._frames(length))
        frames = self.encode(mel, length, progress=progress)
        return self.classify(self.prefill(self.embed(prompt, frames))[prompt.markers])

    def features(self, audio: np.ndarray) -> tuple[np.ndarray, int]:
        """Mel [M, T] float32, zero beyond the valid frames and T a whole number of chunks; and the valid frames."""
        return self._mel(audio)

    def encode(
        self, mel: np.ndarray, length: int, *, function: str | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """What stands in for the audio tokens: mel [M, T] with `length` valid frames -> [n, D].

        Args:
            mel: a whole number of chunks.
            length: valid mel frames.
            function: this length of the audio transformer in place of the smallest that fits.
            progress: called with (calls done, calls in all).
        """
        if self.encoder_form == "monolithic":
            return self._encode_windows(mel, self._frames(length), progress or _silent)
        return self._encode_split(mel, self._frames(length), function, progress or _silent)

    def prompt(self, words: Sequence[str], audio_frames: int) -> Prompt:
        """The prompt: the audio's tokens, then each word with its markers."""
        parts = self.host.prompt
        head = [*parts.before_audio, *[parts.audio_id] * audio_frames, *parts.after_audio]
        markers = [parts.marker_id] * parts.markers_per_word
        spoken = [i for word in words for i in (*self._tokeniser.ids(word), *markers)]
        ids = np.array([*head, *spoken, *parts.after_words], np.int32)
        start = len(parts.before_audio)
        return Prompt(ids, slice(start, start + audio_frames), np.flatnonzero(ids == parts.marker_id))

    def embed(self, prompt: Prompt, audio: np.ndarray, *, function: str | None = None) -> np.ndarray:
        """Embeddings [S, D] of a prompt with audio [n, D] in the place of its tokens; S is the fixed length."""
        sequence = self._sequence(len(prompt.ids), function)
        ids = padded(prompt.ids, sequence.tokens, fill=prompt.ids[-1])
        outputs = self._runtime.load("embedding", sequence.function).predict({"ids": ids[None]})
        embeddings: np.ndarray = outputs["embeddings"][0].copy()
        embeddings[prompt.audio] = audio
        return embeddings

    def prefill(self, embeddings: np.ndarray) -> np.ndarray:
        """The decoder's output [S, D], before the final norm, for embeddings [S, D] of one of the fixed lengths."""
        sequence = self._sequence(len(embeddings))
        cos, sin = self._angles(sequence.tokens)
        decoder = self._runtime.load("decoder_prefill", sequence.function)
        outputs = decoder.predict({"embeddings": embeddings[None], "cos": cos[None], "sin": sin[None]})
        hidden: np.ndarray = outputs["hidden"][0]
        return hidden

    def classify(self, hidden: np.ndarray) -> MarkerOutputs:
        """The head on marked rows [P, D] of the decoder's output."""
        head = self._runtime.load("head")
        names = ("time_class", "probability", "logits")
        parts = []
        for rows, valid in padded_parts(hidden, self.host.head_positions):
            outputs = head.predict({"hidden": rows[None]})
            parts.append([outputs[name][0, :valid] for name in names])
        return MarkerOutputs(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def words_with_times(self, words: Sequence[str], outputs: MarkerOutputs) -> tuple[Word, ...]:
        """Words with times in seconds; confidence is the mean probability of a word's markers.

        Times that run backwards are repaired as the processor of the class repairs them.

        Args:
            words: the words of the prompt.
            outputs: of the head, at the markers of all words.
        """
        times = [t / 1000 for t in monotonic((outputs.time_class * np.float32(self.host.bin_ms)).tolist())]
        step = self.host.prompt.markers_per_word
        confidence = outputs.probability.reshape(-1, step).mean(axis=1)
        return tuple(
            Word(word, times[k * step], times[k * step + 1], float(confidence[k])) for k, word in enumerate(words)
        )

    def _encode_split(self, mel: np.ndarray, frames: int, function: str | None, progress: Progress) -> np.ndarray:
        transformer = self._audio_function(frames, function)
        chunks, starts = range(mel.shape[1] // self.host.chunk_mel_frames), range(0, frames, transformer.frames)
        of = len(chunks) + len(starts)
        rows = []
        for chunk in chunks:
            rows.append(self.convolve(mel, chunk))
            progress(chunk + 1, of)
        packed, kept = np.concatenate(rows)[:frames], []
        # Several calls only where windows do not see each other: nothing is lost between them.
        for call, start in enumerate(starts, start=len(chunks) + 1):
            kept.append(self._transform(transformer, packed[start : start + transformer.frames]))
            progress(call, of)
        return np.concatenate(kept)

    def convolve(self, mel: np.ndarray, chunk: int) -> np.ndarray:
        """Frames [F, D] of one chunk of mel [M, T], by its number."""
        width = self.host.chunk_mel_frames
        columns = np.ascontiguousarray(mel[None, :, chunk * width : (chunk + 1) * width])
        frames: np.ndarray = self._runtime.load("audio_conv").predict({"mel": columns})["frames"][0]
        return frames

    def _transform(self, transformer: AudioFunction, frames: np.ndarray) -> np.ndarray:
        """Frames [n, D] of whole windows, but for the last one -> [n, H]."""
        component = self._runtime.load("audio_transformer", transformer.function)
        length = np.array([len(frames)], np.int32)
        outputs = component.predict({"frames": padded(frames, transformer.frames)[None], "length": length})
        return outputs["audio"][0, : len(frames)].copy()

    def _encode_windows(self, mel: np.ndarray, frames: int, progress: Progress) -> np.ndarray:
        h, encoder = self.host, self._runtime.load("audio_encoder")
        columns = h.window_frames // h.chunk_frames * h.chunk_mel_frames
        windows, kept = range(-(-frames // h.window_frames)), []
        for window in windows:
            part = padded(mel[:, window * columns : (window + 1) * columns], columns, axis=1)
            valid = min(h.window_frames, frames - window * h.window_frames)
            outputs = encoder.predict({"mel": part[None], "length": np.array([valid], np.int32)})
            kept.append(outputs["audio"][0, :valid].copy())
            progress(window + 1, len(windows))
        return np.concatenate(kept)

    def _frames(self, mel_frames: int) -> int:
        """Valid frames after the convolution: whole chunks, and what the last one's valid part becomes."""
        chunks, rest = divmod(mel_frames, self.host.chunk_mel_frames)
        for _ in range(CONVOLUTIONS):
            rest = (rest + 1) // 2
        return chunks * self.host.chunk_frames + rest

    @property
    def _sees_all(self) -> bool:
        return self.host.audio_attention == "full" and self.encoder_form == "split"

    @cached_property
    def _audio_functions(self) -> tuple[AudioFunction, ...]:
        return tuple(sorted(self.host.audio_functions, key=lambda f: f.frames))

    def _audio_function(self, frames: int, function: str | None = None) -> AudioFunction:
        """The smallest that holds the whole, else the largest; or the one named."""
        named = [f for f in self._audio_functions if function in (None, f.function)]
        return smallest_window(named, frames, lambda each: each.frames)

    def _sequence(self, tokens: int, function: str | None = None) -> SequenceFunction:
        named = [s for s in self.host.sequences if function in (None, s.function)]
        if sequence := fitting_window(named, tokens, lambda each: each.tokens):
            return sequence
        room = max(s.tokens for s in self.host.sequences)
        raise ToolkitError(
            f"audio and text take {tokens} tokens, this bundle has room for {room}",
            "Cut the audio, and its text, at a pause, or convert with larger --sequence-lengths.",
        )

    def _angles(self, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        rope = self.host.rope
        positions = np.arange(tokens) if rope.sections is None else np.tile(np.arange(tokens), (3, 1))
        return rotary_tables(positions, rope.head_dim, rope.theta, rope.sections)


def _silent(done: int, of: int) -> None:
    """Report no progress."""
