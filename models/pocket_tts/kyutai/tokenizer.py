"""Kyutai's tokenizer, with the ids of voice and audio behind those of the text."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from toolkit.errors import CheckpointError
from toolkit.export.pretrained import reading

VOICE, LATENT, VOICE_BOS, AUDIO_BOS = "<|audio_prompt|>", "<|audio_latent|>", "<|audio_prompt_bos|>", "<|audio_bos|>"
# In the order of the class's own ids, 4000 to 4003.
PLACEHOLDERS = {
    "audio_prompt_token": VOICE,
    "audio_latent_token": LATENT,
    "audio_prompt_bos_token": VOICE_BOS,
    "audio_bos_token": AUDIO_BOS,
}
_AGAIN = "Download it again, or give the tokenizer that belongs to the weights."
_BLANK = "▁"
# Fields of SentencePiece's messages ModelProto, SentencePiece, TrainerSpec and NormalizerSpec, and the types of a piece
# (sentencepiece_model.proto at 0.2.1).
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _UNIGRAM = 3, 1
_CHARSMAP, _ADD_PREFIX, _REMOVE_BLANKS = 2, 3, 4
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6


def read_tokenizer(file: Path, vocabulary: int) -> Tokenizer:
    """A tokenizer.json or SentencePiece's tokenizer.model.

    Args:
        file: one of the two.
        vocabulary: tokens that it must have.

    Raises:
        CheckpointError: it cannot be read, or has another number of tokens.
    """
    with reading(file, "is no tokenizer", _AGAIN):
        tokenizer = _of_sentencepiece(file.read_bytes()) if file.suffix == ".model" else Tokenizer.from_file(str(file))
    if (size := tokenizer.get_vocab_size()) != vocabulary:
        raise CheckpointError(f"{file.name} has {size} tokens, the configuration says {vocabulary}", _AGAIN)
    return tokenizer


def with_placeholders(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer of transformers, with the four ids of voice and audio behind the text's."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in PLACEHOLDERS.values()])
    held = {"unk_token": "<unk>", "pad_token": "<pad>"}
    known = {name: token for name, token in held.items() if tokenizer.token_to_id(token) is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, extra_special_tokens=dict(PLACEHOLDERS), clean_up_tokenization_spaces=False, **known
    )


def _of_sentencepiece(data: bytes) -> Tokenizer:
    """The same tokens without SentencePiece: its pieces, and its rules for characters and blanks.

    Raises:
        ValueError: it is of another kind than unigrams, or damaged.
    """
    message = _fields(data)
    pieces = [_piece(_fields(raw)) for raw in message.get(_PIECES, [])]
    trainer = _fields(message[_TRAINER][0]) if _TRAINER in message else {}
    if (kind := trainer.get(_MODEL_TYPE, [_UNIGRAM])[0]) != _UNIGRAM:
        raise ValueError(f"SentencePiece's model type {kind}, only unigrams are read")
    unknown = [i for i, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN]
    if len(unknown) != 1:
        raise ValueError("it has no pieces, or not one for the unknown")
    has_bytes = any(kind == _BYTE for _, _, kind in pieces)
    vocabulary = [(piece, score) for piece, score, _ in pieces]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=unknown[0], byte_fallback=has_bytes))
    tokenizer.normalizer = _normalizer(_fields(message[_NORMALIZER][0]) if _NORMALIZER in message else {})
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    hidden = [piece for piece, _, kind in pieces if kind in (_UNKNOWN, _CONTROL)]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in hidden])
    plain = [piece for piece, _, kind in pieces if kind == _USER_DEFINED]
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in plain])
    return tokenizer


def _normalizer(spec: dict[int, list[Any]]) -> Any:
    """SentencePiece's rules for characters, then for blanks, in its order."""
    steps: list[Any] = []
    if charsmap := spec.get(_CHARSMAP, [b""])[0]:
        steps.append(normalizers.Precompiled(charsmap))
    if spec.get(_REMOVE_BLANKS, [1])[0]:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.get(_ADD_PREFIX, [1])[0]:
        steps.append(normalizers.Prepend(" "))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", _BLANK)])


def _piece(fields: dict[int, list[Any]]) -> tuple[str, float, int]:
    """Piece, score and type."""
    score = struct.unpack("<f", fields[_SCORE][0])[0] if _SCORE in fields else 0.0
    return fields[_PIECE][0].decode(), score, fields.get(_TYPE, [_NORMAL])[0]


def _fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message by number: ints, or bytes.

    Raises:
        ValueError: it is damaged.
    """
    found: dict[int, list[Any]] = {}
    for number, value in _walk(data):
        found.setdefault(number, []).append(value)
    return found


def _walk(data: bytes) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"field type {kind} in SentencePiece's file")
        size, position = _varint(data, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + size > len(data):
            raise ValueError("it is cut short")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("it is cut short")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
