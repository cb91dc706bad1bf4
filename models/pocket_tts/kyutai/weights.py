"""Kyutai's tensors under the names of transformers; each is used, or dropped for a reason.

Two contents change: rotary pairs are neighbours there and half a head apart here, and queries, keys and values are one
matrix there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from toolkit.errors import CheckpointError
from toolkit.export.tensors import refuse_not_finite, refuse_tensors

_Q, _K, _V = "q_proj", "k_proj", "v_proj"
_LAYER = {
    "norm1.{p}": "input_layernorm.{p}",
    "norm2.{p}": "post_attention_layernorm.{p}",
    "linear1.weight": "mlp.fc1.weight",
    "linear2.weight": "mlp.fc2.weight",
    "self_attn.out_proj.weight": "self_attn.o_proj.weight",
}
_CODEC_LAYER = _LAYER | {
    "layer_scale_1.scale": "self_attn_layer_scale.scale",
    "layer_scale_2.scale": "mlp_layer_scale.scale",
}


def _placed(theirs: str, ours: str, names: Mapping[str, str]) -> dict[str, str]:
    return {f"{theirs}{a}": f"{ours}{b}" for a, b in names.items()}


def _seanet(side: str) -> dict[str, str]:
    theirs, ours = f"mimi.{side}.model.{{n}}.", f"{side}.{side}_seanet.layers.{{n}}."
    names = {"conv.{p}": "conv.{p}", "block.{n}.conv.{p}": "block.{n}.conv.{p}"}
    return _placed(theirs, ours, names)


def _half(side: str) -> dict[str, str]:
    theirs, ours = f"mimi.{side}_transformer.transformer.layers.{{n}}.", f"{side}.{side}_transformer.layers.{{n}}."
    return _seanet(side) | _placed(theirs, ours, _CODEC_LAYER)


# Theirs -> ours; {n} is a number, {p} is weight or bias.
BACKBONE_NAMES = {
    "flow_lm.emb_mean": "latent_mean",
    "flow_lm.emb_std": "latent_std",
    "flow_lm.bos_emb": "model.bos_latent",
    "flow_lm.input_linear.weight": "model.audio_latent_proj.weight",
    "flow_lm.out_norm.{p}": "model.norm.{p}",
    "flow_lm.out_eos.{p}": "eos_head.{p}",
    "flow_lm.flow_net.cond_embed.{p}": "flow_head.cond_proj.{p}",
    "flow_lm.flow_net.input_proj.{p}": "flow_head.input_proj.{p}",
    "flow_lm.flow_net.final_layer.linear.{p}": "flow_head.final_layer.proj.{p}",
    "flow_lm.flow_net.final_layer.adaLN_modulation.1.{p}": "flow_head.final_layer.adaln_proj.{p}",
    "flow_lm.flow_net.res_blocks.{n}.in_ln.{p}": "flow_head.layers.{n}.norm.{p}",
    "flow_lm.flow_net.res_blocks.{n}.mlp.0.{p}": "flow_head.layers.{n}.fc1.{p}",
    "flow_lm.flow_net.res_blocks.{n}.mlp.2.{p}": "flow_head.layers.{n}.fc2.{p}",
    "flow_lm.flow_net.res_blocks.{n}.adaLN_modulation.1.{p}": "flow_head.layers.{n}.adaln_proj.{p}",
    "flow_lm.flow_net.time_embed.{n}.freqs": "flow_head.timestep_embeddings.{n}.freqs",
    "flow_lm.flow_net.time_embed.{n}.mlp.0.{p}": "flow_head.timestep_embeddings.{n}.fc1.{p}",
    "flow_lm.flow_net.time_embed.{n}.mlp.2.{p}": "flow_head.timestep_embeddings.{n}.fc2.{p}",
    "flow_lm.flow_net.time_embed.{n}.mlp.3.alpha": "flow_head.timestep_embeddings.{n}.norm.weight",
    **_placed("flow_lm.transformer.layers.{n}.", "model.layers.{n}.", _LAYER),
}
ENCODER_NAMES = {"mimi.downsample.conv.conv.weight": "encoder.downsample.conv.weight", **_half("encoder")}
DECODER_NAMES = {
    "mimi.upsample.convtr.convtr.weight": "decoder.upsample.conv.weight",
    "mimi.quantizer.output_proj.weight": "latent_proj.weight",
    **_half("decoder"),
    "mimi.decoder.model.{n}.convtr.{p}": "decoder.decoder_seanet.layers.{n}.conv.{p}",
}
# Queries, keys and values in one; ours are three.
PACKED_NAMES = {
    f"{theirs}.layers.{{n}}.self_attn.in_proj.weight": f"{ours}.layers.{{n}}.self_attn"
    for theirs, ours in (
        ("flow_lm.transformer", "model"),
        ("mimi.encoder_transformer.transformer", "encoder.encoder_transformer"),
        ("mimi.decoder_transformer.transformer", "decoder.decoder_transformer"),
    )
}
EMBEDDINGS, VOICE_BOS = "flow_lm.conditioner.embed.weight", "flow_lm.bos_before_voice"
SPEAKER = "flow_lm.speaker_proj_weight"
# The first number of ids behind the text's: a voice's frame, a latent, the vector before a voice, the start of audio.
PLACEHOLDERS = 4
_BOS_ROW = 2


@dataclass
class Tensors:
    """A source's tensors, taken one by one.

    Attributes:
        name: of the source, for messages.
        left: those that were not taken.
        missing: names that were asked for in vain.
    """

    name: str
    left: dict[str, torch.Tensor]
    missing: list[str] = field(default_factory=list)

    def take(self, name: str) -> torch.Tensor | None:
        """A tensor, no longer left over; None, and noted as missing, where there is none."""
        if name not in self.left:
            self.missing.append(name)
        return self.left.pop(name, None)

    def drop(self, fits: Callable[[str], bool]) -> None:
        """Leave out what a rule says that the result has no place for."""
        self.left = {name: tensor for name, tensor in self.left.items() if not fits(name)}

    def renamed(self, names: Mapping[str, str]) -> dict[str, torch.Tensor]:
        """Those that a table names, under our names."""
        found = {}
        for theirs, ours in names.items():
            pattern = _pattern(theirs)
            for name in [name for name in self.left if pattern.fullmatch(name)]:
                found[_filled(ours, pattern, name)] = self.left.pop(name)
        return found

    def unpacked(self, side: str, heads: int, kv_heads: int) -> dict[str, torch.Tensor]:
        """Queries, keys and values of the layers below `side`, their rotary pairs half a head apart."""
        found: dict[str, torch.Tensor] = {}
        for theirs, ours in PACKED_NAMES.items():
            pattern = _pattern(theirs)
            for name in [name for name in self.left if name.startswith(side) and pattern.fullmatch(name)]:
                stem, packed = _filled(ours, pattern, name), self.left.pop(name)
                found |= {f"{stem}.{p}.weight": w for p, w in _split(packed, heads, kv_heads, self, name).items()}
        return found

    def check(self, made: Mapping[str, torch.Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Every wanted tensor was made, in its shape, and nothing of the source is left.

        Raises:
            CheckpointError: it is not so; the first few are named as in the source.
        """
        refuse_tensors(
            self.name,
            len(wanted),
            missing={*self.missing, *(_theirs(name) for name in wanted if name not in made)},
            left={*self.left, *(_theirs(name) for name in made if name not in wanted)},
            shapes={
                _theirs(name): (tuple(made[name].shape), shape)
                for name, shape in wanted.items()
                if name in made and tuple(made[name].shape) != shape
            },
            step="Give the weights that belong to the configuration (--language, or the yaml), whole.",
        )
        refuse_not_finite(self.name, {_theirs(name): tensor for name, tensor in made.items()})


def embeddings(tensors: Tensors, vocabulary: int, *, voice_bos: bool) -> dict[str, torch.Tensor]:
    """The rows of the text, and the placeholders' behind them: only the vector before a voice is ever looked up."""
    table = tensors.take(EMBEDDINGS)
    bos = tensors.take(VOICE_BOS) if voice_bos else None
    if table is None:
        return {}
    rows = table.new_zeros(PLACEHOLDERS, table.shape[1])
    if bos is not None and bos.numel() == table.shape[1]:
        rows[_BOS_ROW] = bos.reshape(-1)
    # Kyutai's last row pads the batches of the training, and no text has its id.
    return {"model.embed_tokens.weight": torch.cat([table[:vocabulary], rows])}


def voice_projection(tensors: Tensors, width: int, latent: int, *, cloning: bool) -> dict[str, torch.Tensor]:
    """What projects a voice's latents; zero where the weights cannot clone, which the export recognises."""
    weight = tensors.take(SPEAKER) if cloning else tensors.left.pop(SPEAKER, None)
    if cloning and weight is None:
        return {}
    return {"model.audio_prompt_proj.weight": weight if cloning and weight is not None else torch.zeros(width, latent)}


def half_split(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows [H * d, D], rotary pairs as neighbours -> the same rows, the halves of a pair d / 2 apart."""
    # [H * d, D] -> [H, d / 2, 2, D] -> [H, 2, d / 2, D] -> [H * d, D]
    return rows.reshape(heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def _split(packed: torch.Tensor, heads: int, kv_heads: int, tensors: Tensors, name: str) -> dict[str, torch.Tensor]:
    width, odd = packed.shape[0] // (heads + 2 * kv_heads), packed.shape[0] % (2 * (heads + 2 * kv_heads))
    if odd or packed.ndim != 2:
        raise CheckpointError(
            f"{tensors.name}: {name} is {list(packed.shape)}, which {heads} heads do not divide",
            "Give the weights that belong to the configuration.",
        )
    q, k, v = torch.split(packed, [heads * width, kv_heads * width, kv_heads * width])
    return {_Q: half_split(q, heads), _K: half_split(k, kv_heads), _V: v.contiguous()}


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\{n\}", r"(\d+)").replace(r"\{p\}", "(weight|bias)")
    return re.compile(escaped)


def _filled(template: str, pattern: re.Pattern[str], name: str) -> str:
    match = pattern.fullmatch(name)
    values = iter(match.groups() if match else ())
    return re.sub(r"\{[np]\}", lambda _: next(values), template)


def _theirs(ours: str) -> str:
    """Kyutai's name of the tensor that becomes ours, for messages."""
    single = {"model.embed_tokens.weight": EMBEDDINGS, "model.audio_prompt_proj.weight": SPEAKER}
    if ours in single:
        return single[ours]
    packed = [(theirs, f"{stem}.{p}.weight") for theirs, stem in PACKED_NAMES.items() for p in (_Q, _K, _V)]
    for theirs, template in [*(BACKBONE_NAMES | ENCODER_NAMES | DECODER_NAMES).items(), *packed]:
        if (pattern := _pattern(template)).fullmatch(ours):
            return _filled(theirs, pattern, ours)
    return ours
