"""Kyutai's configuration of a PocketTTS, and which of its values the class of transformers can express.

Source: pocket-tts 4.0.1, utils/config.py: the same keys and the same defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import CheckpointError

CLASS = "PocketTTSForConditionalGeneration"
_STEP = f"Give a model that {CLASS} can express, such as --language english (docs/checkpoints.md)."


@dataclass(frozen=True)
class TextPreparation:
    """Kyutai's switches for the text.

    Attributes:
        replaced: character -> what stands in its place; empty deletes it.
        pad_short: put eight blanks before a text of less than five words.
        remove_semicolons: make them commas.
        end_sentences: make the text end with a mark that ends a sentence.
        capitalise: make the first letter a capital.
        frames_after_eos: frames after the end of speech, whatever the text; None leaves it to its number of words.
    """

    replaced: Mapping[str, str] = field(default_factory=dict)
    pad_short: bool = False
    remove_semicolons: bool = False
    end_sentences: bool = True
    capitalise: bool = True
    frames_after_eos: int | None = None


@dataclass(frozen=True)
class CodecSizes:
    """Sizes of the codec, which encoder and decoder share."""

    sample_rate: int = 24000
    frame_rate: float = 12.5
    width: int = 512
    filters: int = 64
    residual_layers: int = 1
    ratios: tuple[int, ...] = (6, 5, 4)
    kernel: int = 7
    residual_kernel: int = 3
    last_kernel: int = 3
    dilation_base: int = 2
    compress: int = 2
    heads: int = 8
    layers: int = 2
    window: int = 250
    mlp_width: int = 2048
    rope_theta: float = 10000.0
    latent: int = 32


@dataclass(frozen=True)
class KyutaiConfig:
    """One model; the defaults are the sizes that the published languages share.

    Attributes:
        vocabulary: text tokens.
        voice_bos: whether a learnt vector stands before the voice.
        voice_width: of what the codec's encoder makes of a voice; the class clones only where it is that of a latent.
        tokenizer: path, in the repository or as the yaml names it.
    """

    width: int = 1024
    heads: int = 16
    kv_heads: int = 16
    layers: int = 6
    mlp_width: int = 4096
    rope_theta: float = 10000.0
    flow_width: int = 512
    flow_layers: int = 6
    flow_type: str = "lsd"
    vocabulary: int = 4000
    voice_bos: bool = True
    voice_width: int = 32
    codec: CodecSizes = field(default_factory=CodecSizes)
    text: TextPreparation = field(default_factory=TextPreparation)
    temperature: float = 0.3
    eos_threshold: float = -4.0
    tokenizer: str = ""


# What a yaml may hold: section -> its keys; None may stand where there is a default.
_KEYS: dict[str, str] = {
    "": """
        flow_lm mimi weights_path weights_path_without_voice_cloning pad_with_spaces_for_short_inputs
        remove_semicolons append_terminal_punctuation capitalize_first_letter replace_characters
        model_recommended_frames_after_eos default_temperature default_eos_threshold
    """,
    "flow_lm": "dtype flow transformer z_dim lookup_table weights_path insert_bos_before_voice",
    "flow_lm.flow": "dim depth type",
    "flow_lm.transformer": """
        hidden_scale max_period d_model num_heads num_layers attn_dim num_kv_heads dim_feedforward
    """,
    "flow_lm.lookup_table": "dim n_bins tokenizer tokenizer_path rank",
    "mimi": """
        dtype sample_rate channels frame_rate seanet transformer quantizer weights_path inner_dim outer_dim
        decoder_seanet decoder_transformer
    """,
    "mimi.seanet": """
        dimension channels n_filters n_residual_layers ratios kernel_size residual_kernel_size
        last_kernel_size dilation_base pad_mode compress
    """,
    "mimi.transformer": """
        d_model input_dimension output_dimensions num_heads num_layers layer_scale context max_period
        dim_feedforward
    """,
    "mimi.quantizer": "dimension output_dimension",
}


def config_from_yaml(name: str, content: Any) -> KyutaiConfig:
    """Read Kyutai's yaml, and refuse by name what the class cannot express.

    Args:
        name: of the file, for messages.
        content: as the yaml parser returns it.

    Raises:
        CheckpointError: it is no such configuration, or of a model that the class cannot express.
    """
    for section in _KEYS:
        _check_keys(name, content, section)
    try:
        refused = _inexpressible(content)
        config = _config(content)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{name} is no configuration of pocket-tts 4: {type(error).__name__} {error}",
            "Give a yaml that `pocket_tts.TTSModel.load_model(config=...)` takes.",
        ) from error
    if refused:
        raise CheckpointError(f"{name}: {CLASS} has no {', no '.join(refused)}", _STEP)
    return config


def _check_keys(name: str, content: Any, section: str) -> None:
    for key in filter(None, section.split(".")):
        content = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{name} is no configuration of pocket-tts: it lacks {section or 'everything'}",
            "Give a yaml that `pocket_tts.TTSModel.load_model(config=...)` takes.",
        )
    if unknown := sorted(map(str, set(content) - {*_KEYS[section].split()})):
        raise CheckpointError(
            f"{name} has keys of a later pocket-tts: {', '.join(unknown)}", "Give a yaml of pocket-tts 4.0.1."
        )


def _inexpressible(content: Mapping[str, Any]) -> list[str]:
    """What the class lacks of a model, each in a few words."""
    lm, mimi = content["flow_lm"], content["mimi"]
    backbone, table, seanet, codec = lm["transformer"], lm["lookup_table"], mimi["seanet"], mimi["transformer"]
    width = backbone["d_model"]
    outer = {mimi.get("outer_dim") or seanet["dimension"], mimi["quantizer"]["output_dimension"], seanet["dimension"]}
    widths = {codec["d_model"], codec["input_dimension"], *codec["output_dimensions"], *outer}
    flow_type = lm["flow"].get("type", "lsd")
    found = {
        f"flow of type '{flow_type}'": flow_type not in ("lsd", "drifting"),
        "projection before flow and end of speech (z_dim)": lm.get("z_dim") is not None,
        "low-rank embeddings (rank)": table.get("rank") is not None,
        "embeddings of another width than the backbone": table["dim"] != width,
        "attention of another width than the backbone (attn_dim)": (backbone.get("attn_dim") or width) != width,
        "decoder of other sizes than the encoder": bool(mimi.get("decoder_seanet") or mimi.get("decoder_transformer")),
        "codec of several widths": len(widths) > 1,
        f"padding '{seanet['pad_mode']}'": seanet["pad_mode"] != "constant",
        "stereo": (mimi["channels"], seanet["channels"]) != (1, 1),
    }
    return [what for what, is_so in found.items() if is_so]


def _config(content: Mapping[str, Any]) -> KyutaiConfig:
    lm, mimi = content["flow_lm"], content["mimi"]
    backbone, latent = lm["transformer"], int(mimi["quantizer"]["dimension"])
    width, heads = int(backbone["d_model"]), int(backbone["num_heads"])
    return KyutaiConfig(
        width=width,
        heads=heads,
        kv_heads=int(backbone.get("num_kv_heads") or heads),
        layers=int(backbone["num_layers"]),
        mlp_width=int(backbone.get("dim_feedforward") or width * backbone["hidden_scale"]),
        rope_theta=float(backbone["max_period"]),
        flow_width=int(lm["flow"]["dim"]),
        flow_layers=int(lm["flow"]["depth"]),
        flow_type=lm["flow"].get("type", "lsd"),
        vocabulary=int(lm["lookup_table"]["n_bins"]),
        voice_bos=bool(lm.get("insert_bos_before_voice", False)),
        voice_width=int(mimi.get("inner_dim") or mimi["seanet"]["dimension"]),
        codec=_codec(mimi, latent),
        text=_text(content),
        temperature=float(content.get("default_temperature", 0.3)),
        eos_threshold=float(content.get("default_eos_threshold", -4.0)),
        tokenizer=str(lm["lookup_table"]["tokenizer_path"]),
    )


def _codec(mimi: Mapping[str, Any], latent: int) -> CodecSizes:
    seanet, transformer = mimi["seanet"], mimi["transformer"]
    return CodecSizes(
        sample_rate=int(mimi["sample_rate"]),
        frame_rate=float(mimi["frame_rate"]),
        width=int(seanet["dimension"]),
        filters=int(seanet["n_filters"]),
        residual_layers=int(seanet["n_residual_layers"]),
        ratios=tuple(map(int, seanet["ratios"])),
        kernel=int(seanet["kernel_size"]),
        residual_kernel=int(seanet["residual_kernel_size"]),
        last_kernel=int(seanet["last_kernel_size"]),
        dilation_base=int(seanet["dilation_base"]),
        compress=int(seanet["compress"]),
        heads=int(transformer["num_heads"]),
        layers=int(transformer["num_layers"]),
        window=int(transformer["context"]),
        mlp_width=int(transformer["dim_feedforward"]),
        rope_theta=float(transformer.get("max_period", 10000.0)),
        latent=latent,
    )


def _text(content: Mapping[str, Any]) -> TextPreparation:
    replaced = {str(old): str(new) for old, new in (content.get("replace_characters") or {}).items()}
    if long := [old for old in replaced if len(old) != 1]:
        raise ValueError(f"replace_characters has '{long[0]}', which is not one character")
    frames = content.get("model_recommended_frames_after_eos")
    return TextPreparation(
        replaced=replaced,
        pad_short=bool(content.get("pad_with_spaces_for_short_inputs", False)),
        remove_semicolons=bool(content.get("remove_semicolons", False)),
        end_sentences=bool(content.get("append_terminal_punctuation", True)),
        capitalise=bool(content.get("capitalize_first_letter", True)),
        frames_after_eos=None if frames is None else int(frames),
    )
