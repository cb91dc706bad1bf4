"""A `.nemo`'s weights under the names of `ParakeetForTDT`; every tensor is used, or dropped for a reason."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import ParakeetForTDT

from toolkit.errors import CheckpointError
from toolkit.export.tensors import refuse_not_finite, refuse_tensors

# Ours -> NeMo's; the last layer of the joint is named by the configuration.
_NAMES = (
    ("encoder.subsampling.layers.", "encoder.pre_encode.conv."),
    ("encoder.subsampling.linear.", "encoder.pre_encode.out."),
    (".conv.norm.", ".conv.batch_norm."),
    (".q_proj.", ".linear_q."),
    (".k_proj.", ".linear_k."),
    (".v_proj.", ".linear_v."),
    (".o_proj.", ".linear_out."),
    (".relative_k_proj.", ".linear_pos."),
    (".bias_u", ".pos_bias_u"),
    (".bias_v", ".pos_bias_v"),
    ("decoder.embedding.", "decoder.prediction.embed."),
    ("decoder.lstm.", "decoder.prediction.dec_rnn.lstm."),
    ("decoder.decoder_projector.", "joint.pred."),
    ("encoder_projector.", "joint.enc."),
)
_FILTERS = "preprocessor.featurizer.fb"
# The front end's buffers: the feature extractor computes them itself, and `check_filters` compares the filters.
_DROPPED = (_FILTERS, "preprocessor.featurizer.window")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_STEP = "Save it again in NeMo with `model.save_to('name.nemo')`, from a model that loads there strictly."


def renamed(file: str, tensors: Mapping[str, Any], config: Any, head: str) -> dict[str, Any]:
    """The tensors of `ParakeetForTDT` with this configuration.

    Args:
        file: the archive's name, for messages.
        tensors: NeMo's name -> tensor.
        config: `ParakeetTDTConfig`.
        head: NeMo's name of the joint's last layer.

    Returns:
        Our name -> contiguous tensor with memory of its own, in the precision that it was saved in.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape, not finite, or no floating-point numbers.
    """
    with torch.device("meta"):
        wanted = ParakeetForTDT(config).state_dict()
    names = {name: _name_in_nemo(name, head) for name in wanted}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name not in _DROPPED}
    shapes = {theirs: tuple(wanted[ours].shape) for ours, theirs in names.items()}
    refuse_tensors(
        file,
        len(shapes),
        missing=shapes.keys() - found.keys(),
        left=found.keys() - shapes.keys(),
        shapes={n: (found[n], shape) for n, shape in shapes.items() if n in found and found[n] != shape},
        step=_STEP,
    )
    types = [
        f"{theirs} is {tensors[theirs].dtype}"
        for ours, theirs in names.items()
        if wanted[ours].is_floating_point() and tensors[theirs].dtype not in _FLOATS
    ]
    if types:
        raise CheckpointError(f"{file}: {len(types)} tensors are no floating-point numbers ({types[0]})", _STEP)
    # Here rather than when the model is loaded, where only the translated folder could be named.
    refuse_not_finite(file, {theirs: tensors[theirs] for theirs in names.values()})
    return _own_memory({ours: tensors[theirs] for ours, theirs in names.items()})


def check_filters(file: str, tensors: Mapping[str, Any], extractor: Any) -> None:
    """Compare the mel filters that NeMo saves with its weights with those of the feature extractor.

    Raises:
        CheckpointError: they are others, so that the features would be.
    """
    if (saved := tensors.get(_FILTERS)) is None:
        return
    ours = extractor.mel_filters  # [mels, bins]
    exact = saved.dtype == torch.float32
    limit = float(ours.abs().max()) * (1e-5 if exact else 2**-7)
    same_shape = saved.numel() == ours.numel()
    if not same_shape or float((saved.float().reshape(ours.shape) - ours).abs().max()) > limit:
        raise CheckpointError(
            f"{file}: its mel filters ({_FILTERS}) are not those that its preprocessor section describes",
            "Give a model whose front end was not changed.",
        )


def _name_in_nemo(name: str, head: str) -> str:
    for ours, theirs in (*_NAMES, ("joint.head.", head)):
        name = name.replace(ours, theirs)
    return name


def _own_memory(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Contiguous tensors, of which no two share memory, as safetensors needs them."""
    seen, own = set[int](), {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        own[name] = tensor if whole else tensor.clone(memory_format=torch.contiguous_format)
    return own
