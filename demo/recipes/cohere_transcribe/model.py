"""The small CohereAsrForConditionalGeneration, its tokenizer and processor, shaped like the published checkpoint."""

import json
import math
import random
from pathlib import Path

import torch
from cohere_transcribe.text import written
from speech import grammar
from speech.augment import FrontEnd
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    CohereAsrProcessor,
    GenerationConfig,
    ParakeetForTDT,
    PreTrainedTokenizerFast,
)

LANGUAGES = ("ar", "de", "el", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "vi", "zh")
# The prompt's ids, the end's and the padding's are the published checkpoint's, but for the languages and "▁".
SPECIALS = (
    "<unk>",
    "<|nospeech|>",
    "<pad>",
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|pnc|>",
    "<|nopnc|>",
    "<|startofcontext|>",
    "<|itn|>",
    "<|noitn|>",
    "<|timestamp|>",
    "<|notimestamp|>",
    "<|diarize|>",
    "<|nodiarize|>",
    "<|spkchange|>",
    "<|audioseparator|>",
    "<|emo:undefined|>",
    *(f"<|{language}|>" for language in LANGUAGES),
)
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
PIECES = 129  # of the text, "▁" and single letters included
TOKENS = len(SPECIALS) + len(BYTES) + PIECES
GUARD = 2.0**-24  # what the extractor adds before its logarithm
POSITIONS = 256


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    # Every word is a piece of its own with "▁" in front, and the full stop stays apart from it.
    spaced = pre_tokenizers.Metaspace(prepend_scheme="always")
    return pre_tokenizers.Sequence([spaced, pre_tokenizers.Split(Regex(r"\."), "isolated")])


def make_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train a SentencePiece-like BPE on the English texts, and put the specials and all bytes in front of it.

    No Han character is among its pieces: Chinese is spelled in bytes, three to a character.
    """
    rng = random.Random(seed)
    learnt = Tokenizer(BPE())
    learnt.pre_tokenizer = _pre_tokenizer()
    texts = (written(grammar.sentence(rng), "en", punctuation=rng.random() < 0.5) for _ in range(5000))
    learnt.train_from_iterator(texts, BpeTrainer(vocab_size=PIECES, special_tokens=["▁"], show_progress=False))
    if learnt.get_vocab_size() != PIECES:
        raise ValueError(f"the tokenizer has {learnt.get_vocab_size()} pieces, not {PIECES}")
    pieces = sorted(learnt.get_vocab(), key=learnt.get_vocab().get)
    merges = [tuple(pair) for pair in _merges(learnt)]
    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *BYTES, *pieces))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|endoftext|>",
        bos_token="<|startoftranscript|>",
        clean_up_tokenization_spaces=False,
    )


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    """Return the merges of a trained tokenizer, which only its JSON tells."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]


def make_processor() -> CohereAsrProcessor:
    """Return the processor: 80 mels at 16 kHz, and the tokenizer above."""
    return CohereAsrProcessor(CohereAsrFeatureExtractor(feature_size=80), make_tokenizer())


def _normalised(mels: torch.Tensor) -> torch.Tensor:
    features = torch.log(mels + GUARD)
    return (features - features.mean(0)) / (features.std(0) + 1e-5)


def front_end(processor: CohereAsrProcessor) -> FrontEnd:
    """Return the extractor's steps but for its dither, for features that are distorted on their way."""
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


def _sinusoids(positions: int, width: int) -> torch.Tensor:
    """Return fixed positions [positions, width], as small as the token embeddings."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(positions)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1) / math.sqrt(width)


def make_model(processor: CohereAsrProcessor, layers: int = 4, width: int = 144) -> CohereAsrForConditionalGeneration:
    """Return an untrained model.

    Conv and Linear layers start from PyTorch's own defaults: with the class's (std 0.02) the signal dies in the
    subsampling. The positions are sinusoids and stay so, which the published ones are as well.
    """
    tokenizer = processor.tokenizer
    encoder = {
        "model_type": "parakeet_encoder",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 4 * width,
        "subsampling_conv_channels": 64,
        "num_mel_bins": 80,
        "dropout": 0.1,
        "activation_dropout": 0.1,
        "attention_dropout": 0.1,
    }
    config = CohereAsrConfig(
        encoder_config=encoder,
        vocab_size=TOKENS,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("▁"),
        attention_dropout=0.1,
        tie_word_embeddings=True,
    )
    model = CohereAsrForConditionalGeneration._from_config(config, attn_implementation="eager")
    tied = model.proj_out
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear) and module is not tied:
            module.reset_parameters()
    decoder = model.model.decoder
    with torch.no_grad():
        decoder.embed_tokens.weight.normal_(0.0, width**-0.5)
        decoder.embed_tokens.weight[config.pad_token_id] = 0.0
        decoder.pos_emb.weight.copy_(_sinusoids(POSITIONS, width))
        tied.bias.zero_()
    decoder.pos_emb.weight.requires_grad_(False)
    return model


@torch.no_grad()
def take_encoder(model: CohereAsrForConditionalGeneration, folder: Path) -> None:
    """Start from the encoder of a trained ParakeetForTDT of the same size.

    That one multiplies what leaves its subsampling by the root of its width; the published Cohere encoder does not,
    so the factor goes into the weights.
    """
    trained = ParakeetForTDT.from_pretrained(folder).encoder
    encoder = model.model.encoder
    encoder.load_state_dict(trained.state_dict())
    if trained.input_scale != encoder.input_scale:
        for parameter in encoder.subsampling.linear.parameters():
            parameter.mul_(trained.input_scale / encoder.input_scale)


def save(model: CohereAsrForConditionalGeneration, processor: CohereAsrProcessor, folder: Path) -> None:
    """Write model, generation settings and processor as a plain transformers folder."""
    config = model.config
    # `generate` puts this token in front of a prompt that does not start with it.
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
