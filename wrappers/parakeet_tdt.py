"""Parakeet TDT as Core ML components. Source: `transformers` 5.23 `models/parakeet/modeling_parakeet.py`.

The reference keeps the LSTM's state and last output in a cache that a blank leaves alone; here states go in and out and
the host keeps them. The joint's one output row is cut at the vocabulary into token and duration logits, both raw.
"""

from typing import Any

import torch
from torch import Tensor, nn

from wrappers.conformer import ConformerEncoder


class Encoder(nn.Module):
    """Mel to joint-ready frames; padded frames come out as zeros.

    Args:
        model: `ParakeetForTDT` in eval mode.
        mel_frames: fixed input length T.
    """

    def __init__(self, model: Any, mel_frames: int) -> None:
        super().__init__()
        self.encoder = ConformerEncoder(model.encoder, mel_frames)
        self.projector: nn.Linear = model.encoder_projector

    def forward(self, mel: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """mel [1, T, M], length int32 [1] -> (encoder [1, T', D], encoder_length int32 [1])."""
        hidden, valid = self.encoder(mel, length)
        frames = self.projector(hidden) * valid.to(hidden.dtype).unsqueeze(-1)
        return frames, valid.to(torch.int32).sum(dim=1, dtype=torch.int32)


class Prediction(nn.Module):
    """One step of the prediction network.

    Args:
        model: `ParakeetForTDT` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embedding: nn.Embedding = model.decoder.embedding
        self.lstm: nn.LSTM = model.decoder.lstm
        self.projector: nn.Linear = model.decoder.decoder_projector

    def forward(self, token: Tensor, hidden_in: Tensor, cell_in: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """token int32 [1, 1], states [L, 1, D] -> (prediction [1, 1, D], hidden_out, cell_out)."""
        output, (hidden_out, cell_out) = self.lstm(self.embedding(token), (hidden_in, cell_in))
        return self.projector(output), hidden_out, cell_out


class Joint(nn.Module):
    """Encoder frame and prediction to raw token and duration logits.

    Args:
        model: `ParakeetForTDT` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.activation: nn.Module = model.joint.activation
        self.head: nn.Linear = model.joint.head
        self.vocabulary_size = int(model.config.vocab_size)

    def forward(self, encoder_frame: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """Both [1, 1, D] -> (token_logits [1, 1, V], duration_logits [1, 1, N])."""
        logits = self.head(self.activation(encoder_frame + prediction))
        return logits[..., : self.vocabulary_size], logits[..., self.vocabulary_size :]


class JointDecision(nn.Module):
    """The joint and its greedy decision.

    Args:
        model: `ParakeetForTDT` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.joint = Joint(model)

    def forward(self, encoder_frame: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both [1, 1, D] -> (token_id int32 [1, 1], token_probability [1, 1], duration int32 [1, 1] in frames).

        The probability is over tokens and blank only. A blank of duration 0 is left for the host to correct. The
        duration is the index of its logit, as the class's `generate` has it (docs/adr/0003).
        """
        token_logits, duration_logits = self.joint(encoder_frame, prediction)
        token_id = token_logits.argmax(dim=-1).to(torch.int32)
        probability = torch.softmax(token_logits, dim=-1).amax(dim=-1)
        duration = duration_logits.argmax(dim=-1).to(torch.int32)
        return token_id, probability, duration


class DecoderStep(nn.Module):
    """Prediction, joint and decision in one call; on blank the host calls again with the old token and states.

    Args:
        model: `ParakeetForTDT` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.prediction, self.decision = Prediction(model), JointDecision(model)

    def forward(
        self, token: Tensor, hidden_in: Tensor, cell_in: Tensor, encoder_frame: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Inputs as above -> (token_id, token_probability, duration, hidden_out, cell_out)."""
        prediction, hidden_out, cell_out = self.prediction(token, hidden_in, cell_in)
        token_id, probability, duration = self.decision(encoder_frame, prediction)
        return token_id, probability, duration, hidden_out, cell_out
