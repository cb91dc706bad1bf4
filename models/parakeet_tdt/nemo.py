"""Parakeet TDT as NVIDIA's NeMo publishes it, in a `.nemo` file, brought into transformers' layout without NeMo."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.parakeet_tdt.nemo_archive import CONFIG as NEMO_CONFIG
from models.parakeet_tdt.nemo_archive import NemoArchive, open_archive
from models.parakeet_tdt.nemo_config import NemoConfig, read_config
from toolkit.errors import CheckpointError
from toolkit.export.sentencepiece_tokenizer import parse_model, tokenizer_of, unknown_piece
from toolkit.export.source import Source

_SUFFIX = ".nemo"
_PAD, _BLANK = "<pad>", "<blank>"


@dataclass(frozen=True)
class NemoLayout:
    """A `.nemo` file, or a folder or repository that holds one and no config.json."""

    name: str = "nemo"

    def open(self, source: Source, options: Mapping[str, Any]) -> "NemoCheckpoint | None":
        """Find the one `.nemo`, fetch it, and judge all of it but the weights; see `Layout.open`."""
        name = _archive_name(source)
        return None if name is None else NemoCheckpoint.read(name, source.fetch([name]) / name)


@dataclass(frozen=True)
class NemoCheckpoint:
    """A `.nemo` whose configuration and tokenizer were judged.

    Attributes:
        name: of the file in its source.
        archive: the file.
        config: what its configuration becomes.
        pieces: its SentencePiece model, a `ModelProto`.
    """

    name: str
    archive: NemoArchive
    config: NemoConfig
    pieces: Any

    @classmethod
    def read(cls, name: str, path: Path) -> "NemoCheckpoint":
        """Judge configuration and tokenizer.

        Raises:
            CheckpointError: damaged, or a model with what `ParakeetForTDT` cannot express.
        """
        archive = open_archive(path)
        config = read_config(path.name, archive.read(NEMO_CONFIG))
        member = _tokenizer_name(archive, config)
        pieces = parse_model(f"{path.name}: {member}", archive.read(member))
        if config.labels not in (None, len(pieces.pieces)):
            raise CheckpointError(
                f"{path.name}: its tokenizer has {len(pieces.pieces)} pieces, its configuration {config.labels} labels",
                "Save it again in NeMo, with the tokenizer that it was trained with.",
            )
        return cls(name, archive, config, pieces)

    @property
    def files(self) -> Mapping[str, Path]:
        """The one file."""
        return {self.name: self.archive.path}

    def write(self, folder: Path) -> None:
        """Write the checkpoint in transformers' layout; see `Foreign.write`."""
        import torch
        from safetensors.torch import save_file

        from models.parakeet_tdt.nemo_weights import check_filters, renamed

        processor, config = self._processor(), self._config()
        saved, file = self.archive.tensors(folder), self.archive.path.name
        check_filters(file, saved, processor.feature_extractor)
        tensors = renamed(file, saved, config, self.config.head)
        kinds = {t.dtype for t in tensors.values() if t.is_floating_point()}
        config.dtype = kinds.pop() if len(kinds) == 1 else torch.float32
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        self._generation(config).save_pretrained(folder)
        processor.save_pretrained(folder)

    def _config(self) -> Any:
        from transformers import ParakeetTDTConfig

        blank = len(self.pieces.pieces)
        return ParakeetTDTConfig(
            architectures=["ParakeetForTDT"],
            encoder_config=dict(self.config.encoder),
            vocab_size=blank + 1,
            blank_token_id=blank,
            pad_token_id=self._id_of_padding(),
            **self.config.decoder,
        )

    def _generation(self, config: Any) -> Any:
        """What keeps `generate` from taking a duration's logit for a token (docs/adr/0003)."""
        from transformers import GenerationConfig

        durations = list(range(config.vocab_size, config.vocab_size + len(config.durations)))
        return GenerationConfig(
            decoder_start_token_id=config.blank_token_id, pad_token_id=config.pad_token_id, suppress_tokens=durations
        )

    def _id_of_padding(self) -> int:
        """The piece `<pad>`, or the blank where there is none."""
        names = [piece.piece for piece in self.pieces.pieces]
        return names.index(_PAD) if _PAD in names else len(names)

    def _processor(self) -> Any:
        from tokenizers import AddedToken
        from transformers import ParakeetFeatureExtractor, ParakeetProcessor, ParakeetTokenizer

        backend = tokenizer_of(self.pieces)
        special = [_PAD] if self._id_of_padding() < len(self.pieces.pieces) else []
        backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in [*special, _BLANK]])
        tokenizer = ParakeetTokenizer(
            tokenizer_object=backend,
            unk_token=unknown_piece(self.pieces),
            pad_token=_PAD if special else _BLANK,
            clean_up_tokenization_spaces=False,
        )
        extractor = ParakeetFeatureExtractor(**self.config.extractor)
        return ParakeetProcessor(extractor, tokenizer, decoder_type="tdt", blank_token=_BLANK)


def _archive_name(source: Source) -> str | None:
    if source.entry:
        return source.entry if source.entry.endswith(_SUFFIX) else None
    archives = [file for file in source.files if file.endswith(_SUFFIX)]
    if "config.json" in source.files or not archives:
        return None
    if len(archives) > 1:
        raise CheckpointError(
            f"{source.name} holds {len(archives)} .nemo files: {', '.join(archives[:5])}",
            "Name one of them: FOLDER/FILE.nemo, or hf://OWNER/REPO/FILE.nemo.",
        )
    return archives[0]


def _tokenizer_name(archive: NemoArchive, config: NemoConfig) -> str:
    """The SentencePiece model that the configuration names, or the only one."""
    if config.tokenizer in archive.members:
        return str(config.tokenizer)
    found = [name for name in archive.members if name.endswith("tokenizer.model")]
    if len(found) != 1:
        raise CheckpointError(
            f"{archive.path.name} holds {len(found)} SentencePiece models (*tokenizer.model), one is needed",
            "Save it again in NeMo with `model.save_to('name.nemo')`.",
        )
    return found[0]
