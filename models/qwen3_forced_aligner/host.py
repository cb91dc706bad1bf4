"""Schema of the constants that the aligner's pipeline reads from a bundle's manifest."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from toolkit.audio.whisper_mel import WhisperMelParameters
from toolkit.bundle.host_constants import HostSchema


class AudioFunction(HostSchema):
    """One fixed length of the audio transformer, in frames after the convolution."""

    function: str
    seconds: float = Field(gt=0)
    frames: int = Field(gt=0)


class SequenceFunction(HostSchema):
    """One fixed length of the prompt."""

    function: str
    tokens: int = Field(gt=0)


class Rope(HostSchema):
    """Rotary embedding; `sections` splits the frequencies among three kinds of position, which are equal here."""

    head_dim: int = Field(gt=0)
    theta: float = Field(gt=0)
    sections: tuple[int, ...] | None


class PromptParts(HostSchema):
    """Token ids of the prompt around the audio and the words."""

    before_audio: tuple[int, ...]
    after_audio: tuple[int, ...]
    after_words: tuple[int, ...]
    audio_id: int
    marker_id: int
    markers_per_word: int = Field(gt=0)


class HostConstants(HostSchema):
    """Schema of `manifest.host` for this model; a time is `class * bin_ms`."""

    sample_rate: int = Field(gt=0)
    mel: WhisperMelParameters
    chunk_mel_frames: int = Field(gt=0)
    chunk_frames: int = Field(gt=0)
    window_frames: int = Field(gt=0)
    audio_attention: Literal["windowed", "full"]
    audio_functions: tuple[AudioFunction, ...] = Field(min_length=1)
    sequences: tuple[SequenceFunction, ...] = Field(min_length=1)
    head_positions: int = Field(gt=0)
    rope: Rope
    prompt: PromptParts
    classes: int = Field(gt=0)
    bin_ms: float = Field(gt=0)
    languages: Mapping[str, str]
