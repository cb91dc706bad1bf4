"""The reference: `ParakeetForTDT` and its processor, run as transformers 5.23 documents them, with their inner tensors.

`generate` takes the argmax over the whole joint output, tokens and durations together, so that a duration logit could
be taken for a token. The class's own rule, in `_update_model_kwargs_for_generation`, is: argmax of the first
`vocab_size` logits, argmax of the rest, a blank of duration 0 counts as 1. That rule is the reference here: `generate`
is called with the duration logits suppressed as tokens, and with the blank as start symbol.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, ParakeetForTDT

from parity.measures.float64 import in_float64
from toolkit.export.pretrained import load_part, load_pretrained
from toolkit.transcript import Token, Word


@dataclass(frozen=True)
class ReferenceRun:
    """One utterance through the reference. S steps of the greedy loop, blanks included; U tokens.

    Attributes:
        mel: [T, M] float32; zeros beyond `length`.
        length: valid mel frames.
        frames: joint-ready encoder frames [T', D], valid ones only.
        tokens: [S] token or blank.
        durations: [S] frames, after the blank rule.
        positions: [S] encoder frame of each step.
        spoken: [U + 1] what the prediction network was fed: the blank, then each token.
        predictions: [U + 1, D] its outputs.
        fed: [S] index into `predictions` at each step.
        token_logits: [S, V] raw.
        duration_logits: [S, N] raw.
        probabilities: [S] of each token among the vocabulary with the blank.
        text: the transcript.
        words: with times; confidence, which the class does not give, is the mean probability of a word's tokens.
        said: the tokens that are text, without times.
    """

    mel: np.ndarray
    length: int
    frames: np.ndarray
    tokens: np.ndarray
    durations: np.ndarray
    positions: np.ndarray
    spoken: np.ndarray
    predictions: np.ndarray
    fed: np.ndarray
    token_logits: np.ndarray
    duration_logits: np.ndarray
    probabilities: np.ndarray
    text: str
    words: tuple[Word, ...]
    said: tuple[Token, ...]

    @property
    def finished(self) -> bool:
        """Whether the loop left the last frame; False when the class's limit of steps ended it."""
        return bool(self.positions[-1] + self.durations[-1] >= len(self.frames))


class Reference:
    """The model in float32 with plain attention.

    Args:
        folder: checkpoint in the hub's layout, safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.processor = load_part(AutoProcessor, folder, "processor")
        self.model = load_pretrained(ParakeetForTDT, folder, attn_implementation="eager")
        self.config = self.model.config

    def run(self, audio: np.ndarray) -> ReferenceRun:
        """Run one utterance.

        Args:
            audio: [samples] float32 at the model's rate.
        """
        mel, length = self.features(audio)
        frames = self.encode(mel, length)
        sequences, durations = self._generate(mel, length)
        tokens, steps = sequences[0, 1:].numpy(), durations[0, 1:].numpy()  # the start symbol is no step
        positions = np.cumsum(steps) - steps
        is_token = tokens != self.config.blank_token_id
        spoken = np.concatenate([[self.config.blank_token_id], tokens[is_token]])
        fed = np.cumsum(is_token) - is_token
        predictions = self.predict(spoken)
        token_logits, duration_logits = self.joint(frames[positions], predictions[fed])
        probabilities = torch.from_numpy(token_logits).softmax(-1).numpy()[np.arange(len(tokens)), tokens]
        text, words = self._decode(sequences[:, 1:], durations[:, 1:])
        said = self._said(tokens, probabilities)
        return ReferenceRun(
            mel, length, frames, tokens, steps, positions, spoken, predictions, fed,
            token_logits, duration_logits, probabilities, text, self._with_confidence(words, said), said,
        )  # fmt: skip

    def max_length(self, mel_frames: int) -> int:
        """The largest number of tokens that `generate` makes of `mel_frames` mel frames, its start token included."""
        config, mel = deepcopy(self.model.generation_config), torch.empty(1, mel_frames, 1)
        # The class's own rule; `generate` warns when it is left to it, so it is asked here and told there.
        prepared = self.model._prepare_generated_length(config, True, True, "input_features", 1, mel)
        return int(prepared.max_length)

    def features(self, audio: np.ndarray) -> tuple[np.ndarray, int]:
        """Mel [T, M] and its valid frames."""
        rate = self.processor.feature_extractor.sampling_rate
        batch = self.processor.feature_extractor(audio, sampling_rate=rate, return_tensors="pt")
        return batch["input_features"][0].numpy(), int(batch["attention_mask"].sum())

    def true_mel(self, audio: np.ndarray) -> np.ndarray:
        """The mel [T, M] as the extractor's own code makes it in float64."""
        with in_float64():
            return self.features(audio)[0]

    @torch.no_grad()
    def encode(self, mel: np.ndarray, length: int) -> np.ndarray:
        """Valid encoder frames [T', D] after the projector (`pooler_output`) of mel [T, M]."""
        output = self.model.get_audio_features(**_mel_inputs(mel, length), output_attention_mask=True)
        result: np.ndarray = output.pooler_output[0, : int(output.attention_mask.sum())].numpy()
        return result

    @torch.no_grad()
    def predict(self, tokens: np.ndarray) -> np.ndarray:
        """Outputs of the prediction network [U, D] for a sequence of tokens [U], teacher-forced."""
        result: np.ndarray = self.model.decoder(torch.from_numpy(tokens.astype(np.int64))[None])[0].numpy()
        return result

    @torch.no_grad()
    def joint(self, frames: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Token logits [S, V] and duration logits [S, N] for pairs of frames and predictions, both [S, D]."""
        logits = self.model.joint(torch.from_numpy(predictions), torch.from_numpy(frames)).numpy()
        return logits[:, : self.config.vocab_size], logits[:, self.config.vocab_size :]

    @torch.no_grad()
    def _generate(self, mel: np.ndarray, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model.generate(
            **_mel_inputs(mel, length),
            suppress_tokens=list(range(self.config.vocab_size, self.config.vocab_size + len(self.config.durations))),
            decoder_start_token_id=self.config.blank_token_id,
            max_length=self.max_length(len(mel)),
        )
        return outputs.sequences, outputs.durations

    def _decode(self, sequences: torch.Tensor, durations: torch.Tensor) -> tuple[str, tuple[Word, ...]]:
        texts, times = self.processor.decode(sequences, durations=durations, skip_special_tokens=True)
        assumed = self.processor.audio_kwargs["subsampling_factor"]  # 8, whatever the checkpoint's factor is
        return texts[0].strip(), _words(times[0], self.config.encoder_config.subsampling_factor / assumed)

    def _said(self, tokens: np.ndarray, probabilities: np.ndarray) -> tuple[Token, ...]:
        never = {self.config.blank_token_id, self.config.pad_token_id, *self.processor.tokenizer.all_special_ids}
        pairs = zip(tokens.tolist(), probabilities.tolist(), strict=True)
        return tuple(Token(i, "", None, None, probability) for i, probability in pairs if i not in never)

    def _with_confidence(self, words: tuple[Word, ...], said: tuple[Token, ...]) -> tuple[Word, ...]:
        """The processor's words are grouped by text; here their tokens are, by the pieces of the vocabulary."""
        tokenizer = self.processor.tokenizer
        groups: list[list[Token]] = []
        for token in said:
            if not groups or tokenizer.convert_ids_to_tokens(token.id).startswith("\u2581"):
                groups.append([])
            groups[-1].append(token)
        spoken = [group for group in groups if tokenizer.decode([token.id for token in group]).strip()]
        sure = [float(np.mean([token.confidence for token in group])) for group in spoken]
        if len(sure) != len(words):  # then no mean can be told, and none may pass
            sure = [math.nan] * len(words)
        return tuple(replace(word, confidence=mean) for word, mean in zip(words, sure, strict=True))


def _mel_inputs(mel: np.ndarray, length: int) -> dict[str, torch.Tensor]:
    mask = torch.arange(len(mel))[None] < length
    return {"input_features": torch.from_numpy(mel)[None], "attention_mask": mask}


def _words(tokens: Sequence[Mapping[str, Any]], scale: float = 1.0) -> tuple[Word, ...]:
    """Words of the processor's token times: a token that begins with a space, or the first one, begins a word."""
    groups: list[list[Mapping[str, Any]]] = []
    for token in tokens:
        if not groups or token["token"].startswith(" "):
            groups.append([])
        groups[-1].append(token)
    words = (("".join(t["token"] for t in group).strip(), group[0]["start"], group[-1]["end"]) for group in groups)
    return tuple(Word(text, start * scale, end * scale, 1.0) for text, start, end in words if text)
