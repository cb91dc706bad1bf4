"""The reference: `Qwen3ASRForTokenClassification` and its processor, run as transformers 5.23 documents them.

The audio attention of the class is windowed (`n_window_infer`) in each of its attention implementations; the upstream
code that the published weights were first run with attends across the whole file. The reference follows the bundle:
for `--audio-attention full` the class's own window is widened until it holds any file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from parity.measures.float64 import in_float64
from toolkit.export.pretrained import load_part, load_pretrained
from toolkit.transcript import Word

_ANY_LENGTH = 1_000_000  # mel frames, a multiple of every chunk: wider than any file


@dataclass(frozen=True)
class ReferenceRun:
    """One utterance through the reference. n audio frames, S tokens, P markers.

    Attributes:
        mel: [M, T] float32; zeros beyond `length`.
        length: valid mel frames.
        frames: [n, D] valid frames after the convolution, with their positions.
        audio: [n, H] what stands in for the audio tokens.
        ids: [S] the prompt.
        markers: [P] where its time markers stand.
        embeddings: [S, H] with the audio in its place.
        hidden: [S, H] the decoder's last layer, before the final norm.
        logits: [P, C] at the markers.
        words: with times, mended where they ran backwards; confidence, which the class does not give, is the mean
            probability of a word's markers.
    """

    mel: np.ndarray
    length: int
    frames: np.ndarray
    audio: np.ndarray
    ids: np.ndarray
    markers: np.ndarray
    embeddings: np.ndarray
    hidden: np.ndarray
    logits: np.ndarray
    words: tuple[Word, ...]


class Reference:
    """The model in float32 with plain attention.

    Args:
        folder: checkpoint in the hub's layout, safetensors.
        full_attention: let every audio frame see the whole file.
    """

    def __init__(self, folder: Path, *, full_attention: bool = False) -> None:
        self.processor = load_part(AutoProcessor, folder, "processor")
        self.model = load_pretrained(Qwen3ASRForTokenClassification, folder, attn_implementation="eager")
        self.config = self.model.config
        if full_attention:
            self.model.model.audio_tower.n_window_infer = _ANY_LENGTH

    @torch.no_grad()
    def run(self, audio: np.ndarray, text: str, language: str | None = None) -> ReferenceRun:
        """Run one utterance.

        Args:
            audio: [samples] float32 at the model's rate.
            text: the words that are said in the audio.
            language: full name or code.
        """
        inputs, words = self.processor.prepare_forced_aligner_inputs(audio=audio, transcript=text, language=language)
        inner: dict[str, torch.Tensor] = {}
        with _Watch(self.model, inner):
            logits = self.model(**inputs).logits
        ids, marker = inputs["input_ids"], self.config.timestamp_token_id
        markers = np.flatnonzero(ids[0].numpy() == marker)
        confidence = logits[0, markers].double().softmax(-1).amax(-1).view(-1, 2).mean(-1)
        return ReferenceRun(
            mel=inputs["input_features"][0].numpy(),
            length=int(inputs["input_features_mask"].sum()),
            frames=inner["frames"].numpy(),
            audio=inner["audio"].numpy(),
            ids=ids[0].numpy().astype(np.int32),
            markers=markers,
            embeddings=inner["embeddings"][0].numpy(),
            hidden=inner["hidden"][0].numpy(),
            logits=logits[0].numpy()[markers],
            words=self._words(logits, ids, words[0], confidence.tolist()),
        )

    def true_mel(self, audio: np.ndarray, text: str, language: str | None = None) -> np.ndarray:
        """The mel [M, T] of a `run` as the extractor's own code makes it in float64."""
        with in_float64():
            inputs, _ = self.processor.prepare_forced_aligner_inputs(audio=audio, transcript=text, language=language)
        mel: np.ndarray = inputs["input_features"][0].numpy()
        return mel

    def words_from_classes(self, classes: Sequence[int]) -> tuple[Word, ...]:
        """Words `0`, `1`, ... with the times that the processor makes of time classes (two per word), all certain."""
        logits = torch.nn.functional.one_hot(torch.tensor([classes])).float()
        ids = torch.full((1, len(classes)), self.config.timestamp_token_id)
        words = [str(place) for place in range(len(classes) // 2)]
        return self._words(logits, ids, words, [1.0] * len(words))

    def _words(
        self, logits: torch.Tensor, ids: torch.Tensor, words: Sequence[str], confidence: Sequence[float]
    ) -> tuple[Word, ...]:
        times = self.processor.decode_forced_alignment(logits, ids, [words], self.config.timestamp_token_id)[0]
        pairs = zip(times, confidence, strict=True)
        return tuple(Word(t["text"], t["start_time"], t["end_time"], sure) for t, sure in pairs)


class _Watch:
    """Keeps the inner tensors of one forward pass, where one of the model's modules hands them to the next."""

    def __init__(self, model: Any, inner: dict[str, torch.Tensor]) -> None:
        tower, decoder = model.model.audio_tower, model.model.language_model
        self._before = {"frames": tower.layers[0], "embeddings": decoder.layers[0], "hidden": decoder.norm}
        self._projector, self._inner, self._handles = model.model.multi_modal_projector, inner, list[Any]()

    def __enter__(self) -> None:
        for name, module in self._before.items():
            self._handles.append(module.register_forward_pre_hook(self._keeper(name)))
        keep_audio = self._keeper("audio")
        self._handles.append(self._projector.register_forward_hook(lambda m, i, output: keep_audio(m, (output,))))

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keeper(self, name: str) -> Any:
        def keep(module: Any, values: tuple[torch.Tensor, ...]) -> None:
            self._inner[name] = values[0].detach().clone()

        return keep
