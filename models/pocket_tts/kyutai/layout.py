"""A checkpoint in Kyutai's layout: recognised, its small files judged, then what one language needs fetched."""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.pocket_tts.kyutai.config import KyutaiConfig, config_from_yaml
from models.pocket_tts.kyutai.folder import write_folder
from models.pocket_tts.kyutai.languages import (
    DEFAULT,
    INEXPRESSIBLE,
    OLD,
    OLD_TOKENIZERS,
    OLD_VOICES,
    OLD_WEIGHTS,
    language,
)
from models.pocket_tts.kyutai.tokenizer import read_tokenizer
from toolkit.errors import CheckpointError, OptionError
from toolkit.export.source import Source, is_in, open_source
from toolkit.export.weights import check_weight_files
from toolkit.hub import HUB_SCHEME

# Open to all; holds the tokenizers and voices of its gated twin too, where pocket-tts itself takes them from.
UNGATED = "kyutai/pocket-tts-without-voice-cloning"
_NO_CLONING = "without-voice-cloning"
_YAML, _WEIGHTS = (".yaml", ".yml"), ".safetensors"
_VOICES = "embeddings"


@dataclass(frozen=True)
class Place:
    """One file of a source."""

    source: Source
    file: str

    @property
    def name(self) -> str:
        """Finds it on any machine: its name in the source, or on the hub with the commit."""
        revision = self.source.revision
        if revision is None:
            return self.file
        repository = "/".join(self.source.location.removeprefix(HUB_SCHEME).split("/")[:2])
        return f"{HUB_SCHEME}{repository}/{self.file}@{revision}"

    @property
    def clones(self) -> bool:
        """Whether weights of this name can clone voices: Kyutai publishes both kinds under the same file names."""
        return _NO_CLONING not in self.source.location

    def fetch(self) -> Path:
        """The file on this machine.

        Raises:
            CheckpointError: it is not there, or cannot be fetched.
        """
        return self.source.fetch([self.file]) / self.file


@dataclass(frozen=True)
class KyutaiCheckpoint:
    """One language, all its files on this machine.

    Attributes:
        title: for messages: the language, or the yaml's name.
        config: of the model.
        clones: whether the weights are of the kind that can clone voices.
        weights: model and codec in one file.
        codec: weights of the codec that replace those in `weights`; None where there are none.
        tokenizer: tokenizer.json or tokenizer.model.
        voices: name -> file.
        files: every file by a name that does not depend on this machine.
    """

    title: str
    config: KyutaiConfig
    clones: bool
    weights: Path
    codec: Path | None
    tokenizer: Path
    voices: Mapping[str, Path]
    files: Mapping[str, Path]

    def write(self, folder: Path) -> None:
        """Write it in transformers' layout.

        Raises:
            CheckpointError: tensors are missing or left over.
        """
        write_folder(self, folder)


@dataclass(frozen=True)
class KyutaiLayout:
    """Kyutai's repository or a folder of its layout, one yaml, or one file of weights with its yaml beside it."""

    name: str = "kyutai"

    def open(self, source: Source, options: Mapping[str, Any]) -> KyutaiCheckpoint | None:
        """Recognise, judge the small files, then fetch one language's weights and voices.

        Args:
            source: lists the files.
            options: `language`.

        Raises:
            CheckpointError: an unknown language, one that the class cannot express, or files that do not fit.
            OptionError: a language for a yaml, which describes one model.
        """
        chosen = str(options.get("language") or "")
        if source.entry.endswith(_YAML) or (source.entry.endswith(_WEIGHTS) and not _has_config(source)):
            if chosen:
                raise OptionError(f"--language {chosen}: {source.entry} holds one model; leave --language out")
            return _of_yaml(source)
        if not source.entry and is_repository(source):
            return _of_language(source, chosen or DEFAULT)
        return None


def is_repository(source: Source) -> bool:
    """Whether a source has the layout of Kyutai's repository."""
    if is_in(source, "config.json"):
        return False
    languages = [file for file in source.files if file.startswith("languages/")]
    return is_in(source, OLD_WEIGHTS) or any(posixpath.basename(file) == "model.safetensors" for file in languages)


def _has_config(source: Source) -> bool:
    """Whether the file that was named lies in a folder of transformers' layout."""
    return is_in(source, posixpath.join(posixpath.dirname(source.entry), "config.json"))


def _of_language(source: Source, name: str) -> KyutaiCheckpoint:
    folder = f"languages/{name}"
    own = [file for file in source.files if posixpath.dirname(file) == folder and file.endswith(_YAML)]
    # A yaml beside the weights describes them: so come models that Kyutai's own package does not know.
    config = config_from_yaml(own[0], _parsed(Place(source, own[0]))) if own else language(name)
    weights = [f"{folder}/model.safetensors", *([OLD_WEIGHTS] if name == OLD else [])]
    if not (held := [file for file in weights if is_in(source, file)]):
        has = sorted({f.split("/")[1] for f in source.files if f.startswith("languages/")} - {*INEXPRESSIBLE})
        raise CheckpointError(
            f"{source.name} has no weights of {name}",
            f"Give --language what it has: {', '.join(has) or OLD}.",
        )
    old = name == OLD
    beside = [posixpath.join(folder, config.tokenizer)] if own else []  # a yaml's paths are relative to it
    tokenizers = [
        *beside,
        config.tokenizer,
        *(f"{folder}/{file}" for file in OLD_TOKENIZERS),
        *(OLD_TOKENIZERS if old else ()),
    ]
    tokenizer = next((Place(one, file) for one in _sources(source) for file in tokenizers if is_in(one, file)), None)
    if tokenizer is None:
        raise CheckpointError(f"{source.name} has no {config.tokenizer}", "Download it too; all languages have one.")
    folders = [f"{folder}/{_VOICES}", *([OLD_VOICES] if old else [])]
    voices = next((found for one in _sources(source) for place in folders if (found := _voices(one, place))), {})
    yaml_file = Place(source, own[0]) if own else None
    return _fetched(name, config, Place(source, held[0]), None, tokenizer, voices, yaml_file)


def _of_yaml(source: Source) -> KyutaiCheckpoint:
    given = Place(source, source.entry)
    file = given if source.entry.endswith(_YAML) else _yaml_beside(source)
    content = _parsed(file)
    config = config_from_yaml(file.file, content)
    mimi = content["mimi"].get("weights_path")
    if content["flow_lm"].get("weights_path"):
        raise CheckpointError(
            f"{file.file} names weights of a training (flow_lm.weights_path)",
            "Load it with pocket-tts under POCKET_TTS_SAVE_WEIGHTS=1, and name the model.safetensors that this writes "
            "as weights_path.",
        )
    tokenizer = _located(file, config.tokenizer)
    read_tokenizer(tokenizer.fetch(), config.vocabulary)
    weights = given if given is not file else _first(file, content)
    codec = _located(file, str(mimi)) if mimi else None
    folder = posixpath.join(posixpath.dirname(file.file), _VOICES)
    return _fetched(Path(file.file).stem, config, weights, codec, tokenizer, _voices(file.source, folder), file)


def _fetched(
    title: str,
    config: KyutaiConfig,
    weights: Place,
    codec: Place | None,
    tokenizer: Place,
    voices: Mapping[str, Place],
    described: Place | None = None,
) -> KyutaiCheckpoint:
    """Small files first, then the large ones."""
    read_tokenizer(tokenizer.fetch(), config.vocabulary)
    found = {place: place.fetch() for place in [tokenizer, weights, codec, described, *voices.values()] if place}
    for place in filter(None, (weights, codec)):
        check_weight_files(place.source.name, found[place].parent, [found[place].name])
    # The same files become another checkpoint where their name says that they cannot clone.
    label = "" if weights.clones else f" ({_NO_CLONING})"
    return KyutaiCheckpoint(
        title=title,
        config=config,
        clones=weights.clones,
        weights=found[weights],
        codec=found[codec] if codec else None,
        tokenizer=found[tokenizer],
        voices={name: found[place] for name, place in voices.items()},
        files={f"{place.name}{label if place is weights else ''}": path for place, path in found.items()},
    )


def _sources(source: Source) -> Iterator[Source]:
    """The source, then the repository that pocket-tts itself takes tokenizers and voices from."""
    yield source
    if source.kind == "hub" and source.location != UNGATED:
        with suppress(CheckpointError):
            yield open_source(UNGATED)


def _voices(source: Source, folder: str) -> dict[str, Place]:
    files = [f for f in source.files if posixpath.dirname(f) == folder and f.endswith(_WEIGHTS)]
    return {posixpath.basename(file).removesuffix(_WEIGHTS): Place(source, file) for file in files}


def _yaml_beside(source: Source) -> Place:
    """The yaml of a file of weights: of the same name, or the only one in its folder."""
    folder, stem = posixpath.split(source.entry.removesuffix(_WEIGHTS))
    found = [file for file in source.files if posixpath.dirname(file) == folder and file.endswith(_YAML)]
    same = [file for file in found if posixpath.splitext(posixpath.basename(file))[0] == stem]
    if len(same or found) != 1:
        raise CheckpointError(
            f"{source.entry} has {len(found)} yaml files beside it, its configuration is needed",
            f"Put Kyutai's yaml of it there as {stem}.yaml, or give the folder that holds languages/.",
        )
    return Place(source, (same or found)[0])


def _parsed(file: Place) -> Any:
    try:
        return yaml.safe_load(file.fetch().read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{file.file} is no readable yaml: {line}", "Download it again.") from error


def _first(file: Place, content: Mapping[str, Any]) -> Place:
    """The weights that a yaml names; without voice cloning where the others cannot be had."""
    names = [content.get(key) for key in ("weights_path", "weights_path_without_voice_cloning")]
    if not (named := [str(name) for name in names if name]):
        raise CheckpointError(f"{file.file} names no weights", "Add weights_path, or give the .safetensors beside it.")
    first = _located(file, named[0])
    try:
        first.fetch()  # a gated repository can be listed by all, and refuses only here
    except CheckpointError:
        if len(named) == 1:
            raise
        return _located(file, named[1])
    return first


def _located(file: Place, path: str) -> Place:
    """A file that a yaml names: on the hub, absolute, or relative to the yaml.

    Raises:
        CheckpointError: it is not there.
    """
    if path.startswith(HUB_SCHEME):
        source = open_source(path)
        if not source.entry:
            raise CheckpointError(f"{file.file} names {path}, which is no file", "Write hf://OWNER/REPO/FILE@REVISION.")
        return Place(source, source.entry)
    if path.startswith(("http://", "https://")):
        raise CheckpointError(f"{file.file} names {path}", "Download it, and name the file; only hf:// is fetched.")
    if file.source.kind != "hub" and Path(path).is_absolute():
        source = open_source(path)
        return Place(source, source.entry)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(file.file), path))
    if is_in(file.source, inside):
        return Place(file.source, inside)
    if file.source.kind != "hub" and (outside := Path(file.source.location).parent / path).is_file():
        source = open_source(str(outside))
        return Place(source, source.entry)
    raise CheckpointError(f"{file.file} names {path}, which is not there", "Put it beside the yaml, or name it whole.")
