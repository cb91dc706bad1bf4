"""Batches: what the model reads, and what each of its losses wants of it."""

from dataclasses import dataclass

import torch
from qwen3_forced_aligner.model import CLASS_MS
from speech import grammar
from speech.augment import Example
from transformers import Qwen3ASRConfig, Qwen3ASRProcessor

CHUNK = 100  # mel frames, 10 ms each, that the convolutions see at once
IGNORED = -100
DELAY_S = 0.24  # by then a word is mostly heard, also by a model that cannot look ahead


@dataclass(frozen=True)
class Batch:
    """One padded batch; S is the length of the sequences, N the audio tokens and M the markers of all of them."""

    features: torch.Tensor  # float32 [B, mels, T]
    features_mask: torch.Tensor  # int64 [B, T]
    ids: torch.Tensor  # int64 [B, S]
    attention: torch.Tensor  # int64 [B, S]
    audio: torch.Tensor  # bool [B, S], True at audio tokens
    markers: torch.Tensor  # bool [B, S], True at <timestamp>
    times: torch.Tensor  # float32 [B, S]: of audio tokens and markers, in seconds
    ordinals: torch.Tensor  # int64 [B, S]: words begun at an audio token; the number of a marker's word
    words: torch.Tensor  # int64 [N]: the word said at every audio token
    words_before: torch.Tensor  # int64 [N]: the word said `DELAY_S` before


def token_times(frames: int) -> list[float]:
    """Return the time in seconds on which each audio token is centred."""
    times = []
    for start in range(0, frames, CHUNK):
        count = min(CHUNK, frames - start)
        times += [(start + 8 * token) / 100 for token in range((count + 7) // 8)]
    return times


def word_labels(example: Example, times: list[float]) -> list[int]:
    """Return the word at each time: 0 is none, the number of a word of the domain, or one number for all others."""
    labels = [0] * len(times)
    for word, (start_s, end_s) in zip(example.words, example.spans, strict=True):
        lower = word.lower()
        label = 1 + grammar.WORDS.index(lower) if lower in grammar.WORDS else 1 + len(grammar.WORDS)
        for index, time_s in enumerate(times):
            if start_s <= time_s < end_s:
                labels[index] = label
    return labels


class Collator:
    """Turns examples into batches, as the processor would, padded on the right."""

    def __init__(self, processor: Qwen3ASRProcessor, config: Qwen3ASRConfig) -> None:
        self.tokenizer, self.config = processor.tokenizer, config
        self.start, self.end = processor.audio_bos_token_id, processor.audio_eos_token_id
        self.pieces: dict[str, list[int]] = {}

    def _ids(self, word: str) -> list[int]:
        if word not in self.pieces:
            self.pieces[word] = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        return self.pieces[word]

    def _row(self, example: Example) -> tuple[list[int], list[float], list[int], list[int], list[int]]:
        times = token_times(len(example.features))
        starts = [start for start, _ in example.spans]
        begun = [sum(start <= time_s for start in starts) for time_s in times]
        ids = [self.start, *[self.config.audio_token_id] * len(times), self.end]
        row_times, ordinals = [0.0, *times, 0.0], [IGNORED, *begun, IGNORED]
        for number, (word, span) in enumerate(zip(example.words, example.spans, strict=True), 1):
            pieces = self._ids(word)
            ids += [*pieces, *[self.config.timestamp_token_id] * 2]
            row_times += [0.0] * len(pieces) + list(span)
            ordinals += [IGNORED] * len(pieces) + [number, number]
        before = word_labels(example, [time_s - DELAY_S for time_s in times])
        return ids, row_times, ordinals, word_labels(example, times), before

    def __call__(self, examples: list[Example]) -> Batch:
        """Return the batch of some examples."""
        rows = [self._row(example) for example in examples]
        longest = max(len(row[0]) for row in rows)
        frames = -(-max(len(example.features) for example in examples) // CHUNK) * CHUNK
        features = torch.zeros(len(rows), examples[0].features.shape[1], frames)
        features_mask = torch.zeros(len(rows), frames, dtype=torch.long)
        for index, example in enumerate(examples):
            features[index, :, : len(example.features)] = example.features.T
            features_mask[index, : len(example.features)] = 1
        ids = torch.full((len(rows), longest), self.config.pad_token_id)
        times, ordinals = torch.zeros(len(rows), longest), torch.full((len(rows), longest), IGNORED)
        attention = torch.zeros(len(rows), longest, dtype=torch.long)
        for index, (row_ids, row_times, row_ordinals, _, _) in enumerate(rows):
            ids[index, : len(row_ids)] = torch.tensor(row_ids)
            times[index, : len(row_ids)] = torch.tensor(row_times)
            ordinals[index, : len(row_ids)] = torch.tensor(row_ordinals)
            attention[index, : len(row_ids)] = 1
        return Batch(
            features=features,
            features_mask=features_mask,
            ids=ids,
            attention=attention,
            audio=ids == self.config.audio_token_id,
            markers=ids == self.config.timestamp_token_id,
            times=times,
            ordinals=ordinals,
            words=torch.tensor([label for row in rows for label in row[3]]),
            words_before=torch.tensor([label for row in rows for label in row[4]]),
        )


def soft_classes(times_s: torch.Tensor, classes: int, spread: float = 1.0) -> torch.Tensor:
    """Return probabilities [N, classes] around the times [N]: a bell `spread` classes wide."""
    away = torch.arange(classes) - times_s[:, None] * (1000 / CLASS_MS)
    return torch.softmax(-0.5 * (away / spread).square(), dim=-1)


def soft_frames(batch: Batch) -> torch.Tensor:
    """Return for every marker [M, S] the two audio tokens around its time, weighted so that they average to it."""
    which = batch.markers.nonzero()[:, 0]
    times = torch.where(batch.audio, batch.times, -torch.inf)[which]  # [M, S]
    wanted = batch.times[batch.markers][:, None]
    before = torch.where(times <= wanted, times, -torch.inf).max(1, keepdim=True).values
    after = torch.where(times > wanted, times, torch.inf).min(1, keepdim=True).values
    share = torch.where(after.isinf(), 0.0, (wanted - before) / (after - before))
    return (times == before) * (1 - share) + (times == after) * share
