"""A `.nemo`'s configuration, judged switch by switch, as transformers' `ParakeetTDTConfig`.

Each switch of the constructors of NeMo 2.7.3 is carried over, irrelevant at inference, or refused by name: its encoder
(modules/conformer_encoder.py), prediction network and joint (modules/rnnt.py) and front end
(modules/audio_preprocessing.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from models.parakeet_tdt.nemo_section import NEXT_STEP, Section
from toolkit.errors import CheckpointError

MODEL_CLASS = "EncDecRNNTBPEModel"
# What NeMo's greedy search takes where a configuration does not say it.
MAX_SYMBOLS = 10
_MOST_LAYERS = 1000  # building more of them takes minutes, before any weight could show that they are not there

_ENCODER_IRRELEVANT = (
    # regularisation, in training only
    *("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att", "att_context_probs"),
    *("stochastic_depth_drop_prob", "stochastic_depth_mode", "stochastic_depth_start_layer"),
    # how the same numbers are computed
    *("use_pytorch_sdpa", "use_pytorch_sdpa_backends", "sync_max_audio_length", "subsampling_conv_chunking_factor"),
    # of local attention or a reduction, which are refused themselves
    *("global_tokens", "global_tokens_spacing", "global_attn_separate", "reduction_position"),
    # whether all layers share their position biases: each layer's tensors hold them either way
    "untie_biases",
)
_FRONT_END_IRRELEVANT = (
    # in training only
    *("dither", "rng", "nb_augmentation_prob", "nb_max_freq"),
    # NeMo's own transcription sets it to 0; what it adds lies beyond the valid frames
    "pad_to",
    # deprecated, and without effect in NeMo 2.7.3
    *("use_torchaudio", "stft_exact_pad", "stft_conv"),
)
_PREDICTION_IRRELEVANT = ("random_state_sampling", "vocab_size")
_LSTM_IRRELEVANT = ("dropout", "t_max", "forget_gate_bias", "weights_init_scale", "hidden_hidden_bias_scale")
_JOINT_IRRELEVANT = (
    # a softmax moves no maximum; the rest is of training
    *("log_softmax", "preserve_memory", "fuse_loss_wer", "fused_batch_size", "experimental_fuse_loss_wer"),
    *("masking_prob", "vocabulary", "num_classes"),
)
_JOINT_NET_IRRELEVANT = ("encoder_hidden", "pred_hidden")  # the weights' shapes say them
# Sections that add to the model, and that `EncDecRNNTBPEModel` of NeMo reads.
_ADDED = ("adapters", "aux_ctc", "multisoftmax")


@dataclass(frozen=True)
class NemoConfig:
    """What a `.nemo`'s configuration becomes.

    Attributes:
        encoder: arguments of `ParakeetEncoderConfig`.
        decoder: arguments of `ParakeetTDTConfig`, but for the vocabulary.
        head: name of the joint's last layer in the weights.
        extractor: arguments of `ParakeetFeatureExtractor`.
        tokenizer: name of the SentencePiece model in the archive; None where the configuration does not say it.
        labels: size of the vocabulary without the blank; None where the configuration does not say it.
    """

    encoder: Mapping[str, Any]
    decoder: Mapping[str, Any]
    head: str
    extractor: Mapping[str, Any]
    tokenizer: str | None
    labels: int | None


def read_config(file: str, content: bytes) -> NemoConfig:
    """Judge a `model_config.yaml`.

    Args:
        file: the archive's name, for messages.
        content: of the member.

    Raises:
        CheckpointError: no YAML, or of a model with what `ParakeetForTDT` cannot express.
    """
    try:
        values = yaml.safe_load(content.decode("utf-8"))
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: its configuration is no YAML ({type(error).__name__})", NEXT_STEP) from error
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{file}: its configuration is no table", NEXT_STEP)
    whole = Section(file, "", values)
    _judge_class(whole)
    encoder, durations = _encoder(whole.part("encoder")), _durations(whole)
    prediction = _prediction(whole.part("decoder"))
    return NemoConfig(
        encoder=encoder,
        decoder=prediction | {"durations": durations, "max_symbols_per_step": _max_symbols(whole)},
        head=_joint_head(whole.part("joint"), prediction["decoder_hidden_size"], len(durations)),
        extractor=_extractor(whole.part("preprocessor"), encoder["num_mel_bins"]),
        tokenizer=_tokenizer(whole.part("tokenizer")),
        labels=len(labels) if isinstance(labels := whole.get("labels"), list) else None,
    )


def _judge_class(whole: Section) -> None:
    target = whole.get("target")
    if "Hybrid" in str(target) or whole.get("aux_ctc") is not None:
        raise whole.refusal("target", target, f"a hybrid with a CTC head is not carried over, only {MODEL_CLASS}")
    if str(target).rpartition(".")[2] != MODEL_CLASS:
        raise whole.refusal("target", target, f"only {MODEL_CLASS} is carried over")
    for key in _ADDED:
        whole.only(key, (None, {}, [], False), None, "parts added to the model are not carried over")


def _encoder(section: Section) -> dict[str, Any]:
    section.target("ConformerEncoder")
    width, kernel = section.integer("d_model"), section.integer("conv_kernel_size", 31)
    _judge_attention(section)
    _judge_convolutions(section, kernel)
    section.only("feat_out", (-1, None, width), -1, "only the encoder's own width is carried over")
    section.only("reduction_factor", (1,), 1, "a reduction layer is not carried over")
    section.only("reduction", (None,), None, "a reduction layer is not carried over")
    channels, bias = section.integer("subsampling_conv_channels", -1, low=-1), section.flag("use_bias", True)
    encoder = {
        "hidden_size": width,
        "num_hidden_layers": section.integer("n_layers", high=_MOST_LAYERS),
        "num_attention_heads": section.integer("n_heads", 4),
        "intermediate_size": width * section.integer("ff_expansion_factor", 4),
        "num_mel_bins": section.integer("feat_in"),
        "conv_kernel_size": kernel,
        "subsampling_factor": section.integer("subsampling_factor", 4),
        "subsampling_conv_channels": width if channels < 1 else channels,
        "max_position_embeddings": section.integer("pos_emb_max_len", 5000),
        "scale_input": section.flag("xscaling", True),
        "attention_bias": bias,
        "convolution_bias": bias,
    }
    section.close(_ENCODER_IRRELEVANT)
    _judge_sizes(section, encoder)
    return encoder


def _judge_attention(section: Section) -> None:
    section.only(
        "self_attention_model", ("rel_pos",), "rel_pos", "only full attention with relative positions (rel_pos)"
    )
    unlimited = (None, [-1, -1], [[-1, -1]])
    section.only("att_context_size", unlimited, None, "local attention and cache-aware streaming are not carried over")
    section.only("att_context_style", ("regular",), "regular", "cache-aware streaming is not carried over")


def _judge_convolutions(section: Section, kernel: int) -> None:
    section.only("subsampling", ("dw_striding",), "striding", "only dw_striding is carried over")
    section.only("causal_downsampling", (False,), False, "cache-aware streaming is not carried over")
    section.only("conv_norm_type", ("batch_norm",), "batch_norm", "only batch_norm is carried over")
    same = [(kernel - 1) // 2] * 2
    section.only("conv_context_size", (None, same), None, "causal convolutions (streaming) are not carried over")


def _judge_sizes(section: Section, encoder: Mapping[str, Any]) -> None:
    """What NeMo's constructors, or the class, would only fail at."""
    width, heads, factor = (encoder[k] for k in ("hidden_size", "num_attention_heads", "subsampling_factor"))
    if width % heads:
        raise section.refusal("n_heads", heads, f"it does not divide d_model, {width}")
    if factor < 2 or factor & (factor - 1):
        raise section.refusal("subsampling_factor", factor, "a power of two is needed")
    if not encoder["conv_kernel_size"] % 2:
        raise section.refusal("conv_kernel_size", encoder["conv_kernel_size"], "an odd number is needed")


def _durations(whole: Section) -> list[int]:
    """The durations of TDT, which a configuration may say in three places."""
    said = {
        "model_defaults.tdt_durations": _nested(whole, "model_defaults", "tdt_durations"),
        "loss.tdt_kwargs.durations": _nested(whole, "loss", "tdt_kwargs", "durations"),
        "decoding.durations": _nested(whole, "decoding", "durations"),
    }
    given = {key: value for key, value in said.items() if value not in (None, [])}
    if not given:
        raise whole.refusal(
            "model_defaults.tdt_durations", None, "only TDT is carried over, no plain transducer (RNNT)"
        )
    for key, value in given.items():
        if value != list(range(len(value))) if isinstance(value, list) else True:
            what = "only 0, 1, 2, ... are carried over, since the class takes a duration's index for its frames"
            raise whole.refusal(key, value, what)
    if len({len(value) for value in given.values()}) > 1:
        raise whole.refusal(
            "decoding.durations", said["decoding.durations"], f"it is not what {next(iter(given))} says"
        )
    loss = _nested(whole, "loss", "loss_name")
    if loss not in (None, "default", "tdt"):
        raise whole.refusal("loss.loss_name", loss, "only tdt is carried over")
    return list(next(iter(given.values())))


def _prediction(section: Section) -> dict[str, Any]:
    section.target("RNNTDecoder")
    section.only("normalization_mode", (None,), None, "a normalised LSTM is not carried over")
    section.only("blank_as_pad", (True,), True, "only a blank with an embedding of its own is carried over")
    lstm = section.part("prednet")
    width, layers = lstm.integer("pred_hidden"), lstm.integer("pred_rnn_layers", high=_MOST_LAYERS)
    lstm.only("rnn_hidden_size", (-1, None, width), -1, "an LSTM with a projection is not carried over")
    lstm.close(_LSTM_IRRELEVANT)
    section.close(_PREDICTION_IRRELEVANT)
    return {"decoder_hidden_size": width, "num_decoder_layers": layers, "hidden_act": "relu"}


def _joint_head(section: Section, width: int, durations: int) -> str:
    """The name of the joint's last layer, which stands behind a dropout where there is one."""
    section.target("RNNTJoint")
    section.only("num_extra_outputs", (durations,), 0, f"{durations} durations need as many outputs")
    network = section.part("jointnet")
    network.only("activation", ("relu",), None, "only relu is carried over")
    network.only("joint_hidden", (width,), None, f"only the width of the prediction network, {width}, is carried over")
    dropout = network.number("dropout", 0.0)
    network.close(_JOINT_NET_IRRELEVANT)
    section.close(_JOINT_IRRELEVANT)
    return "joint.joint_net.2." if dropout else "joint.joint_net.1."


def _max_symbols(whole: Section) -> int:
    """NeMo's bound on symbols at one frame; the class needs one, so 10 stands where NeMo has none either."""
    if (model := _nested(whole, "decoding", "greedy", "ngram_lm_model")) is not None:
        raise whole.refusal("decoding.greedy.ngram_lm_model", model, "a language model is not carried over")
    keys = ("max_symbols", "max_symbols_per_step")
    value = next(filter(None, (_nested(whole, "decoding", "greedy", key) for key in keys)), MAX_SYMBOLS)
    if type(value) is not int or not 0 < value < 2**20:
        raise whole.refusal("decoding.greedy.max_symbols", value, "a positive whole number is needed")
    return value


def _extractor(section: Section, mels: int) -> dict[str, Any]:
    section.target("AudioToMelSpectrogramPreprocessor")
    rate = section.integer("sample_rate", 16000)
    window, hop = _samples(section, "window_size", 0.02, rate), _samples(section, "window_stride", 0.01, rate)
    section.only("features", (mels,), 64, f"the encoder takes {mels} mel bins")
    section.only("window", ("hann",), "hann", "only hann is carried over")
    section.only("normalize", ("per_feature",), "per_feature", "only per_feature is carried over")
    section.only("frame_splicing", (1,), 1, "frame splicing is not carried over")
    section.only("exact_pad", (False,), False, "only centred frames are carried over")
    section.only("pad_value", (0,), 0, "only 0 is carried over")
    section.only("mag_power", (2,), 2.0, "only the power spectrum, 2, is carried over")
    section.only("log", (True,), True, "only logarithmic mels are carried over")
    section.only("log_zero_guard_type", ("add",), "add", "only add is carried over")
    section.only("mel_norm", ("slaney",), "slaney", "only slaney is carried over")
    section.only("lowfreq", (0, None), 0, "only mels from 0 Hz on are carried over")
    section.only("highfreq", (0, None, rate / 2), None, "only mels up to half the sample rate are carried over")
    _judge_guard(section)
    emphasis = section.number("preemph", 0.97)
    n_fft = section.get("n_fft") or 2 ** math.ceil(math.log2(window))
    if type(n_fft) is not int or not window <= n_fft <= 2**20:
        raise section.refusal("n_fft", n_fft, f"a whole number of at least the window's {window} samples is needed")
    section.close(_FRONT_END_IRRELEVANT)
    sizes = {"feature_size": mels, "sampling_rate": rate, "hop_length": hop, "win_length": window, "n_fft": n_fft}
    return sizes | {"preemphasis": emphasis, "return_attention_mask": True}


def _judge_guard(section: Section) -> None:
    guard = section.number("log_zero_guard_value", 2**-24) or 0.0
    if not math.isclose(guard, 2**-24, rel_tol=1e-6):
        raise section.refusal("log_zero_guard_value", guard, "only 2**-24 is carried over, the class's constant")


def _samples(section: Section, key: str, default_s: float, rate: int) -> int:
    """A length that is given in seconds, or in samples under another name."""
    seconds, samples = section.number(key, default_s), section.get(f"n_{key}")
    value = int(seconds * rate) if seconds else samples
    if type(value) is not int or not 1 < value <= 2**20:
        raise section.refusal(key, seconds, "a length of more than one sample is needed")
    return value


def _tokenizer(section: Section) -> str | None:
    section.only("type", ("bpe",), None, "only one SentencePiece model (bpe) is carried over")
    section.only("custom_tokenizer", (None,), None, "a tokenizer of its own code is not carried over")
    path = section.get("model_path")
    return str(path).removeprefix("nemo:").replace("\\", "/").rpartition("/")[2] if path else None


def _nested(section: Section, *keys: str) -> Any:
    """A value below optional sections; None where one is not there."""
    value = section.get(keys[0])
    for key in keys[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
