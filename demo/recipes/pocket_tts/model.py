"""The small PocketTTSForConditionalGeneration, its codec, its tokenizer and its processor."""

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from speech import grammar
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    GenerationConfig,
    PocketTTSAudioTokenizerConfig,
    PocketTTSAudioTokenizerModel,
    PocketTTSConfig,
    PocketTTSFeatureExtractor,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
    PreTrainedTokenizerFast,
)

LATENT = 32
TOKENS = 220  # before the four below
UNKNOWN, PAD = "<unk>", "<pad>"
AUDIO_TOKENS = {
    "audio_prompt_token": "<|audio_prompt|>",
    "audio_latent_token": "<|audio_latent|>",
    "audio_prompt_bos_token": "<|audio_prompt_bos|>",
    "audio_bos_token": "<|audio_bos|>",
}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?;:'\"()-&▁"
TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text()


def make_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train a SentencePiece-like BPE on the domain and on common English; each punctuation mark is its own token."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    texts = []
    for _ in range(3000):
        words = grammar.sentence(rng) if rng.random() < 0.7 else grammar.common_english(rng)
        texts.append(" ".join([words[0].capitalize(), *words[1:]]) + ".")
    trainer = BpeTrainer(
        vocab_size=TOKENS, special_tokens=[UNKNOWN, PAD], initial_alphabet=list(LETTERS), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != TOKENS:
        raise ValueError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {TOKENS}")
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in AUDIO_TOKENS.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=AUDIO_TOKENS,
    )


def make_processor(codec: PocketTTSAudioTokenizerModel | None = None) -> PocketTTSProcessor:
    """Return the processor around a codec, or without one."""
    extractor = PocketTTSFeatureExtractor()
    return PocketTTSProcessor(extractor, make_tokenizer(), audio_tokenizer=codec, chat_template=TEMPLATE)


def make_codec(width: int = 96) -> PocketTTSAudioTokenizerModel:
    """Return an untrained codec: 32 numbers for each 80 ms at 24 kHz."""
    config = PocketTTSAudioTokenizerConfig(
        hidden_size=width,
        num_filters=16,
        upsample_groups=width,
        num_hidden_layers=2,
        intermediate_size=4 * width,
        num_attention_heads=4,
        num_key_value_heads=4,
        latent_dim=LATENT,
        layer_scale_initial_scale=0.3,
    )
    codec = PocketTTSAudioTokenizerModel(config)
    with torch.no_grad():  # the class's own start is many times too loud
        codec.decoder.decoder_seanet.layers[-1].conv.weight.mul_(0.03)
        codec.encoder.downsample.conv.weight.mul_(0.3)
    return codec


def make_model(
    layers: int = 5, width: int = 160, flow_layers: int = 3, flow_width: int = 128
) -> PocketTTSForConditionalGeneration:
    """Return an untrained text-to-latents model."""
    ids = {f"{name}_id": TOKENS + index for index, name in enumerate(AUDIO_TOKENS)}
    config = PocketTTSConfig(
        vocab_size=TOKENS + len(AUDIO_TOKENS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=5,
        intermediate_size=4 * width,
        latent_dim=LATENT,
        pad_token_id=1,
        flow_loss_num_samples=2,
        latent_stats_ema_steps=0,  # train.py measures the statistics
        flow_head_config={
            "hidden_size": flow_width,
            "num_hidden_layers": flow_layers,
            "latent_dim": LATENT,
            "condition_dim": width,
        },
        **ids,
    )
    return PocketTTSForConditionalGeneration(config)


def generation_config(temperature: float, eos_threshold: float) -> GenerationConfig:
    """Return the settings with which plain `generate` speaks."""
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        num_flow_steps=1,
        eos_threshold=eos_threshold,
        min_frames_before_eos=4,
        pad_token_id=1,
        return_dict_in_generate=True,
    )


def conversation(text: str, voice: bool = True, target: bool = False) -> list[dict]:
    """Return the conversation that asks for a text in a voice; `target` adds the answer, for training."""
    said = [{"type": "audio"}] if voice else []
    turns = [{"role": "user", "content": [*said, {"type": "text", "text": text}]}]
    return [*turns, {"role": "assistant", "content": [{"type": "audio"}]}] if target else turns


def rendered(processor: PocketTTSProcessor, text: str, voice: bool = True, target: bool = False) -> str:
    """Return the prompt of one text as the chat template writes it."""
    return processor.apply_chat_template(conversation(text, voice, target), tokenize=False)


def save(
    model: PocketTTSForConditionalGeneration,
    codec: PocketTTSAudioTokenizerModel,
    voices: dict[str, torch.Tensor],
    folder: Path,
    temperature: float,
    eos_threshold: float,
) -> None:
    """Write model, processor, codec and voices as one folder in the hub's layout; the codec's place is relative."""
    model.generation_config = generation_config(temperature, eos_threshold)
    model.save_pretrained(folder)
    make_processor().save_pretrained(folder)
    codec.save_pretrained(folder / "audio_tokenizer")
    settings = json.loads((folder / "processor_config.json").read_text())
    settings.pop("audio_tokenizer", None)
    (folder / "processor_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    (folder / "voices").mkdir(exist_ok=True)
    for name, latents in voices.items():
        save_file({"audio_prompt_latents": latents.contiguous()}, folder / "voices" / f"{name}.safetensors")


def load(folder: Path) -> tuple[PocketTTSForConditionalGeneration, PocketTTSProcessor]:
    """Read what `save` wrote: the model, and the processor with its codec."""
    model = PocketTTSForConditionalGeneration.from_pretrained(folder).eval()
    codec = PocketTTSAudioTokenizerModel.from_pretrained(folder / "audio_tokenizer").eval()
    return model, PocketTTSProcessor.from_pretrained(folder, audio_tokenizer=codec)
