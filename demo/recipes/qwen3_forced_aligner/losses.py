"""The loss of the aligner, and the four that show it the way while it is young.

A marker has to find the frame at which its word begins or ends, and to say that frame's time. Left alone, a small model
is slow to find out either; so the first part of the training asks for the steps in between:
- words: half-way through the decoder, an audio token knows its word and the one said a little before;
- clock: every audio token knows its own time before the last decoder layer;
- ordinals: audio tokens know how many words have begun, markers which word is theirs, in the same terms;
- pointer: the first head of the last decoder layer looks from a marker to the frames around its time.
"""

from dataclasses import dataclass

import torch
from qwen3_forced_aligner.targets import Batch, soft_classes, soft_frames
from speech import grammar
from torch.nn.functional import cross_entropy
from transformers import Qwen3ASRForTokenClassification
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

MOST_WORDS = 64  # counted by the ordinals; later words count as this one


class Helpers(torch.nn.Module):
    """The heads that only the training needs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = torch.nn.Linear(width, 2 + len(grammar.WORDS))
        self.words_before = torch.nn.Linear(width, 2 + len(grammar.WORDS))
        self.ordinals = torch.nn.Linear(width, MOST_WORDS + 1)


@dataclass(frozen=True)
class Losses:
    """The losses of one batch; all but the first are helpers."""

    markers: torch.Tensor
    words: torch.Tensor
    clock: torch.Tensor
    ordinals: torch.Tensor
    pointer: torch.Tensor

    def total(self, help_weight: float) -> torch.Tensor:
        """Return what is minimised, the helpers weighted by `help_weight`."""
        helpers = self.words + 0.3 * self.clock + 0.3 * self.ordinals + 0.5 * self.pointer
        return self.markers + help_weight * helpers

    def values(self) -> torch.Tensor:
        """Return the five numbers."""
        return torch.stack([self.markers, self.words, self.clock, self.ordinals, self.pointer]).detach()


def pointer_logits(layer: torch.nn.Module, hidden: torch.Tensor, rotary: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return how the layer's first head scores every position [M, S] from every marker; only audio counts."""
    attention, normed = layer.self_attn, layer.input_layernorm(hidden)
    size, (rows, length, _) = attention.head_dim, hidden.shape
    queries = attention.q_norm(attention.q_proj(normed).view(rows, length, -1, size)).transpose(1, 2)[:, :1]
    keys = attention.k_norm(attention.k_proj(normed).view(rows, length, -1, size)).transpose(1, 2)[:, :1]
    cos, sin = rotary(normed, torch.arange(length)[None])
    queries, keys = apply_rotary_pos_emb(queries, keys, cos, sin)
    which = batch.markers.nonzero()[:, 0]
    scores = torch.matmul(queries[:, 0], keys[:, 0].transpose(1, 2))[batch.markers] * attention.scaling
    return scores.masked_fill(~batch.audio[which], -1e9)


def losses(network: Qwen3ASRForTokenClassification, helpers: Helpers, batch: Batch) -> Losses:
    """Return all losses of one batch."""
    model = network.model
    encoded = model.get_audio_features(batch.features, batch.features_mask, return_dict=True)
    embedded = model.get_input_embeddings()(batch.ids)
    embedded = embedded.masked_scatter(batch.audio[..., None].expand_as(embedded), encoded.pooler_output.float())
    decoder = model.language_model
    out = decoder(inputs_embeds=embedded, attention_mask=batch.attention, use_cache=False, output_hidden_states=True)
    before_last = out.hidden_states[-2]
    half = decoder.norm(out.hidden_states[len(decoder.layers) // 2][batch.audio])
    late = helpers.words_before(half)
    classes = network.config.num_labels
    marked = network.score(out.last_hidden_state[batch.markers])
    clocks = network.score(decoder.norm(before_last[batch.audio]))
    pointers = pointer_logits(decoder.layers[-1], before_last, decoder.rotary_emb, batch)
    counted = batch.ordinals >= 0
    # Totals where the pointer's queries and keys come from, so that it can match them.
    counts = helpers.ordinals(decoder.norm(before_last[counted]))
    return Losses(
        markers=cross_entropy(marked, soft_classes(batch.times[batch.markers], classes)),
        words=0.5 * (cross_entropy(helpers.words(half), batch.words) + cross_entropy(late, batch.words_before)),
        clock=cross_entropy(clocks, soft_classes(batch.times[batch.audio], classes)),
        ordinals=cross_entropy(counts, batch.ordinals[counted].clamp(max=MOST_WORDS)),
        pointer=cross_entropy(pointers, soft_frames(batch)),
    )
