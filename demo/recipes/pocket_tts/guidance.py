"""Shows the backbone, while it trains, which word of the text is due: without this it babbles words for a long time."""

from dataclasses import dataclass

import torch
from pocket_tts.voices import FRAME_SAMPLES, RATE
from speech import grammar
from speech.bank import Span
from torch.nn.functional import cross_entropy
from transformers import PocketTTSConfig, PreTrainedTokenizerFast

LAYERS, HEADS = (2, 3), 2  # these layers' first heads are to look at the word that is due
FRAME_S = FRAME_SAMPLES / RATE


@dataclass(frozen=True)
class Lesson:
    """For every audio position of a batch: its row and place, the places of the due word [N, S], the word's number."""

    rows: torch.Tensor
    places: torch.Tensor
    allowed: torch.Tensor
    words: torch.Tensor


def word_groups(tokens: list[str]) -> list[list[int]]:
    """Return the places of each word's tokens; a mark belongs to the word before it, leading blanks to none."""
    groups: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token.startswith("▁") or not groups:
            groups.append([])
        groups[-1].append(place)
    return [group for group in groups if any(tokens[place] != "▁" for place in group)]


def due_words(spans: list[Span], frames: int) -> list[int]:
    """Return for each frame the word said in the middle of it, or else the next one, or else the last."""
    due = []
    for frame in range(frames):
        middle = (frame + 0.5) * FRAME_S
        due.append(next((index for index, (_, end) in enumerate(spans) if end > middle), len(spans) - 1))
    return due


def lesson(
    ids: torch.Tensor,
    words: list[list[str]],
    spans: list[list[Span]],
    tokenizer: PreTrainedTokenizerFast,
    config: PocketTTSConfig,
) -> Lesson:
    """Return what the audio positions of a batch [B, S] are to look at; `words` are bare."""
    audio = (config.audio_bos_token_id, config.audio_latent_token_id)
    other = {*audio, config.audio_prompt_token_id, config.audio_prompt_bos_token_id, config.pad_token_id}
    rows, places, allowed, numbers = [], [], [], []
    for row, line in enumerate(ids.tolist()):
        text = [place for place, token in enumerate(line) if token not in other]
        groups = word_groups(tokenizer.convert_ids_to_tokens([line[place] for place in text]))
        if len(groups) != len(words[row]):
            raise ValueError(f"{len(groups)} words in the tokens of {words[row]}")
        speaking = [place for place, token in enumerate(line) if token in audio][:-1]
        for place, due in zip(speaking, due_words(spans[row], len(speaking)), strict=True):
            mask = torch.zeros(len(line), dtype=torch.bool)
            mask[[text[index] for index in groups[due]]] = True
            rows.append(row)
            places.append(place)
            allowed.append(mask)
            numbers.append(grammar.WORDS.index(words[row][due]))
    return Lesson(torch.tensor(rows), torch.tensor(places), torch.stack(allowed), torch.tensor(numbers))


def guided_loss(shown: Lesson, attentions: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return how far the guided heads are from looking at the due word."""
    weights = torch.stack([attentions[layer][:, :HEADS] for layer in LAYERS])  # [L, B, H, S, S]
    weights = weights[:, shown.rows, :, shown.places]  # [N, L, H, S]
    inside = (weights * shown.allowed[:, None, None]).sum(-1)
    return -inside.clamp_min(1e-6).log().mean()


def word_loss(shown: Lesson, hidden: torch.Tensor, head: torch.nn.Linear) -> torch.Tensor:
    """Return the cross-entropy of the due word, told from the hidden states [B, S, D]."""
    return cross_entropy(head(hidden[shown.rows, shown.places]), shown.words)
