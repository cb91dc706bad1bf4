"""The reference: `CohereAsrForConditionalGeneration` and its processor, run as transformers 5.23 documents them.

The feature extractor's dither is off, here and in the port under test: noise that both add could hide what differs.
`dithered_mel` alone has it on. `generate` puts `decoder_start_token_id` in front of a prompt that begins with another
token, so it is told that the prompt's first token is the start.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, CohereAsrForConditionalGeneration

from parity.measures.float64 import in_float64
from toolkit.export.pretrained import load_part, load_pretrained
from toolkit.transcript import Token


@dataclass(frozen=True)
class ReferencePiece:
    """One piece of audio through the reference. n encoder frames, P prompt tokens, U tokens that followed.

    Attributes:
        mel: [T, M] float32; zeros beyond `length`.
        length: valid mel frames.
        frames: [n, D] encoder frames after the decoder's projection.
        cross_key: [L, K, n, d].
        cross_value: [L, K, n, d].
        prompt: [P].
        tokens: [U], the end's included where it was reached.
        logits: [U, V] raw, of each of them.
    """

    mel: np.ndarray
    length: int
    frames: np.ndarray
    cross_key: np.ndarray
    cross_value: np.ndarray
    prompt: np.ndarray
    tokens: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class ReferenceRun:
    """One utterance: its pieces, and the text that the processor makes of them."""

    pieces: tuple[ReferencePiece, ...]
    text: str


class Reference:
    """The model in float32 with plain attention.

    Args:
        folder: checkpoint in the hub's layout, safetensors.
        cache_tokens: tokens that the cache of the bundle under test holds; the reference stops there too.
    """

    def __init__(self, folder: Path, cache_tokens: int) -> None:
        self.processor = load_part(AutoProcessor, folder, "processor")
        self._dithering = copy(self.processor.feature_extractor)
        self.processor.feature_extractor.dither = 0.0
        self.model = load_pretrained(CohereAsrForConditionalGeneration, folder, attn_implementation="eager")
        self.config, self._cache_tokens = self.model.config, cache_tokens

    def run(self, audio: np.ndarray, language: str = "en", *, punctuation: bool = True) -> ReferenceRun:
        """Run one utterance.

        Args:
            audio: [samples] float32 at the model's rate.
            language: code of the language.
            punctuation: the processor's own option: capitals and punctuation, or plain words.
        """
        rate = self.processor.feature_extractor.sampling_rate
        inputs = self.processor(audio, language=language, punctuation=punctuation, sampling_rate=rate)
        index = inputs.pop("audio_chunk_index")
        pieces = tuple(self._piece(inputs, row) for row in range(len(index)))
        texts = [p.tokens for p in pieces]
        text = self.processor.decode(texts, skip_special_tokens=True, audio_chunk_index=index, language=language)[0]
        return ReferenceRun(pieces, text)

    def dithered_mel(self, audio: np.ndarray) -> np.ndarray:
        """Valid mel [T, M] of the first piece of audio, with the dither that the checkpoint asks for."""
        return _valid_mel(self._dithering, audio)

    def true_mels(self, audio: np.ndarray) -> tuple[np.ndarray, ...]:
        """The valid mel [T, M] of each piece of audio as the extractor's own code makes it in float64."""
        return self._true_mels(self.processor.feature_extractor, audio)

    def true_dithered_mel(self, audio: np.ndarray) -> np.ndarray:
        """`dithered_mel` as the extractor's own code makes it in float64."""
        return self._true_mels(self._dithering, audio)[0]

    def _true_mels(self, extractor: Any, audio: np.ndarray) -> tuple[np.ndarray, ...]:
        pieces = extractor._split_audio_chunks_energy(torch.from_numpy(audio))  # in float32: the cuts are the class's
        with in_float64():
            return tuple(_valid_mel(extractor, piece.numpy()) for piece in pieces)

    def tokens(self, pieces: Sequence[ReferencePiece]) -> tuple[Token, ...]:
        """The tokens of some pieces that are text, with their probabilities."""
        never = {self.config.eos_token_id, self.config.pad_token_id, *self.processor.tokenizer.all_special_ids}
        ids = np.concatenate([piece.tokens for piece in pieces]).tolist()
        logits = torch.from_numpy(np.concatenate([piece.logits for piece in pieces]))
        rows = logits.double().softmax(-1).numpy()
        return tuple(
            Token(i, "", None, None, float(row[i])) for i, row in zip(ids, rows, strict=True) if i not in never
        )

    @torch.no_grad()
    def logits(self, piece: ReferencePiece, tokens: np.ndarray) -> np.ndarray:
        """Raw logits [U, V] of the tokens [U] behind a piece's prompt, teacher-forced."""
        ids = torch.from_numpy(np.concatenate([piece.prompt, tokens[:-1]]).astype(np.int64))[None]
        mask = torch.arange(len(piece.mel))[None] < piece.length
        outputs = self.model(torch.from_numpy(piece.mel)[None], attention_mask=mask, decoder_input_ids=ids)
        result: np.ndarray = outputs.logits[0, len(piece.prompt) - 1 :].numpy()
        return result

    @torch.no_grad()
    def _piece(self, inputs: Mapping[str, torch.Tensor], row: int) -> ReferencePiece:
        mel, mask = inputs["input_features"][row : row + 1], inputs["attention_mask"][row : row + 1]
        prompt = inputs["decoder_input_ids"][row : row + 1]
        encoded = self.model.model.encoder(mel, attention_mask=mask)
        valid = int(encoded.attention_mask.sum())
        generated = self.model.generate(
            input_features=mel,
            attention_mask=mask,
            decoder_input_ids=prompt,
            decoder_start_token_id=int(prompt[0, 0]),
            max_new_tokens=self._cache_tokens - prompt.shape[1] + 1,  # the last token need not enter the cache
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        cache = generated.past_key_values.cross_attention_cache
        cross = [torch.cat([getattr(layer, side) for layer in cache.layers]) for side in ("keys", "values")]
        return ReferencePiece(
            mel=mel[0].numpy(),
            length=int(mask.sum()),
            frames=self.model.model.decoder.proj(encoded.last_hidden_state)[0, :valid].numpy(),
            cross_key=cross[0][:, :, :valid].numpy(),
            cross_value=cross[1][:, :, :valid].numpy(),
            prompt=prompt[0].numpy(),
            tokens=generated.sequences[0, prompt.shape[1] :].numpy(),
            logits=torch.cat(generated.logits).numpy(),
        )


def _valid_mel(extractor: Any, audio: np.ndarray) -> np.ndarray:
    """Valid mel [T, M] of the first piece of audio."""
    inputs = extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    mel: np.ndarray = inputs["input_features"][0, : int(inputs["attention_mask"][0].sum())].numpy()
    return mel
