"""Writes a checkpoint of our layout in Kyutai's: the map of models/pocket_tts/kyutai/ the other way round."""

import json
import re

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import PocketTTSAudioTokenizerConfig, PocketTTSConfig, PocketTTSForConditionalGeneration

VOICE_FORMATS = ("v1.0", "v1.1", "now")
LAYER = {
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
    "self_attn.o_proj": "self_attn.out_proj",
    "self_attn_layer_scale": "layer_scale_1",
    "mlp_layer_scale": "layer_scale_2",
}
# Ours -> theirs, in this order.
NAMES = [
    (r"latent_mean", "flow_lm.emb_mean"),
    (r"latent_std", "flow_lm.emb_std"),
    (r"model\.bos_latent", "flow_lm.bos_emb"),
    (r"model\.audio_latent_proj", "flow_lm.input_linear"),
    (r"model\.audio_prompt_proj\.weight", "flow_lm.speaker_proj_weight"),
    (r"model\.norm", "flow_lm.out_norm"),
    (r"eos_head", "flow_lm.out_eos"),
    (r"flow_head\.cond_proj", "flow_lm.flow_net.cond_embed"),
    (r"flow_head\.input_proj", "flow_lm.flow_net.input_proj"),
    (r"flow_head\.final_layer\.proj", "flow_lm.flow_net.final_layer.linear"),
    (r"flow_head\.final_layer\.adaln_proj", "flow_lm.flow_net.final_layer.adaLN_modulation.1"),
    (r"flow_head\.layers\.(\d+)\.norm", r"flow_lm.flow_net.res_blocks.\1.in_ln"),
    (r"flow_head\.layers\.(\d+)\.fc1", r"flow_lm.flow_net.res_blocks.\1.mlp.0"),
    (r"flow_head\.layers\.(\d+)\.fc2", r"flow_lm.flow_net.res_blocks.\1.mlp.2"),
    (r"flow_head\.layers\.(\d+)\.adaln_proj", r"flow_lm.flow_net.res_blocks.\1.adaLN_modulation.1"),
    (r"flow_head\.timestep_embeddings\.(\d+)\.fc1", r"flow_lm.flow_net.time_embed.\1.mlp.0"),
    (r"flow_head\.timestep_embeddings\.(\d+)\.fc2", r"flow_lm.flow_net.time_embed.\1.mlp.2"),
    (r"flow_head\.timestep_embeddings\.(\d+)\.norm\.weight", r"flow_lm.flow_net.time_embed.\1.mlp.3.alpha"),
    (r"flow_head\.timestep_embeddings\.(\d+)\.freqs", r"flow_lm.flow_net.time_embed.\1.freqs"),
    (r"model\.layers\.", "flow_lm.transformer.layers."),
    (r"(en|de)coder\.\1coder_transformer\.", r"mimi.\1coder_transformer.transformer."),
    (r"(en|de)coder\.\1coder_seanet\.layers\.", r"mimi.\1coder.model."),
    (r"encoder\.downsample\.conv", "mimi.downsample.conv.conv"),
    (r"decoder\.upsample\.conv", "mimi.upsample.convtr.convtr"),
    (r"latent_proj", "mimi.quantizer.output_proj"),
]


def interleaved(rows, heads):
    """Rotary pairs half a head apart -> as neighbours: [H, 2, d / 2, D] -> [H, d / 2, 2, D]."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def named(ours, tensor, transposed):
    """Kyutai's name of a tensor that needs no change."""
    theirs = next(re.sub(f"^{pattern}", name, ours) for pattern, name in NAMES if re.match(pattern, ours))
    for a, b in LAYER.items():
        theirs = re.sub(rf"(layers\.\d+)\.{re.escape(a)}\.", rf"\1.{b}.", theirs)
    if (found := re.fullmatch(r"mimi\.decoder\.model\.(\d+)\.conv\.(\w+)", theirs)) and int(found[1]) in transposed:
        return f"mimi.decoder.model.{found[1]}.convtr.{found[2]}"
    return theirs


def kyutai_tensors(folder):
    """All tensors of a checkpoint in our layout, as Kyutai's package has them."""
    config, codec = PocketTTSConfig.from_pretrained(folder), codec_config(folder)
    ours = load_file(folder / "model.safetensors") | load_file(folder / "audio_tokenizer" / "model.safetensors")
    ours = {n: t for n, t in ours.items() if not n.startswith(("loss_weighting.", "latent_stats_num_updates"))}
    theirs, table = {}, ours.pop("model.embed_tokens.weight")
    text = config.audio_prompt_token_id
    theirs["flow_lm.conditioner.embed.weight"] = torch.cat([table[:text], torch.randn(1, table.shape[1])])
    if has_voice_bos(folder):
        theirs["flow_lm.bos_before_voice"] = table[config.audio_prompt_bos_token_id][None, None].clone()
    for name in [name for name in ours if name.endswith("self_attn.q_proj.weight")]:
        heads = (config.num_attention_heads, config.num_key_value_heads)
        heads = heads if name.startswith("model.") else (codec.num_attention_heads,) * 2
        q, k, v = (ours.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj"))
        stem = named(name.removesuffix("q_proj.weight"), None, ())
        theirs[f"{stem}in_proj.weight"] = torch.cat([interleaved(q, heads[0]), interleaved(k, heads[1]), v])
    step = 2 + codec.num_residual_layers
    transposed = range(2, 2 + step * len(codec.upsampling_ratios), step)
    return theirs | {named(name, tensor, transposed): tensor.contiguous() for name, tensor in ours.items()}


def codec_config(folder):
    return PocketTTSAudioTokenizerConfig.from_pretrained(folder / "audio_tokenizer")


def has_voice_bos(folder):
    """Whether the tokenizer has the token before a voice."""
    return '"audio_prompt_bos_token"' in (folder / "tokenizer_config.json").read_text()


def kyutai_config(folder, **changes):
    """The yaml's content for a checkpoint in our layout; `changes` at its top."""
    c, codec = PocketTTSConfig.from_pretrained(folder), codec_config(folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    return {
        "default_temperature": generation["temperature"],
        "default_eos_threshold": generation["eos_threshold"],
        "flow_lm": {
            "dtype": "float32",
            "insert_bos_before_voice": has_voice_bos(folder),
            "flow": {
                "dim": c.flow_head_config.hidden_size,
                "depth": c.flow_head_config.num_hidden_layers,
                "type": c.flow_head_config.flow_type,
            },
            "transformer": {
                "d_model": c.hidden_size,
                "hidden_scale": 1,
                "dim_feedforward": c.intermediate_size,
                "max_period": c.rope_parameters["rope_theta"],
                "num_heads": c.num_attention_heads,
                "num_kv_heads": c.num_key_value_heads,
                "num_layers": c.num_hidden_layers,
            },
            "lookup_table": {
                "dim": c.hidden_size,
                "n_bins": c.audio_prompt_token_id,
                "tokenizer": "tokenizers",
                "tokenizer_path": "tokenizer.json",
            },
        },
        "mimi": {
            "dtype": "float32",
            "sample_rate": codec.sampling_rate,
            "channels": 1,
            "frame_rate": codec.frame_rate,
            "inner_dim": codec.latent_dim,
            "outer_dim": codec.hidden_size,
            "seanet": {
                "dimension": codec.hidden_size,
                "channels": 1,
                "n_filters": codec.num_filters,
                "n_residual_layers": codec.num_residual_layers,
                "ratios": list(codec.upsampling_ratios),
                "kernel_size": codec.kernel_size,
                "residual_kernel_size": codec.residual_kernel_size,
                "last_kernel_size": codec.last_kernel_size,
                "dilation_base": codec.dilation_growth_rate,
                "pad_mode": codec.pad_mode,
                "compress": codec.compress,
            },
            "transformer": {
                "d_model": codec.hidden_size,
                "input_dimension": codec.hidden_size,
                "output_dimensions": [codec.hidden_size],
                "num_heads": codec.num_attention_heads,
                "num_layers": codec.num_hidden_layers,
                "layer_scale": codec.layer_scale_initial_scale,
                "context": codec.sliding_window,
                "max_period": codec.rope_parameters["rope_theta"],
                "dim_feedforward": codec.intermediate_size,
            },
            "quantizer": {"dimension": codec.latent_dim, "output_dimension": codec.hidden_size},
        },
        **changes,
    }


def kyutai_tokenizer(folder):
    """tokenizer.json without the ids of voice and audio."""
    content, text = json.loads((folder / "tokenizer.json").read_text()), PocketTTSConfig.from_pretrained(folder)
    text = text.audio_prompt_token_id
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < text]
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        content["model"]["vocab"] = {piece: i for piece, i in vocabulary.items() if i < text}
    else:
        content["model"]["vocab"] = vocabulary[:text]
    return json.dumps(content, ensure_ascii=False)


def kyutai_voice(model, latents, form, *, voice_bos=True, spare=5):
    """A voice of latents [T, Z] in one of Kyutai's three formats.

    Args:
        model: of our layout.
        latents: in the codec's space.
        form: one of `VOICE_FORMATS`.
        voice_bos: whether the vector before a voice stands before it.
        spare: rows of the cache behind the voice, which are not used.
    """
    config = model.config
    if form == "v1.0":
        return {"audio_prompt": model.model.audio_prompt_proj(latents)[None].detach().contiguous()}
    ids = [config.audio_prompt_bos_token_id] * voice_bos + [config.audio_prompt_token_id] * len(latents)
    with torch.no_grad():
        past = model(torch.tensor([ids]), audio_prompt_latents=latents[None], use_cache=True).past_key_values
    state = {}
    for number, layer in enumerate(past.layers):
        halves = layer.keys.unflatten(-1, (2, -1))  # [1, K, T, 2, d / 2]
        pair = torch.stack([halves.transpose(-1, -2).flatten(-2), layer.values])  # [2, 1, K, T, d]
        cache = torch.full((2, 1, len(ids) + spare, *pair.shape[2:3], pair.shape[-1]), float("nan"))
        cache[:, :, : len(ids)] = pair.transpose(2, 3)
        name = f"transformer.layers.{number}.self_attn"
        state[f"{name}/cache"] = cache
        if form == "v1.1":
            state[f"{name}/current_end"] = torch.zeros(len(ids))
        else:
            state[f"{name}/offset"] = torch.tensor([len(ids)])
            state[f"{name}/pad"] = torch.zeros(1, dtype=torch.long)
    return state


def write_language(folder, target, *, yaml_name="config.yaml", forms=VOICE_FORMATS, **changes):
    """One language: model.safetensors, tokenizer.json, embeddings/ and a yaml, all in one folder.

    Args:
        folder: our layout.
        target: written; may exist.
        yaml_name: None writes no yaml, as Kyutai's own repository has none.
        forms: formats of the voices, in turn.
        changes: at the top of the yaml.
    """
    (target / "embeddings").mkdir(parents=True, exist_ok=True)
    save_file(kyutai_tensors(folder), target / "model.safetensors")
    (target / "tokenizer.json").write_text(kyutai_tokenizer(folder), encoding="utf-8")
    model = PocketTTSForConditionalGeneration.from_pretrained(folder).eval()
    for number, file in enumerate(sorted((folder / "voices").glob("*.safetensors"))):
        latents = load_file(file)["audio_prompt_latents"]
        voice = kyutai_voice(model, latents, forms[number % len(forms)], voice_bos=has_voice_bos(folder))
        save_file(voice, target / "embeddings" / file.name)
    if yaml_name:
        content = {"weights_path": "model.safetensors"} | kyutai_config(folder, **changes)
        (target / yaml_name).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def write_repository(folders, target, *, old=None, **settings):
    """A repository with several languages.

    Args:
        folders: language -> checkpoint of our layout.
        target: written.
        old: checkpoint of our layout whose files lie at the top, as the first language's did.
        settings: of `write_language`.
    """
    for name, folder in folders.items():
        write_language(folder, target / "languages" / name, **settings)
    if old is not None:
        write_language(old, target, yaml_name=None, **{k: v for k, v in settings.items() if k == "forms"})
        (target / "model.safetensors").rename(target / "tts_b6369a24.safetensors")
    (target / "README.md").write_text("A model card.\n", encoding="utf-8")
    return target
