"""What PocketTTS' pipeline reads from its bundle: the schema of `manifest.host`."""

from typing import Literal

from pydantic import Field

from models.pocket_tts.text import TextRules
from toolkit.audio.end_on_pause import PauseParameters
from toolkit.bundle.host_constants import HostSchema


class BackboneConstants(HostSchema):
    """Shapes of the backbone and its cache, which holds [layers, key_heads, slots, head_dim]."""

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    key_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    rope_theta: float = Field(gt=0)
    slots: int = Field(gt=0)
    prefill_tokens: int = Field(gt=0)


class CodecConstants(HostSchema):
    """The codec's attention, which sees `window` positions, and its frames."""

    head_dim: int = Field(gt=0)
    rope_theta: float = Field(gt=0)
    window: int = Field(gt=1)
    positions_a_frame: int = Field(gt=0)
    encoder_frames: int = Field(gt=0)


class HostConstants(HostSchema):
    """Schema of `manifest.host` for this model."""

    sample_rate: int = Field(gt=0)
    frame_samples: int = Field(gt=0)
    fade_in_samples: int = Field(ge=0)
    chunk_tokens: int = Field(gt=0)
    backbone: BackboneConstants
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    flow_type: Literal["lsd", "drifting"]
    flow_functions: tuple[str, ...] = Field(min_length=1)
    flow_steps: int = Field(gt=0)
    temperature: float = Field(ge=0)
    eos_threshold: float
    min_frames_before_eos: int = Field(ge=0)
    codec: CodecConstants
    codec_sha256: str
    text: TextRules
    special_tokens: dict[str, str]
    pause: PauseParameters
    voices: tuple[str, ...]
    clones: bool
