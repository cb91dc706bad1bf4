"""Kyutai's published sizes: every tensor of their own classes finds its place in ours, and none is left."""

import json

import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from models.pocket_tts.kyutai.folder import codec_config, model_config, translate
from models.pocket_tts.kyutai.languages import LANGUAGES
from models.pocket_tts.kyutai.tokenizer import read_tokenizer, with_placeholders
from models.pocket_tts.kyutai.weights import Tensors
from toolkit.errors import CheckpointError


def write_tokenizer(file, vocabulary):
    """A tokenizer of as many tokens as the published ones have; which they are does not matter here."""
    pieces = [("<unk>", 0.0), *((f"piece{number}", -1.0) for number in range(vocabulary - 1))]
    Tokenizer(Unigram(pieces, unk_id=0)).save(str(file))


def fits(name, shapes, file):
    """Whether the tensors of one language, by name and shape, are those that the class takes."""
    config = LANGUAGES[name]
    clones = config.voice_width == config.codec.latent
    model = model_config(config, with_placeholders(read_tokenizer(file, config.vocabulary)))
    # One byte a number: the large models have hundreds of millions.
    tensors = Tensors(name, {key: torch.zeros(shape, dtype=torch.int8) for key, shape in shapes.items()})
    try:
        translate(tensors, config, model, codec_config(config.codec, encoder=clones), clones=clones)
    except CheckpointError as error:
        print(error)
        return False
    return True


def fitting(folder, file):
    """(True, whether it fits) of each language."""
    return [
        (True, fits(name, shapes, file)) for name, shapes in json.loads((folder / "tensors.json").read_text()).items()
    ]
