"""What a PocketTTS checkpoint brings: model, codec, processor and voices, checked and read from safetensors only."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from transformers import (
    AutoTokenizer,
    PocketTTSAudioTokenizerConfig,
    PocketTTSAudioTokenizerModel,
    PocketTTSFeatureExtractor,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
)

from models.pocket_tts.voice_file import VoiceSizes, read_voice
from toolkit.bundle.checksums import sha256_of_json, sha256_of_path
from toolkit.errors import CheckpointError, OptionError, ToolkitError
from toolkit.export.checkpoint import fetch_folder
from toolkit.export.pretrained import load_config, load_part, load_pretrained, reading
from toolkit.export.source import open_source, read_json
from toolkit.export.weights import check_weight_files, weight_files
from toolkit.mac_files import colliding, is_clutter
from wrappers.pocket_tts_codec import CodecDecoder

CODEC_FOLDER = "audio_tokenizer"
CONFIG, PROCESSOR, TEMPLATE = "config.json", "processor_config.json", "chat_template.jinja"
TRANSLATION = "kyutai.json"  # what the translation from Kyutai's layout left to say


def load_model(checkpoint: Path) -> Any:
    """`PocketTTSForConditionalGeneration` in eval mode and float32, from safetensors only."""
    return load_pretrained(PocketTTSForConditionalGeneration, checkpoint)


def check_small_files(checkpoint: Path) -> None:
    """Judge configuration, tokenizer, feature extractor and text rules; no weight is read.

    Raises:
        CheckpointError: one is missing or damaged.
    """
    load_config(PocketTTSForConditionalGeneration, checkpoint)
    load_processor(checkpoint)


def load_codec(folder: Path) -> Any:
    """`PocketTTSAudioTokenizerModel` in eval mode and float32, from safetensors only.

    Raises:
        CheckpointError: the folder has no such codec, or the codec cannot be read or has no decoder.
    """
    step = "Give --audio-tokenizer the folder or hub id of a PocketTTSAudioTokenizerModel with a decoder."
    source = open_source(str(folder))
    weights = weight_files(source)
    if CONFIG not in source.files or not weights:
        raise CheckpointError(f"{folder} contains no codec (config.json and .safetensors)", step)
    kind = read_json(source, CONFIG).get("model_type", "unknown")
    if kind != PocketTTSAudioTokenizerConfig.model_type:
        raise CheckpointError(f"the codec in {folder} is a {kind}", step)
    check_weight_files(folder.name, folder, weights)
    load_config(PocketTTSAudioTokenizerModel, folder)
    codec = load_pretrained(PocketTTSAudioTokenizerModel, folder)
    if codec.decoder is None:
        raise CheckpointError(f"the codec in {folder} has no decoder", step)
    return codec


def load_processor(checkpoint: Path) -> Any:
    """`PocketTTSProcessor` without a codec, which processor_config.json may look for elsewhere.

    Raises:
        CheckpointError: tokenizer, feature extractor or chat template are missing.
    """
    source = open_source(str(checkpoint))
    rules = read_json(source, PROCESSOR) if PROCESSOR in source.files else {}
    template = source.fetch([TEMPLATE]) / TEMPLATE
    names = ("short_text_max_words", "frames_after_eos_short_text", "frames_after_eos", "fade_in_duration")
    parts = (
        load_part(PocketTTSFeatureExtractor, checkpoint, "feature extractor"),
        load_part(AutoTokenizer, checkpoint, "tokenizer"),
    )
    with reading(checkpoint, "has no readable processor", "Save it with `PocketTTSProcessor.save_pretrained(folder)`."):
        return PocketTTSProcessor(
            *parts,
            chat_template=template.read_text(encoding="utf-8"),
            **{name: rules[name] for name in names if name in rules},
        )


def locate_codec(checkpoint: Path, name: str) -> tuple[Path, str]:
    """Where the codec is, and the name that finds it again; empty for the checkpoint's own folder.

    Args:
        checkpoint: the model's folder.
        name: hub id, optionally @revision, or folder; empty looks in the checkpoint.

    Raises:
        CheckpointError: nothing says where, or it cannot be fetched.
    """
    if not name and (checkpoint / CODEC_FOLDER).is_dir():
        return checkpoint / CODEC_FOLDER, ""
    return fetch_folder(name or _recorded_codec(checkpoint))


def _recorded_codec(checkpoint: Path) -> str:
    try:
        recorded = json.loads((checkpoint / "processor_config.json").read_text(encoding="utf-8"))
        name = str(recorded["audio_tokenizer"]["audio_tokenizer_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint} has no folder {CODEC_FOLDER}, and no processor_config.json that says where its codec is",
            "Give --audio-tokenizer a hub id or a folder.",
        ) from error
    inside = checkpoint / name  # a path that is relative means one in the checkpoint
    return str(inside) if inside.is_dir() else name


def check_pair(model: Any, codec: Any) -> None:
    """Backbone and codec must speak of the same latents, and the codec be one that streams.

    Raises:
        CheckpointError: they do not, it is not, or a rotary embedding is not the plain one.
    """
    try:
        CodecDecoder(codec)
    except ValueError as error:
        raise CheckpointError(f"the codec cannot stream: {error}", "Give --audio-tokenizer another codec.") from error
    config, other = model.config, codec.config
    ours, theirs = (config.latent_dim, config.frame_rate), (other.latent_dim, other.frame_rate)
    if ours != theirs:
        raise CheckpointError(
            f"the backbone makes latents of {ours[0]} at {ours[1]:g} Hz, the codec takes {theirs[0]} at {theirs[1]:g}",
            "Give --audio-tokenizer the codec that belongs to the checkpoint.",
        )
    for one in (config, other):
        if one.rope_parameters["rope_type"] != "default":
            raise CheckpointError(
                f"{one.model_type}: rotary embedding '{one.rope_parameters['rope_type']}' is not supported",
                "Give a checkpoint with the default one.",
            )


def load_voices(checkpoint: Path, sizes: VoiceSizes) -> tuple[dict[str, bytes], list[str]]:
    """The voices that the checkpoint brings.

    Args:
        checkpoint: the model's folder.
        sizes: what a voice must fit.

    Returns:
        Name -> content of a .safetensors file in our own form, the default voice first, the others in alphabetical
        order; and a note on each file that is left out, since it holds no voice of this checkpoint.

    Raises:
        CheckpointError: two voices differ in case alone, so that a Mac would keep one of them.
    """
    voices, notes = {}, []
    first = _translation(checkpoint).get("voice", "")
    files = [file for file in (checkpoint / "voices").glob("*.safetensors") if not is_clutter(Path(file.name))]
    if pair := colliding(file.stem for file in files):
        raise CheckpointError(f"the voices {pair[0]} and {pair[1]} differ in case alone", "Rename one of the files.")
    for file in sorted(files, key=lambda file: (file.stem != first, file.stem)):
        try:
            arrays = read_voice(file, sizes)
        except ToolkitError as error:
            notes.append(f"{file.name} is left out: {error.message.replace(str(file), 'it')}")
        else:
            voices[file.stem] = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return voices, notes


def voice_sizes(config: Any, *, clones: bool) -> VoiceSizes:
    """What a voice of this model must fit."""
    return VoiceSizes(
        latent=config.latent_dim,
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        key_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        clones=clones,
    )


def can_project(model: Any) -> bool:
    """Whether the model can project a voice's latents: Kyutai's weights without voice cloning come with zeros there."""
    return bool(model.model.audio_prompt_proj.weight.any())


def translation_notes(checkpoint: Path) -> list[str]:
    """What a user should know of a checkpoint that came from Kyutai's layout."""
    return [str(note) for note in _translation(checkpoint).get("notes", [])]


def _translation(checkpoint: Path) -> dict[str, Any]:
    """What the translation from Kyutai's layout wrote beside the checkpoint; empty for another checkpoint."""
    file = checkpoint / TRANSLATION
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def check_language(checkpoint: Path, language: str) -> None:
    """`--language` chooses among what Kyutai's repository holds, and means nothing for another checkpoint.

    Raises:
        OptionError: it was given for one.
    """
    if language and not (checkpoint / TRANSLATION).is_file():
        raise OptionError("--language belongs to checkpoints in Kyutai's own layout; this one holds one model")


def sha256_of_weights(folder: Path) -> str:
    """Of all weight files of a codec."""
    files = (file for file in folder.glob("*.safetensors") if not is_clutter(Path(file.name)))
    return sha256_of_json([sha256_of_path(file) for file in sorted(files)])
