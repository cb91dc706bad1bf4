"""Faults of the wrappers, made behind packages that are sound."""

from copy import deepcopy

import torch

from tests.planted.features import ALIGNER, COHERE, PARAKEET
from tests.planted.planting import Fault, patched
from wrappers import cached_decoder, cohere_transcribe, conformer, parakeet_tdt, qwen3, qwen3_forced_aligner
from wrappers.attention import MASKED

decoder_layer = cohere_transcribe.DecoderLayer.__init__
late = torch.nn.functional.pad
attend, causal_attention = conformer.RelativeAttention.forward, qwen3.CausalAttention.__init__


class LengthIgnored(parakeet_tdt.Encoder):
    def forward(self, mel, length):
        frames, _ = super().forward(mel, torch.full_like(length, mel.shape[1]))
        return frames, (length + 7) // 8


def one_key_too_many(self, hidden, key_mask):
    return attend(self, hidden, late(key_mask, (1, 0))[..., :-1])


def row_one_further(self, scores):
    """The shift of relative positions without its padding column."""
    frames, heads = self.frames, scores.shape[1]
    rows = late(scores, (0, 1)).view(1, heads, 2 * frames, frames)
    return rows[:, :, :-1].reshape(1, heads, frames, 2 * frames - 1)[..., :frames]


class SliceShifted(parakeet_tdt.Joint):
    """Tokens and durations cut one off."""

    def forward(self, encoder_frame, prediction):
        logits = self.head(self.activation(encoder_frame + prediction)).roll(-1, dims=-1)
        return logits[..., : self.vocabulary_size], logits[..., self.vocabulary_size :]


class StatesSwapped(parakeet_tdt.DecoderStep):
    def forward(self, token, hidden_in, cell_in, encoder_frame):
        return super().forward(token, cell_in, hidden_in, encoder_frame)


def all_of_the_padding(self, encoder_length):
    return torch.zeros(1, 1, 1, len(self.frames))


def one_of_the_padding(self, encoder_length):
    return (self.frames > encoder_length).to(torch.float32)[None, None, None] * MASKED


def one_of_the_future(self, length):
    return torch.triu(torch.full((length, length), MASKED), diagonal=2)[None, None]


def next_to_each_other(heads, cos, sin):
    """The other layout of rotary pairs: (0, 1), (2, 3), ..."""
    turned = torch.stack([-heads[..., 1::2], heads[..., ::2]], dim=-1).flatten(-2)
    return heads * cos + turned * sin


def seeing_the_next(self, attention, length):
    causal_attention(self, attention, length)
    self.future = torch.triu(self.future[0, 0, : self.block], diagonal=2).repeat(self.groups, 1)[None, None]


def another_epsilon(self, layer):
    """In every layer of the decoder; a thousand times the checkpoint's."""
    decoder_layer(self, layer)
    self.mlp_norm = deepcopy(self.mlp_norm)
    self.mlp_norm.eps *= 1000


class PaddingHeard(qwen3_forced_aligner.AudioTransformer):
    def forward(self, frames, length):
        return super().forward(frames, length + 1)


FAULTS = (
    Fault(
        "length ignored by the encoder",
        PARAKEET,
        "wrappers",
        "encoder audio_4s: encoder",
        patched(parakeet_tdt, "Encoder", LengthIgnored),
    ),
    Fault(
        "attention mask of the encoder off by one",
        PARAKEET,
        "wrappers",
        "encoder audio_4s: encoder",
        patched(conformer.RelativeAttention, "forward", one_key_too_many),
    ),
    Fault(
        "relative positions of the encoder off by one",
        PARAKEET,
        "wrappers",
        "encoder audio_4s: encoder",
        patched(conformer.RelativeAttention, "_shift", row_one_further),
    ),
    Fault(
        "joint cut one off between tokens and durations",
        PARAKEET,
        "wrappers",
        "joint: token_logits",
        patched(parakeet_tdt, "Joint", SliceShifted),
    ),
    Fault(
        "hidden and cell state of the LSTM swapped",
        PARAKEET,
        "wrappers",
        "decoder_step: token_",
        patched(parakeet_tdt, "DecoderStep", StatesSwapped),
    ),
    Fault(
        "mask of the cross-attention dropped",
        COHERE,
        "wrappers",
        "decoder_stateful: logits",
        patched(cached_decoder._Form, "cross_mask", all_of_the_padding),
    ),
    Fault(
        "mask of the cross-attention off by one",
        COHERE,
        "wrappers",
        "decoder_stateful: logits",
        patched(cached_decoder._Form, "cross_mask", one_of_the_padding),
    ),
    Fault(
        "causal mask of the prompt off by one",
        COHERE,
        "wrappers",
        "decoder_stateful: logits",
        patched(cached_decoder._Form, "causal", one_of_the_future),
    ),
    Fault(
        "attention mask of the encoder off by one",
        COHERE,
        "wrappers",
        "encoder audio_4s: encoder",
        patched(conformer.RelativeAttention, "forward", one_key_too_many),
    ),
    Fault(
        "epsilon of the decoder's last norms",
        COHERE,
        "wrappers",
        "decoder_stateful prefill: logits",
        patched(cohere_transcribe.DecoderLayer, "__init__", another_epsilon),
    ),
    Fault(
        "RoPE pairs swapped in the decoder",
        ALIGNER,
        "wrappers",
        "decoder_prefill: hidden",
        patched(qwen3, "rotate", next_to_each_other),
    ),
    Fault(
        "causal mask of the decoder off by one",
        ALIGNER,
        "wrappers",
        "decoder_prefill: hidden",
        patched(qwen3.CausalAttention, "__init__", seeing_the_next),
    ),
    Fault(
        "length of the encoder off by one",
        ALIGNER,
        "wrappers",
        "audio_transformer",
        patched(qwen3_forced_aligner, "AudioTransformer", PaddingHeard),
    ),
)
