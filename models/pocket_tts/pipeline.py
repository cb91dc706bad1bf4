"""PocketTTS on the host: voice, then text, then frame by frame through backbone, flow and codec to audio."""

import math
import unicodedata
from collections.abc import Iterator

import numpy as np

from models.pocket_tts.backbone import Backbone, Cache, Flow, Utterance, cache_too_small
from models.pocket_tts.codec import Decoder
from models.pocket_tts.constants import HostConstants
from models.pocket_tts.spelling import Spelling, spelling
from models.pocket_tts.text import Prompt, Prompter
from models.pocket_tts.voices import Voice, check_voice, open_voice
from toolkit.bundle.bundle import Bundle, rebuild_step
from toolkit.bundle.host_constants import host_constants
from toolkit.component import Runtime
from toolkit.contract import Progress, Speaker
from toolkit.errors import BundleError, ToolkitError
from toolkit.loops.flow import Frame, LatentModel, StopRule, frames, gaussian_noise

NEEDED = ("text_embedding", "backbone", "flow", "codec_decoder")
PROJECTION = "voice_projection"  # needed where the weights can project a voice's latents


class Speech:
    """One chunk of text being said: what `toolkit.loops.flow` drives.

    Args:
        utterance: the backbone behind voice and text.
        flow: noise to latent.
    """

    def __init__(self, utterance: Utterance, flow: Flow) -> None:
        self.step, self.sample = utterance.step, flow.sample


class Pipeline(Speaker):
    """Text in, audio out, with the components of one bundle on one runtime.

    Args:
        bundle: an opened bundle; constants, tokenizer, text rules and voices come from it.
        runtime: runs its components.
        voice: name of a voice in the bundle, a recording to clone, or a .safetensors file, ours or Kyutai's
            (models/pocket_tts/voice_file.py); empty is the bundle's first voice.
        seed: seed of the noise.
        temperature: variance of the noise; None is the checkpoint's.
        flow_steps: flow steps a frame; None is the checkpoint's.
        eos_threshold: logit that ends a text; None is the checkpoint's.

    Raises:
        BundleError: the bundle lacks what the pipeline needs.
        ToolkitError: an option out of range, or an unknown voice.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        *,
        voice: str = "",
        seed: int = 0,
        temperature: float | None = None,
        flow_steps: int | None = None,
        eos_threshold: float | None = None,
    ) -> None:
        self.host = host = host_constants(bundle, HostConstants)
        needed = [NEEDED[0], *([PROJECTION] if host.clones else []), *NEEDED[1:]]
        missing = [name for name in needed if bundle.manifest.component(name) is None]
        if missing:
            step = rebuild_step(bundle.manifest, bundle.path)
            raise BundleError(f"{bundle.path} lacks {', '.join(missing)}", step)
        self.bundle, self.runtime, self.notes = bundle, runtime, list[str]()
        self._voice_name = voice
        self.seed = seed
        self._temperature = host.temperature if temperature is None else temperature
        self._eos_threshold = host.eos_threshold if eos_threshold is None else eos_threshold
        _check_options(seed, self._temperature, self._eos_threshold)
        check_voice(voice, host)
        if host.flow_type == "drifting" and flow_steps not in (None, 1):
            raise ToolkitError(f"--flow-steps {flow_steps}: this checkpoint's flow samples in one call", "Give 1.")
        self.backbone = Backbone(runtime, host.backbone)
        self.flow = Flow(runtime, host.flow_functions, host.flow_steps if flow_steps is None else flow_steps)
        template = bundle.asset("chat_template.jinja").read_text(encoding="utf-8")
        self._prompter = Prompter(bundle.asset("tokenizer.json"), template, host.special_tokens, host.text)
        self._prefixes: dict[tuple[int, ...], Cache] = {}
        self._voice: Voice | None = None

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `speak` yields, in Hz."""
        return self.host.sample_rate

    @property
    def frame_size(self) -> int:
        """Number of samples per frame."""
        return self.host.frame_samples

    @property
    def voice(self) -> Voice:
        """The voice, opened (and cloned) when first asked for."""
        if self._voice is None:
            self._voice = open_voice(self._voice_name, self.bundle, self.runtime, self.host)
        return self._voice

    def set_voice(self, voice: Voice) -> None:
        """Speak in this voice from now on."""
        self._voice = voice
        self._prefixes.clear()

    def load(self) -> None:
        """Load the components and condition on the voice, so that `speak` only speaks.

        A voice that is too long is left to `chunks`, which knows what text and speech take beside it.

        Raises:
            ToolkitError: the voice cannot be used.
        """
        prompt = self.prompts("A.")[0]
        self.backbone.load()
        self.flow.load()
        self.runtime.load("codec_decoder")
        if self.room(prompt) > 0:
            self.prefix(prompt)

    def chunks(self, text: str) -> list[Prompt]:
        """The text in the pieces that are said one by one.

        Raises:
            ToolkitError: nothing to say, or more than the cache holds.
        """
        prompts, slots = self.prompts(text), self.host.backbone.slots
        needed = max(slots - self.room(prompt) + prompt.max_frames for prompt in prompts)
        if needed > slots:
            raise cache_too_small(needed, slots)
        return prompts

    def prompts(self, text: str) -> list[Prompt]:
        """The pieces, whether or not the cache holds all frames that they may take.

        Raises:
            ToolkitError: nothing to say, or a control character in it.
        """
        _check_text(text)
        spelt = self._spelling(text).text
        # Where nothing is left to say, the text itself is refused.
        said = spelt if any(map(str.isalnum, spelt)) else text
        return self._prompter.prompts(said, voice=self.voice.cache is None, max_tokens=self.host.chunk_tokens)

    def _spelling(self, text: str) -> Spelling:
        return spelling(text, self._prompter.knows)

    def room(self, prompt: Prompt) -> int:
        """Positions of the cache that voice and text leave for frames; below 0 where these alone are too many."""
        return self.host.backbone.slots - self.voice.length - len(prompt.before_voice) - len(prompt.text)

    def split(self, text: str) -> list[str]:
        """The text cut at its sentences, chunks in which there is nothing to say included."""
        return self._prompter.split(text, self.host.chunk_tokens)

    def speak(self, text: str, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """Say a text of any length.

        Args:
            text: the text to speak.
            progress: called with (chunks of text done, chunks in all).

        Yields:
            The samples of one frame, float32 in -1..1 at `sample_rate`, as soon as they are made.

        Raises:
            ToolkitError: nothing to say, or more than the cache holds.
            RuntimeFault: a component failed.
        """
        self.notes.clear()
        prompts = self.chunks(text)
        self.notes += [note for note in (self.voice.note, self._spelling(text).note) if note]
        for number, prompt in enumerate(prompts):
            decoder = self.decoder()
            for frame in self.frames(prompt, self.noise(number)):
                yield decoder.decode(frame.latent)
            if frame.stop == "max_frames":
                seconds = prompt.max_frames * self.frame_size / self.sample_rate
                self.notes.append(f"'{_short(prompt.chunk)}' reached its limit of {seconds:.1f} s without an end")
            if progress:
                progress(number + 1, len(prompts))

    def noise(self, chunk: int) -> Iterator[np.ndarray]:
        """Noise [Z] for each frame of one chunk, scaled."""
        return gaussian_noise(self.seed, chunk, len(self.host.latent_mean), self._temperature)

    def decoder(self) -> Decoder:
        """A fresh stream of the codec's decoder."""
        return Decoder(self.runtime, self.host)

    def frames(self, prompt: Prompt, noise: Iterator[np.ndarray]) -> Iterator[Frame]:
        """The frames of one chunk, each as soon as it is made."""
        return self.drive(Speech(self.backbone.start(self.condition(prompt)), self.flow), prompt, noise)

    def drive(self, model: LatentModel, prompt: Prompt, noise: Iterator[np.ndarray]) -> Iterator[Frame]:
        """The frames of one chunk from any source of its latents, such as a recorded utterance."""
        return frames(model, noise, self.stop_rule(prompt))

    def stop_rule(self, prompt: Prompt) -> StopRule:
        """The rule that ends the speech of a chunk."""
        host = self.host
        return StopRule(self._eos_threshold, host.min_frames_before_eos, prompt.frames_after_eos, prompt.max_frames)

    def condition(self, prompt: Prompt) -> Cache:
        """The cache with voice and text, in this order."""
        return self.backbone.extend(self.prefix(prompt), self.backbone.embed_text(prompt.text))

    def prefix(self, prompt: Prompt) -> Cache:
        """The cache with the voice alone, computed once."""
        key = prompt.before_voice
        if key not in self._prefixes:
            voice = self.voice
            embeds = [self.backbone.embed_text(key)]
            if voice.latents is not None:
                embeds.append(self.backbone.embed_voice(voice.latents))
            elif voice.embeds is not None:
                embeds.append(voice.embeds)
            self._prefixes[key] = self.backbone.extend(voice.cache or self.backbone.empty(), np.concatenate(embeds))
        return self._prefixes[key]


def _check_options(seed: int, temperature: float, eos_threshold: float) -> None:
    if seed < 0:
        raise ToolkitError(f"--seed is {seed}", "Give 0 or more.")
    if not 0 <= temperature <= 100:
        raise ToolkitError(f"--temperature is {temperature:g}", "Give a variance: 0 for none, 1 for all of the noise.")
    if math.isnan(eos_threshold):
        raise ToolkitError("--eos-threshold is not a number", "Give a logit, such as -4.")


def _check_text(text: str) -> None:
    """The processor takes control characters, which the model then speaks as if they were words."""
    if control := next((c for c in text if unicodedata.category(c) == "Cc" and not c.isspace()), None):
        raise ToolkitError(f"the text contains the control character U+{ord(control):04X}", "Remove it from the text.")


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
