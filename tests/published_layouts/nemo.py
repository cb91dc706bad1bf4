"""A checkpoint of transformers' layout as the `.nemo` that NeMo would have saved; the vendor's code loads it strictly.

Written independently of models/parakeet_tdt/nemo_*: the names are those that NeMo's modules have, one by one.
"""

import io
import json
import re
import tarfile
from copy import deepcopy

import torch
import yaml
from safetensors.torch import load_file
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from transformers import ParakeetFeatureExtractor

PREFIX = "0f1e2d3c4b5a69788796a5b4c3d2e1f0_"  # NeMo writes one of these in front of the tokenizer's files
_PATTERNS = (
    (r"^encoder\.subsampling\.layers\.(\d+)\.", r"encoder.pre_encode.conv.\1."),
    (r"^encoder\.subsampling\.linear\.", "encoder.pre_encode.out."),
    (r"\.self_attn\.([qkv])_proj\.", r".self_attn.linear_\1."),
    (r"\.self_attn\.o_proj\.", ".self_attn.linear_out."),
    (r"\.self_attn\.relative_k_proj\.", ".self_attn.linear_pos."),
    (r"\.self_attn\.bias_([uv])$", r".self_attn.pos_bias_\1"),
    (r"\.conv\.norm\.", ".conv.batch_norm."),
    (r"^decoder\.embedding\.", "decoder.prediction.embed."),
    (r"^decoder\.lstm\.", "decoder.prediction.dec_rnn.lstm."),
    (r"^decoder\.decoder_projector\.", "joint.pred."),
    (r"^encoder_projector\.", "joint.enc."),
    (r"^joint\.head\.", "joint.joint_net.2."),
)


def write_nemo(folder, archive, *, change=None, mode="w", dtype=None, members=None, pieces=None):
    """Write the `.nemo` of a checkpoint in transformers' layout.

    Args:
        folder: the checkpoint.
        archive: file to write.
        change: changes configuration and table of tensors in place.
        mode: of the tar, `w:gz` for a gzipped one.
        dtype: of the weights.
        members: further or other members, name -> content; None leaves one out.
        pieces: another SentencePiece model; that of the checkpoint's tokenizer, which is BPE, where it is left out.
    """
    model = pieces or sentencepiece_model(folder)
    labels = [p.piece for p in sentencepiece_model_pb2.ModelProto.FromString(model).pieces]
    config = nemo_config(json.loads((folder / "config.json").read_text()), labels)
    tensors = nemo_tensors(folder, dtype)
    if change:
        change(config, tensors)
    content = {
        f"{PREFIX}tokenizer.vocab": "".join(f"{p}\t{-i}\n" for i, p in enumerate(labels)).encode(),
        f"{PREFIX}vocab.txt": "".join(f"{p}\n" for p in labels).encode(),
        f"{PREFIX}tokenizer.model": model,
        "model_config.yaml": yaml.safe_dump(config, sort_keys=False).encode(),
        "model_weights.ckpt": saved(tensors),
    }
    write_tar(archive, {k: v for k, v in (content | (members or {})).items() if v is not None}, mode)


def write_tar(archive, members, mode="w"):
    with tarfile.open(archive, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def nemo_tensors(folder, dtype=None):
    """NeMo's names -> tensors, with the buffers of its front end."""
    extractor = extractor_of(folder)
    tensors = {
        "preprocessor.featurizer.window": torch.hann_window(extractor.win_length, periodic=False),
        "preprocessor.featurizer.fb": extractor.mel_filters[None].clone(),
    }
    for name, tensor in load_file(folder / "model.safetensors").items():
        for pattern, replacement in _PATTERNS:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
    return tensors


def without_dropout_of_the_joint(config, tensors):
    """NeMo's joint has no dropout module then, and its last layer another number."""
    config["joint"]["jointnet"]["dropout"] = 0.0
    for part in ("weight", "bias"):
        tensors[f"joint.joint_net.1.{part}"] = tensors.pop(f"joint.joint_net.2.{part}")


def trained_pieces(sentences, size, **options):
    """A SentencePiece model of its own, trained on sentences."""
    stream = io.BytesIO()
    defaults = {"model_type": "bpe", "bos_id": -1, "eos_id": -1, "minloglevel": 2, "hard_vocab_limit": False}
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=stream, vocab_size=size, **(defaults | options)
    )
    return stream.getvalue()


def nemo_config(config, labels):
    """The `model_config.yaml` of NeMo 2.7.3 for a `ParakeetTDTConfig`, as `save_to` resolves it."""
    encoder, durations = config["encoder_config"], list(config["durations"])
    width, hidden = encoder["hidden_size"], config["decoder_hidden_size"]
    labels = list(labels)
    return deepcopy(
        {
            "sample_rate": 16000,
            "compute_eval_loss": False,
            "log_prediction": True,
            "skip_nan_grad": False,
            "model_defaults": {
                "enc_hidden": width,
                "pred_hidden": hidden,
                "joint_hidden": hidden,
                "tdt_durations": durations,
                "num_tdt_durations": len(durations),
            },
            "tokenizer": {
                "dir": "tokenizers/demo",
                "type": "bpe",
                "model_path": f"nemo:{PREFIX}tokenizer.model",
                "vocab_path": f"nemo:{PREFIX}vocab.txt",
                "spe_tokenizer_vocab": f"nemo:{PREFIX}tokenizer.vocab",
            },
            "preprocessor": {
                "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                "sample_rate": 16000,
                "normalize": "per_feature",
                "window_size": 0.025,
                "window_stride": 0.01,
                "window": "hann",
                "features": encoder["num_mel_bins"],
                "n_fft": 512,
                "log": True,
                "frame_splicing": 1,
                "dither": 1.0e-05,
                "pad_to": 0,
                "pad_value": 0.0,
            },
            "spec_augment": {
                "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
                "freq_masks": 2,
                "time_masks": 10,
                "freq_width": 27,
                "time_width": 0.05,
            },
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConformerEncoder",
                "feat_in": encoder["num_mel_bins"],
                "feat_out": -1,
                "n_layers": encoder["num_hidden_layers"],
                "d_model": width,
                "use_bias": encoder.get("attention_bias", True),
                "subsampling": "dw_striding",
                "subsampling_factor": encoder.get("subsampling_factor", 8),
                "subsampling_conv_channels": encoder["subsampling_conv_channels"],
                "causal_downsampling": False,
                "reduction": None,
                "reduction_position": None,
                "reduction_factor": 1,
                "ff_expansion_factor": encoder["intermediate_size"] // width,
                "self_attention_model": "rel_pos",
                "n_heads": encoder["num_attention_heads"],
                "att_context_size": [-1, -1],
                "att_context_style": "regular",
                "xscaling": encoder.get("scale_input", True),
                "untie_biases": True,
                "pos_emb_max_len": encoder.get("max_position_embeddings", 5000),
                "conv_kernel_size": encoder.get("conv_kernel_size", 9),
                "conv_norm_type": "batch_norm",
                "conv_context_size": None,
                "dropout": 0.1,
                "dropout_pre_encoder": 0.1,
                "dropout_emb": 0.0,
                "dropout_att": 0.1,
                "stochastic_depth_drop_prob": 0.0,
                "stochastic_depth_mode": "linear",
                "stochastic_depth_start_layer": 1,
            },
            "decoder": {
                "_target_": "nemo.collections.asr.modules.RNNTDecoder",
                "normalization_mode": None,
                "random_state_sampling": False,
                "blank_as_pad": True,
                "prednet": {
                    "pred_hidden": hidden,
                    "pred_rnn_layers": config["num_decoder_layers"],
                    "t_max": None,
                    "dropout": 0.2,
                },
                "vocab_size": len(labels),
            },
            "joint": {
                "_target_": "nemo.collections.asr.modules.RNNTJoint",
                "log_softmax": None,
                "preserve_memory": False,
                "fuse_loss_wer": True,
                "fused_batch_size": 4,
                "jointnet": {
                    "joint_hidden": hidden,
                    "activation": "relu",
                    "dropout": 0.2,
                    "encoder_hidden": width,
                    "pred_hidden": hidden,
                },
                "num_extra_outputs": len(durations),
                "num_classes": len(labels),
                "vocabulary": labels,
            },
            "decoding": {
                "strategy": "greedy_batch",
                "model_type": "tdt",
                "durations": durations,
                "greedy": {"max_symbols": config["max_symbols_per_step"]},
                "beam": {"beam_size": 2, "return_best_hypothesis": False, "score_norm": True},
            },
            "loss": {
                "loss_name": "tdt",
                "tdt_kwargs": {"fastemit_lambda": 0.0, "durations": durations, "sigma": 0.02, "omega": 0.1},
            },
            "labels": labels,
            "target": "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel",
            "nemo_version": "2.7.3",
        }
    )


def sentencepiece_model(folder):
    """The SentencePiece model whose pieces and merges are those of a BPE tokenizer.json."""
    content = _tokenizer(folder)
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    ranks = {}
    for rank, pair in enumerate(content["model"]["merges"]):
        ranks.setdefault("".join(pair), rank)
    proto = sentencepiece_model_pb2.ModelProto()
    vocabulary = content["model"]["vocab"]
    for index, piece in enumerate(sorted(vocabulary, key=vocabulary.get)):  # the blank is no piece
        kind = 2 if piece == "<unk>" else 3 if piece in special else 1
        score = -float(ranks.get(piece, len(ranks) + index)) if kind == 1 else 0.0
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.unk_id = 0
    proto.trainer_spec.vocab_size = len(proto.pieces)
    for token in ("bos_id", "eos_id", "pad_id"):
        setattr(proto.trainer_spec, token, -1)
    proto.normalizer_spec.name = "identity"
    return proto.SerializeToString()


def extractor_of(folder):
    return ParakeetFeatureExtractor.from_pretrained(folder)


def _tokenizer(folder):
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
