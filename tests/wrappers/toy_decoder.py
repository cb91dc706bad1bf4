"""A decoder of one's own for the cached forms: two layers of random weights and grouped queries, no model's."""

from types import SimpleNamespace

import torch
from torch import nn

from wrappers.attention import CachedAttention

LAYERS, KEY_HEADS, GROUPS, HEAD_DIM = 2, 2, 3, 4
WIDTH, VOCABULARY, FRAMES, CACHE, PROMPT = 10, 17, 6, 9, 3


def grouped(seed, key_heads=KEY_HEADS, groups=GROUPS):
    """What a reference's attention has, with random weights."""
    torch.manual_seed(seed)
    inner = key_heads * HEAD_DIM
    return SimpleNamespace(
        q_proj=nn.Linear(WIDTH, inner * groups),
        k_proj=nn.Linear(WIDTH, inner),
        v_proj=nn.Linear(WIDTH, inner),
        o_proj=nn.Linear(inner * groups, WIDTH),
        head_dim=HEAD_DIM,
        scaling=HEAD_DIM**-0.5,
        num_key_value_groups=groups,
    )


class ToyDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CACHE, WIDTH)
        self.own = nn.ModuleList([CachedAttention(grouped(i)) for i in range(LAYERS)])
        self.cross = nn.ModuleList([CachedAttention(grouped(9 + i)) for i in range(LAYERS)])
        self.output, self.kept = nn.Linear(WIDTH, VOCABULARY), (LAYERS, KEY_HEADS, HEAD_DIM)
        self.requires_grad_(False)

    def forward(self, tokens, positions, remember, self_mask, cross):
        cross_key, cross_value, cross_mask = cross
        hidden = self.tokens(tokens) + self.positions(positions)
        for i, (own, other) in enumerate(zip(self.own, self.cross, strict=True)):
            hidden = hidden + own(hidden, *remember(i, *own.keys_values(hidden)), self_mask)
            hidden = hidden + other(hidden, cross_key[i : i + 1], cross_value[i : i + 1], cross_mask)
        return hidden

    def logits(self, hidden):
        return self.output(hidden).squeeze(1)


def heard(valid):
    """Cross keys and values [L, K, F, d] of noise, of which so many frames are valid: int32 [1]."""
    torch.manual_seed(3)
    shape = (LAYERS, KEY_HEADS, FRAMES, HEAD_DIM)
    return torch.randn(shape), torch.randn(shape), torch.tensor([valid], dtype=torch.int32)


def whole(tokens, valid):
    """Logits [S, V] behind each token, all of them in one pass without masks of frames or cache: the oracle."""
    key, value, _ = heard(valid)
    decoder, length = ToyDecoder(), len(tokens)
    future = torch.triu(torch.full((1, 1, length, length), -torch.inf), diagonal=1)
    cross = (key[:, :, :valid], value[:, :, :valid], torch.zeros(1, 1, 1, valid))
    ids, places = torch.tensor([tokens]), torch.arange(length)[None]
    return decoder.output(decoder(ids, places, lambda _, k, v: (k, v), future, cross))[0]
