"""A SentencePiece model as a tokenizer of the `tokenizers` library, with the same ids and the same text.

Both kinds are taken, BPE and unigram, with and without byte fallback. Differences that remain: SentencePiece writes an
unknown piece as " ⁇ " where special tokens are left out here; it reads the name of a special token in a text, such as
`<unk>`, as plain text; it has one ▁ more before a symbol of several characters that a BPE model defines; and of bytes
that are no UTF-8 it keeps those that are characters of their own. Source: sentencepiece 0.2,
src/sentencepiece_model.proto and src/normalizer.cc.
"""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from toolkit.errors import CheckpointError

_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6  # SentencePiece.Type
_BOUNDARY = "▁"
_ALL = 2**16  # blanks at the start of a text


def parse_model(name: str, content: bytes) -> Any:
    """The `ModelProto` of a SentencePiece model.

    Args:
        name: of the file, for messages.
        content: of the file.

    Raises:
        CheckpointError: damaged, of another kind, or with pieces that cannot be carried over.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise CheckpointError(f"{name} is no SentencePiece model", "Download it again.") from error
    if problem := _problem(proto):
        raise CheckpointError(f"{name}: {problem}", "Give a checkpoint with a SentencePiece model of BPE or unigram.")
    return proto


def tokenizer_of(proto: Any) -> Tokenizer:
    """The tokenizer whose ids are the pieces' positions.

    Args:
        proto: a checked `ModelProto`; its control and unknown pieces become special tokens.
    """
    tokenizer = Tokenizer(_bpe(proto) if proto.trainer_spec.model_type == _BPE else _unigram(proto))
    tokenizer.normalizer = _normalizer(proto)
    within = proto.trainer_spec.split_by_whitespace  # else a piece may reach over a blank
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_BOUNDARY, "never", split=within)
    tokenizer.decoder = _decoder(proto)
    special = [p.piece for p in proto.pieces if p.type in (_UNKNOWN, _CONTROL)]
    # A single character, such as a digit, needs no help: no merge reaches it. Nor does a piece that always wins.
    unmerged = proto.trainer_spec.model_type == _BPE
    given = [p.piece for p in proto.pieces if p.type == _USER_DEFINED and unmerged and len(p.piece) > 1]
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in special])
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in given])
    return tokenizer


def unknown_piece(proto: Any) -> str:
    """The one unknown piece of a checked model."""
    return next(str(p.piece) for p in proto.pieces if p.type == _UNKNOWN)


def _problem(proto: Any) -> str:
    """What keeps a model from being carried over; empty where nothing does."""
    pieces = [p.piece for p in proto.pieces]
    if proto.trainer_spec.model_type not in (_UNIGRAM, _BPE):
        return "its kind is neither BPE nor unigram"
    if len(set(pieces)) < len(pieces) or "" in pieces:
        return "it has a piece twice, or an empty one"
    if [p.type for p in proto.pieces].count(_UNKNOWN) != 1:
        return "it does not have one unknown piece"
    if any(p.type == _UNUSED for p in proto.pieces):
        return "it has unused pieces"
    spec = proto.normalizer_spec
    if not spec.escape_whitespaces or proto.trainer_spec.treat_whitespace_as_suffix:
        return "it marks the start of a word in another way than with ▁ in front"
    if proto.HasField("denormalizer_spec") and proto.denormalizer_spec.precompiled_charsmap:
        return "it has rules that change a text after decoding"
    return ""


def _bpe(proto: Any) -> Any:
    vocabulary = {p.piece: i for i, p in enumerate(proto.pieces)}
    return models.BPE(
        vocabulary,
        _merges(proto),
        unk_token=unknown_piece(proto),
        fuse_unk=True,
        byte_fallback=_has_bytes(proto),
    )


def _merges(proto: Any) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, the best piece first, as SentencePiece merges them."""
    scores = {p.piece: p.score for p in proto.pieces if p.type == _NORMAL}
    found = [
        (-score, k, piece)
        for piece, score in scores.items()
        for k in range(1, len(piece))
        if piece[:k] in scores and piece[k:] in scores
    ]
    return [(piece[:k], piece[k:]) for _, k, piece in sorted(found)]


def _unigram(proto: Any) -> Any:
    # Defined symbols always win; what is neither normal nor defined keeps its id, and never wins.
    scores = [p.score for p in proto.pieces if p.type == _NORMAL]
    lowest, highest = min(scores, default=0.0), max(scores, default=0.0)

    def score(piece: Any) -> float:
        if piece.type == _USER_DEFINED:
            return len(piece.piece) * highest + 0.1
        return float(piece.score) if piece.type == _NORMAL else 2 * lowest - 1e4

    pieces = [(p.piece, score(p)) for p in proto.pieces]
    unknown = next(i for i, p in enumerate(proto.pieces) if p.type == _UNKNOWN)
    return models.Unigram(pieces, unk_id=unknown, byte_fallback=_has_bytes(proto))


def _normalizer(proto: Any) -> Any:
    spec = proto.normalizer_spec
    parts: list[Any] = []
    if spec.precompiled_charsmap:
        parts.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        parts += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    parts.append(normalizers.Replace(" ", _BOUNDARY))
    if spec.add_dummy_prefix:
        parts.append(normalizers.Prepend(_BOUNDARY))
    return normalizers.Sequence(parts)


def _decoder(proto: Any) -> Any:
    parts: list[Any] = [decoders.Replace(_BOUNDARY, " ")]
    if _has_bytes(proto):
        parts.append(decoders.ByteFallback())
    parts.append(decoders.Fuse())
    spec = proto.normalizer_spec
    if spec.remove_extra_whitespaces or spec.add_dummy_prefix:
        parts.append(decoders.Strip(" ", _ALL if spec.remove_extra_whitespaces else 1, 0))
    return decoders.Sequence(parts)


def _has_bytes(proto: Any) -> bool:
    return any(p.type == _BYTE for p in proto.pieces)
