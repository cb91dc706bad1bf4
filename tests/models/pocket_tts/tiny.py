"""Tiny random checkpoints of the real classes, in the hub's layout, with their codec, voices and text rules."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
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

SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
# In the order of the published ids, which are the last four of the vocabulary.
PLACEHOLDERS = {
    "audio_prompt_token": "<audio_prompt>",
    "audio_latent_token": "<audio_latent>",
    "audio_prompt_bos_token": "<audio_prompt_bos>",
    "audio_bos_token": "<audio_bos>",
}
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'\"-.,!?;:()"
MERGES = [(".", "."), ("..", "."), ("t", "h"), ("th", "e"), ("▁", "the"), ("i", "n"), ("in", "g"), ("▁", "a")]
TEMPLATE = """\
{%- for message in messages -%}
  {%- for part in message['content'] -%}
    {%- if part['type'] == 'audio' -%}
      {{- VOICE -}}
    {%- elif part['type'] == 'text' -%}
      {%- set text = part['text'].strip().replace('\\r', ' ').replace('\\n', ' ').replace('  ', ' ') -%}
      {%- set text = text[:1].upper() ~ text[1:] -%}
      {%- if text[-1:].isalnum() -%}
        {%- set text = text ~ '.' -%}
      {%- endif -%}
      {%- if text.split() | length < 5 -%}
        {%- set text = ' ' * 8 ~ text -%}
      {%- endif -%}
      {{- text -}}
    {%- endif -%}
  {%- endfor -%}
{%- endfor -%}
{{- audio_bos_token -}}
"""
GENERATION = {
    "return_dict_in_generate": True,
    "do_sample": True,
    "temperature": 0.7,
    "num_flow_steps": 1,
    "eos_threshold": -4.0,
    "min_frames_before_eos": 6,
}
FLOW_HEAD = {"hidden_size": 32, "num_hidden_layers": 2, "frequency_embedding_size": 16}
CODEC = {
    "hidden_size": 32,
    "num_filters": 4,
    "upsampling_ratios": [6, 5, 4],
    "latent_stride": 16,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "sliding_window": 20,
}
LEVEL = 0.1  # deviation of what the codec decodes
VOICES = {"anna": 13, "bert": 7}  # frames; the first is the default
# Grouped queries, depth and head dim, no BOS of the voice, the other flow head, eps and steps that show when they are
# ignored, shorter frames from another codec. "flow_head_config", "generation" and "codec" add to what is above.
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "grouped_queries": {"num_key_value_heads": 2},
    "deep": {"num_hidden_layers": 7, "num_attention_heads": 3, "head_dim": 10, "attention_bias": True},
    "no_voice_bos": {"voice_bos": False},
    "drifting": {"flow_head_config": {"flow_type": "drifting", "num_hidden_layers": 3}},
    "large_eps_four_steps": {
        "layer_norm_eps": 0.05,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "flow_head_config": {"layer_norm_eps": 0.1, "rms_norm_eps": 0.2, "max_period": 50.0},
        "generation": {"num_flow_steps": 4, "temperature": 1.0, "min_frames_before_eos": 0},
    },
    "short_frames": {
        "latent_dim": 6,
        "codec": {
            "upsampling_ratios": [5, 4, 3],
            "latent_stride": 8,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "kernel_size": 5,
            "sliding_window": 11,
        },
    },
}


def tiny_tokenizer(voice_bos: bool = True, byte_fallback: bool = True) -> PreTrainedTokenizerFast:
    """SentencePiece-like: letters and a few merges as pieces; any other character as its bytes, or as unknown."""
    held = {name: token for name, token in PLACEHOLDERS.items() if voice_bos or name != "audio_prompt_bos_token"}
    fallback = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    pieces = [*SPECIALS, *fallback, "▁", *CHARACTERS, *("".join(pair) for pair in MERGES)]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *held.values()])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=MERGES, byte_fallback=byte_fallback, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (*SPECIALS, *held.values())])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=held,
    )


def tiny_template(voice_bos: bool = True) -> str:
    """The text rules and the order of a prompt."""
    bos = "audio_prompt_bos_token ~ " if voice_bos else ""
    return TEMPLATE.replace("VOICE", f"{bos}audio_prompt_token")


def tiny_codec(seed: int = 0, **overrides: Any) -> PocketTTSAudioTokenizerModel:
    """A random codec whose layers all matter (the class's own scales are nearly zero)."""
    torch.manual_seed(seed)
    sizes = {"latent_dim": 8, **CODEC, **overrides}
    codec = PocketTTSAudioTokenizerModel(PocketTTSAudioTokenizerConfig(**sizes, upsample_groups=sizes["hidden_size"]))
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            is_scale = name.endswith("_layer_scale.scale")
            parameter += torch.randn_like(parameter) * (0.5 if is_scale else 0.1)
        last = codec.decoder.decoder_seanet.layers[-1].conv
        loud = codec.decode(torch.randn(1, 30, codec.config.latent_dim) * 2).audio_values.std()
        for parameter in last.parameters():
            parameter *= LEVEL / loud
    return codec.eval().requires_grad_(False)


def tiny_processor(
    codec: PocketTTSAudioTokenizerModel | None = None,
    *,
    voice_bos: bool = True,
    byte_fallback: bool = True,
    frame_samples: int = 1920,
    **rules: Any,
) -> PocketTTSProcessor:
    """The real processor around the tiny tokenizer; without a codec it takes voices as latents."""
    samples = codec.config.frame_size if codec is not None else frame_samples
    return PocketTTSProcessor(
        PocketTTSFeatureExtractor(frame_size=samples, pad_to_multiple_of=samples),
        tiny_tokenizer(voice_bos, byte_fallback),
        audio_tokenizer=codec,
        chat_template=tiny_template(voice_bos),
        **rules,
    )


def tiny_model(seed: int = 0, **overrides: Any) -> PocketTTSForConditionalGeneration:
    """A random model whose layers all matter, and whose speech ends sometimes soon and sometimes never.

    Args:
        seed: of the weights.
        overrides: of the config; "flow_head_config" and "generation" add to the tiny ones, "voice_bos" is whether the
            tokenizer has that token, "codec" (whose frames set `frame_rate`) is what `tiny_codec` takes.
    """
    torch.manual_seed(seed)
    config = tiny_config(**overrides)
    model = PocketTTSForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("loss_weighting"):
                parameter += torch.randn_like(parameter) * noise(name)
        model.latent_mean.copy_(torch.randn(config.latent_dim) * 0.5)
        model.latent_std.copy_(0.5 + torch.rand(config.latent_dim))
    model.generation_config = GenerationConfig(**(GENERATION | overrides.get("generation", {})))
    set_end_of_speech(model.eval())
    return model.requires_grad_(False)


def set_end_of_speech(model: PocketTTSForConditionalGeneration, texts: int = 8, frames: int = 40) -> None:
    """Give the logits of texts that run on a deviation of 1.5, and a mean that is 1.8 deviations under the limit."""
    config, head = model.config, model.eos_head
    voice = tiny_voice(7, model)
    letters = torch.randint(config.vocab_size - 90, config.vocab_size - 20, (texts, 12))
    ids = torch.nn.functional.pad(letters, (len(voice), 0), value=config.audio_prompt_token_id)
    ids = torch.nn.functional.pad(ids, (0, 1), value=config.audio_bos_token_id)
    output = model.generate(
        ids,
        audio_prompt_latents=voice.expand(texts, -1, -1),
        max_new_tokens=frames,
        eos_threshold=float("inf"),
        frames_after_eos=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    logits = torch.stack(output.scores)  # [frames, texts]
    scale = 1.5 / logits.std()
    with torch.no_grad():
        head.weight *= scale
        head.bias.copy_(model.generation_config.eos_threshold - 1.8 * 1.5 - scale * (logits.mean() - head.bias))


def noise(name: str) -> float:
    """Deviation of what is added to a weight: texts and latents have to turn the hidden states, and those the logit."""
    if "embed_tokens" in name or "bos_latent" in name:
        return 1.0
    if "_proj" in name and name.startswith("model.audio"):
        return 0.5
    return 0.3 if "self_attn" in name or "eos_head" in name else 0.2


def tiny_config(**overrides: Any) -> PocketTTSConfig:
    """The config of `tiny_model`, with the tokenizer's ids."""
    codec = PocketTTSAudioTokenizerConfig(**(CODEC | overrides.pop("codec", {})))
    overrides.pop("generation", None)
    tokenizer = tiny_tokenizer(overrides.pop("voice_bos", True))
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(t) for name, t in tokenizer.special_tokens_map.items()}
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "latent_dim": 8,
        "frame_rate": codec.frame_rate,
        "pad_token_id": ids["pad_token_id"],
    }
    sizes |= {name: i for name, i in ids.items() if name.startswith("audio_")}
    flow_head = FLOW_HEAD | overrides.pop("flow_head_config", {})
    sizes |= overrides
    flow_head |= {"latent_dim": sizes["latent_dim"], "condition_dim": sizes["hidden_size"]}
    return PocketTTSConfig(flow_head_config=flow_head, **sizes)


def tiny_voice(frames: int, model: PocketTTSForConditionalGeneration, seed: int = 0) -> torch.Tensor:
    """A random voice [T, Z] with the statistics of the model's latents."""
    noise = torch.randn(frames, model.config.latent_dim, generator=torch.Generator().manual_seed(seed))
    return noise * model.latent_std + model.latent_mean


def save_tiny_checkpoint(folder: Path, seed: int = 0, **overrides: Any) -> PocketTTSForConditionalGeneration:
    """Write a tiny checkpoint with its processor, codec and voices, as `tiny_model` takes it; returns the model."""
    model = tiny_model(seed, **overrides)
    trained = ("loss_weighting.", "latent_stats_num_updates")  # in training only: not in the published weights
    weights = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(trained)}
    model.save_pretrained(folder, state_dict=weights)
    codec = tiny_codec(seed, **({"latent_dim": model.config.latent_dim} | overrides.get("codec", {})))
    codec.save_pretrained(folder / "audio_tokenizer")
    tiny_processor(voice_bos=overrides.get("voice_bos", True), frame_samples=codec.config.frame_size).save_pretrained(
        folder
    )
    (folder / "voices").mkdir()
    for number, (name, frames) in enumerate(VOICES.items()):
        voice = tiny_voice(frames, model, seed + number)
        save_file({"audio_prompt_latents": voice}, folder / "voices" / f"{name}.safetensors")
    return model
