"""A checkpoint of Kyutai's written in transformers' layout."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    GenerationConfig,
    PocketTTSAudioTokenizerConfig,
    PocketTTSAudioTokenizerModel,
    PocketTTSConfig,
    PocketTTSFeatureExtractor,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
    PreTrainedTokenizerFast,
)

from models.pocket_tts.checkpoint import CODEC_FOLDER, TRANSLATION
from models.pocket_tts.kyutai.config import CLASS, CodecSizes, KyutaiConfig
from models.pocket_tts.kyutai.languages import default_voice
from models.pocket_tts.kyutai.text import SHORT_TEXT_WORDS, chat_template, frames_after_eos
from models.pocket_tts.kyutai.tokenizer import PLACEHOLDERS, read_tokenizer, with_placeholders
from models.pocket_tts.kyutai.weights import (
    BACKBONE_NAMES,
    DECODER_NAMES,
    ENCODER_NAMES,
    Tensors,
    embeddings,
    voice_projection,
)
from toolkit.errors import CheckpointError
from toolkit.export.pretrained import reading

# Kyutai's constants, of pocket-tts 4.0.1, models/tts_model.py and default_parameters.py.
_FLOW_STEPS, _MIN_FRAMES_BEFORE_EOS = 1, 6
_ENCODER_SIDE = ("mimi.encoder.", "mimi.encoder_transformer.", "mimi.downsample.")
# The class fills these in itself: the training's own.
_TRAINED = ("loss_weighting.", "latent_stats_num_updates")
_NO_CLONING = (
    "the weights are those without voice cloning: the codec's encoder is left out, and only its voices can speak"
)
_WIDE_VOICES = "the class cannot clone with this model, whose voices are wider than latents: only its voices can speak"


class Files(Protocol):
    """What `write_folder` needs of a checkpoint; `KyutaiCheckpoint` has it."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> KyutaiConfig: ...  # noqa: D102
    @property
    def clones(self) -> bool: ...  # noqa: D102
    @property
    def weights(self) -> Path: ...  # noqa: D102
    @property
    def codec(self) -> Path | None: ...  # noqa: D102
    @property
    def tokenizer(self) -> Path: ...  # noqa: D102
    @property
    def voices(self) -> Mapping[str, Path]: ...  # noqa: D102


def write_folder(files: Files, folder: Path) -> None:
    """Write configuration, weights, codec, tokenizer, rules for texts, and links to the voices.

    Args:
        files: one language.
        folder: exists and is empty.

    Raises:
        CheckpointError: tensors are missing or left over, or the class refuses the sizes.
    """
    config = files.config
    tensors = Tensors(files.weights.name, _tensors(files.weights, files.codec))
    wide = config.voice_width != config.codec.latent
    clones = files.clones and not wide and _has_encoder(tensors.left)
    tokenizer = with_placeholders(read_tokenizer(files.tokenizer, config.vocabulary))
    with reading(Path(files.title), f"has sizes that {CLASS} refuses", "Check the yaml."):
        model, codec = model_config(config, tokenizer), codec_config(config.codec, encoder=clones)
    _save_weights(tensors, config, model, codec, folder, clones=clones)
    _save_processor(config, tokenizer, folder)
    _link_voices(files.voices, folder / "voices")
    notes = [] if clones else [_WIDE_VOICES if wide else _NO_CLONING]
    said = {"model": files.title, "voice": default_voice(files.title), "notes": notes}
    (folder / TRANSLATION).write_text(json.dumps(said) + "\n", encoding="utf-8")


def model_config(config: KyutaiConfig, tokenizer: PreTrainedTokenizerFast) -> PocketTTSConfig:
    """The class's configuration of backbone and flow."""
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in PLACEHOLDERS.items()}
    pad = tokenizer.pad_token_id
    return PocketTTSConfig(
        architectures=[CLASS],
        vocab_size=config.vocabulary + len(PLACEHOLDERS),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        intermediate_size=config.mlp_width,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        latent_dim=config.codec.latent,
        frame_rate=config.codec.frame_rate,
        pad_token_id=0 if pad is None else pad,
        flow_head_config={
            "hidden_size": config.flow_width,
            "num_hidden_layers": config.flow_layers,
            "latent_dim": config.codec.latent,
            "condition_dim": config.width,
            "flow_type": config.flow_type,
        },
        latent_stats_ema_steps=0,
        **ids,
    )


def codec_config(sizes: CodecSizes, *, encoder: bool) -> PocketTTSAudioTokenizerConfig:
    """The class's configuration of the codec.

    Raises:
        ValueError: its frames are no whole number of samples.
    """
    hop = 1
    for ratio in sizes.ratios:
        hop *= ratio
    stride = sizes.sample_rate / hop / sizes.frame_rate
    if stride != int(stride):
        raise ValueError(f"a frame of {sizes.frame_rate:g} Hz is no whole number of {hop} samples")
    return PocketTTSAudioTokenizerConfig(
        architectures=["PocketTTSAudioTokenizerModel"],
        sampling_rate=sizes.sample_rate,
        hidden_size=sizes.width,
        num_filters=sizes.filters,
        num_residual_layers=sizes.residual_layers,
        upsampling_ratios=list(sizes.ratios),
        kernel_size=sizes.kernel,
        residual_kernel_size=sizes.residual_kernel,
        last_kernel_size=sizes.last_kernel,
        dilation_growth_rate=sizes.dilation_base,
        compress=sizes.compress,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        num_hidden_layers=sizes.layers,
        sliding_window=sizes.window,
        intermediate_size=sizes.mlp_width,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        latent_dim=sizes.latent,
        latent_stride=int(stride),
        upsample_groups=sizes.width,
        **({} if encoder else {"encoder_config": None}),
    )


def translate(
    tensors: Tensors, config: KyutaiConfig, model: Any, codec: Any, *, clones: bool
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The tensors of the model and those of its codec, under the class's names.

    Args:
        tensors: Kyutai's; all are taken.
        config: of the model.
        model: the class's configuration of the model.
        codec: the class's configuration of the codec.
        clones: whether the encoder is carried over.

    Raises:
        CheckpointError: tensors are missing or left over, of another shape, or not finite.
    """
    if not clones:  # its encoder makes nothing that the class could take
        tensors.drop(lambda name: name.startswith(_ENCODER_SIDE))
    backbone = tensors.renamed(BACKBONE_NAMES) | tensors.unpacked("flow_lm.", config.heads, config.kv_heads)
    backbone |= embeddings(tensors, config.vocabulary, voice_bos=config.voice_bos)
    backbone |= voice_projection(tensors, config.width, config.codec.latent, cloning=clones)
    sound = tensors.renamed((ENCODER_NAMES if clones else {}) | DECODER_NAMES)
    sound |= tensors.unpacked("mimi.", config.codec.heads, config.codec.heads)
    wanted = _shapes(PocketTTSForConditionalGeneration, model) | _shapes(PocketTTSAudioTokenizerModel, codec)
    tensors.check(backbone | sound, wanted)
    return backbone, sound


def _save_weights(
    tensors: Tensors, config: KyutaiConfig, model: Any, codec: Any, folder: Path, *, clones: bool
) -> None:
    backbone, sound = translate(tensors, config, model, codec, clones=clones)
    _save(backbone, folder)
    _save(sound, folder / CODEC_FOLDER)
    model.save_pretrained(folder)
    codec.save_pretrained(folder / CODEC_FOLDER)
    GenerationConfig(
        do_sample=config.temperature > 0,
        temperature=config.temperature or None,
        num_flow_steps=_FLOW_STEPS,
        eos_threshold=config.eos_threshold,
        min_frames_before_eos=_MIN_FRAMES_BEFORE_EOS,
        return_dict_in_generate=True,
        pad_token_id=model.pad_token_id,
    ).save_pretrained(folder)


def _save_processor(config: KyutaiConfig, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    short, long = frames_after_eos(config.text)
    frame = round(config.codec.sample_rate / config.codec.frame_rate)
    PocketTTSProcessor(
        PocketTTSFeatureExtractor(sampling_rate=config.codec.sample_rate, frame_size=frame, pad_to_multiple_of=frame),
        tokenizer,
        chat_template=chat_template(config.text, voice_bos=config.voice_bos),
        short_text_max_words=SHORT_TEXT_WORDS,
        frames_after_eos_short_text=short,
        frames_after_eos=long,
    ).save_pretrained(folder)


def _shapes(kind: Any, config: Any) -> dict[str, tuple[int, ...]]:
    """The tensors that a class takes, without the training's own; no memory is taken for them."""
    with torch.device("meta"):
        state = kind(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.startswith(_TRAINED)}


def _save(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    whole = {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def _tensors(weights: Path, codec: Path | None) -> dict[str, torch.Tensor]:
    """All tensors; those of a codec in a file of its own replace the codec's."""
    found = _read(weights)
    if codec is None:
        return found
    sound = {name: tensor for name, tensor in _read(codec).items() if name.startswith("mimi.")}
    if not sound:
        raise CheckpointError(
            f"{codec.name} has no tensors of pocket-tts' codec (mimi.*)",
            "Give the codec's weights as pocket-tts saves them.",
        )
    return {name: tensor for name, tensor in found.items() if not name.startswith("mimi.")} | sound


def _read(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- it is no dict


def _has_encoder(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the encoder holds anything: weights without voice cloning may have it away, or all zero."""
    encoder = [tensor for name, tensor in tensors.items() if name.startswith(_ENCODER_SIDE)]
    speaker = tensors.get("flow_lm.speaker_proj_weight")
    return speaker is not None and any(bool(t.any()) for t in encoder) and bool(speaker.any())


def _link_voices(voices: Mapping[str, Path], folder: Path) -> None:
    """The voices as they are: `load_voices` reads them, and leaves out by name what is none."""
    folder.mkdir()
    for name, file in voices.items():
        os.symlink(file.resolve(), folder / f"{name}.safetensors")
