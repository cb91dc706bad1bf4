"""The small ParakeetForTDT, its tokenizer and its processor, in the shape of the published v3 checkpoint."""

import random
from pathlib import Path

import torch
from speech import grammar
from speech.augment import FrontEnd
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    GenerationConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForTDT,
    ParakeetProcessor,
    ParakeetTDTConfig,
    ParakeetTokenizer,
)

TOKENS = 64  # before the blank, specials included
SPECIALS = ("<unk>", "<|nospeech|>", "<pad>")
DURATIONS = (0, 1, 2, 3, 4)
GUARD = 2.0**-24  # what the extractor adds before its logarithm


def make_tokenizer(seed: int = 0) -> ParakeetTokenizer:
    """Train a SentencePiece-like BPE of 64 tokens on sentences of the grammar and put `<blank>` behind it."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    sentences = (" ".join(grammar.sentence(rng)) for _ in range(5000))
    trainer = BpeTrainer(vocab_size=TOKENS, special_tokens=list(SPECIALS), show_progress=False)
    tokenizer.train_from_iterator(sentences, trainer)
    if tokenizer.get_vocab_size() != TOKENS:
        raise ValueError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {TOKENS}")
    tokenizer.add_special_tokens([AddedToken("<blank>", special=True, normalized=False)])
    return ParakeetTokenizer(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )


def make_processor() -> ParakeetProcessor:
    """Return the processor: 80 mels at 16 kHz, and the tokenizer above."""
    extractor = ParakeetFeatureExtractor(feature_size=80)
    return ParakeetProcessor(extractor, make_tokenizer(), blank_token="<blank>", decoder_type="tdt")


def _normalised(mels: torch.Tensor) -> torch.Tensor:
    features = torch.log(mels + GUARD)
    return (features - features.mean(0)) / (features.std(0) + 1e-5)


def front_end(processor: ParakeetProcessor) -> FrontEnd:
    """Return the extractor's steps, for features that are distorted on their way."""
    extractor = processor.feature_extractor
    return FrontEnd(
        n_fft=extractor.n_fft,
        hop_length=extractor.hop_length,
        window=torch.hann_window(extractor.win_length, periodic=False),
        pad_mode="constant",
        preemphasis=extractor.preemphasis,
        mels=extractor.mel_filters,
        finished=_normalised,
    )


def make_model(layers: int = 4, width: int = 144, decoder_width: int = 128) -> ParakeetForTDT:
    """Return an untrained model.

    The encoder's Conv and Linear layers start from PyTorch's own defaults: with the class's (std 0.02) the signal
    dies in the subsampling.
    """
    encoder = ParakeetEncoderConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        subsampling_conv_channels=64,
        num_mel_bins=80,
        layerdrop=0.0,
    )
    config = ParakeetTDTConfig(
        vocab_size=TOKENS + 1,
        blank_token_id=TOKENS,
        pad_token_id=SPECIALS.index("<pad>"),
        durations=list(DURATIONS),
        decoder_hidden_size=decoder_width,
        num_decoder_layers=2,
        encoder_config=encoder,
    )
    model = ParakeetForTDT(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear | torch.nn.LSTM):
            module.reset_parameters()
    return model


def generation_config(model: ParakeetForTDT) -> GenerationConfig:
    """Return the settings with which plain `generate` decodes TDT.

    Greedy search takes the argmax over tokens and durations together, so a duration that outscores every token would
    become a token id; suppressing the duration ids leaves the argmax over the tokens alone.
    """
    config = model.config
    return GenerationConfig(
        decoder_start_token_id=config.blank_token_id,
        pad_token_id=config.pad_token_id,
        suppress_tokens=list(range(config.vocab_size, config.vocab_size + len(config.durations))),
    )


def save(model: ParakeetForTDT, processor: ParakeetProcessor, folder: Path) -> None:
    """Write model, generation settings and processor as a plain transformers folder."""
    model.generation_config = generation_config(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
