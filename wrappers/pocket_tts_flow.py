"""PocketTTS' flow head as Core ML components: a velocity per call, or a number of Euler steps in one call. Source:
`transformers` 5.23 `models/pocket_tts/modeling_pocket_tts.py`.

The norms are `layer_norm` ops, where the reference writes them out for training.
"""

from typing import Any

import torch
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """A flow time to the flow head's width.

    Args:
        embedding: the reference's `PocketTTSTimestepEmbedding`.
    """

    frequencies: Tensor
    weight: Tensor

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.fc1: nn.Linear = embedding.fc1
        self.fc2: nn.Linear = embedding.fc2
        self.activation: nn.Module = embedding.act_fn
        self.eps = float(embedding.norm.variance_epsilon)
        self.width: int = embedding.norm.weight.shape[0]
        self.register_buffer("frequencies", embedding.freqs.detach().float().clone()[None], persistent=False)
        self.register_buffer("weight", embedding.norm.weight.detach().clone()[None], persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        """time [1, 1] in 0..1 -> [1, H]."""
        angles = time * self.frequencies
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
        hidden: Tensor = self.fc2(self.activation(self.fc1(waves)))
        centred = hidden - hidden.mean(dim=-1, keepdim=True)
        # The unbiased variance from a mean: a sum of squares would leave the range of float16.
        variance = (centred * centred).mean(dim=-1, keepdim=True) * (self.width / (self.width - 1))
        return hidden * (self.weight * torch.rsqrt(variance + self.eps))


class FlowBlock(nn.Module):
    """Residual block whose norm is shifted, scaled and gated by the condition.

    Args:
        block: the reference's `PocketTTSFlowResBlock`.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm = _layer_norm(block.norm)
        self.fc1: nn.Linear = block.fc1
        self.fc2: nn.Linear = block.fc2
        self.activation: nn.Module = block.act_fn
        self.modulation: nn.Linear = block.adaln_proj

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """hidden and condition [1, H] -> [1, H]."""
        shift, scale, gate = self.modulation(self.activation(condition)).chunk(3, dim=-1)
        modulated = self.norm(hidden) * (1.0 + scale) + shift
        output: Tensor = hidden + gate * self.fc2(self.activation(self.fc1(modulated)))
        return output


class FlowHead(nn.Module):
    """The flow head without its times.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        head = model.flow_head
        self.latent_projection: nn.Linear = head.input_proj
        self.condition_projection: nn.Linear = head.cond_proj
        self.blocks = nn.ModuleList([FlowBlock(block) for block in head.layers])
        final = head.final_layer
        self.norm = _layer_norm(final.norm)
        self.modulation: nn.Linear = final.adaln_proj
        self.activation: nn.Module = final.act_fn
        self.output: nn.Linear = final.proj

    def condition(self, hidden: Tensor) -> Tensor:
        """hidden [1, D] -> [1, H]."""
        condition: Tensor = self.condition_projection(hidden)
        return condition

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        """latent [1, Z], condition [1, H] -> [1, Z]: a velocity, or the latent itself of a drifting head."""
        inner = self.latent_projection(latent)
        for block in self.blocks:
            inner = block(inner, condition)
        shift, scale = self.modulation(self.activation(condition)).chunk(2, dim=-1)
        output: Tensor = self.output(self.norm(inner) * (1.0 + scale) + shift)
        return output


class FlowStep(nn.Module):
    """The velocity of one flow step from time s to time t; the caller integrates.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode, with `flow_type` lsd.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.head = FlowHead(model)
        self.start, self.end = (TimeEmbedding(e) for e in model.flow_head.timestep_embeddings)

    def forward(self, hidden: Tensor, latent: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """hidden [1, D], latent [1, Z], s and t [1, 1] with s < t in 0..1 -> velocity [1, Z]."""
        condition = self.head.condition(hidden) + (self.start(s) + self.end(t)) / 2.0
        velocity: Tensor = self.head(latent, condition)
        return velocity


class FusedFlow(nn.Module):
    """Noise to latent in a fixed number of flow steps; the time embeddings are constants.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
        steps: N; step i goes from i / N to (i + 1) / N. A drifting head has one, without times.
    """

    def __init__(self, model: Any, steps: int) -> None:
        super().__init__()
        self.head, self.steps = FlowHead(model), steps
        embeddings = [TimeEmbedding(e) for e in model.flow_head.timestep_embeddings]
        self.drifting = not embeddings
        if self.drifting and steps != 1:
            raise ValueError(f"a drifting flow head samples in one call, not in {steps} steps")
        for step in range(0 if self.drifting else steps):
            times = (torch.full((1, 1), (step + offset) / steps) for offset in (0, 1))
            embedded = sum(embedding(time) for embedding, time in zip(embeddings, times, strict=True)) / 2.0
            self.register_buffer(f"times_{step}", embedded.detach(), persistent=False)

    def forward(self, hidden: Tensor, noise: Tensor) -> Tensor:
        """hidden [1, D], noise [1, Z] scaled by the temperature -> latent [1, Z] normalised."""
        condition, latent = self.head.condition(hidden), noise
        if self.drifting:
            drifted: Tensor = self.head(latent, condition)
            return drifted
        for step in range(self.steps):
            velocity: Tensor = self.head(latent, condition + getattr(self, f"times_{step}"))
            latent = latent + velocity / self.steps
        return latent


def _layer_norm(norm: Any) -> nn.LayerNorm:
    """`nn.LayerNorm` with the weights of the reference's written-out one."""
    plain = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, elementwise_affine=norm.elementwise_affine)
    plain.load_state_dict(norm.state_dict())
    return plain
