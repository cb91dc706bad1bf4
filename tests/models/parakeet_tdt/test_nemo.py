"""A `.nemo` file as a checkpoint: what is carried over, and that the rest is refused by name."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from models.parakeet_tdt import MODEL
from models.parakeet_tdt import nemo_config as judge
from models.parakeet_tdt.parity.reference import Reference
from tests.models.parakeet_tdt.nemo_files import refused, same, tensors, written
from tests.models.parakeet_tdt.tiny import DEMO, save_tiny_checkpoint
from tests.published_layouts.nemo import without_dropout_of_the_joint
from toolkit.errors import CheckpointError
from toolkit.export.checkpoint import resolve_checkpoint

pytestmark = pytest.mark.usefixtures("cache")


def changed(path, value):
    """Sets, or with `...` removes, a value of the configuration: `encoder.n_heads`."""

    def change(config, tensors):
        *sections, key = path.split(".")
        for section in sections:
            config = config.setdefault(section, {})
        config.pop(key) if value is ... else config.update({key: value})

    return change


def test_the_demo_comes_back_as_it_was(archive):
    found = resolve_checkpoint(MODEL, str(written(archive, DEMO)))
    assert same(tensors(found.folder), tensors(DEMO))
    for file in ("generation_config.json", "processor_config.json", "tokenizer_config.json"):
        assert json.loads((found.folder / file).read_text()) == json.loads((DEMO / file).read_text()), file
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (found.folder, DEMO))
    ours["encoder_config"]["layerdrop"] = theirs["encoder_config"]["layerdrop"]  # in training only
    assert ours == theirs
    ours, theirs = Reference(found.folder).processor.tokenizer, Reference(DEMO).processor.tokenizer
    ids = theirs.encode("ten of clubs go forward")
    assert ours.encode("ten of clubs go forward") == ids
    assert ours.decode(ids, group_tokens=False) == theirs.decode(ids, group_tokens=False)
    assert ours.all_special_tokens == theirs.all_special_tokens


def test_the_manifest_names_format_and_origin(archive, tiny):
    entry = resolve_checkpoint(MODEL, str(written(archive, tiny))).entry()
    assert (entry.format, entry.kind, entry.id) == ("nemo", "file", "tiny.nemo")
    assert list(entry.origin) == ["tiny.nemo"]


def test_a_folder_with_one_archive_and_a_gzipped_archive(archive, tiny):
    written(archive, tiny, mode="w:gz")
    assert same(tensors(resolve_checkpoint(MODEL, str(archive.parent)).folder), tensors(tiny))


def test_a_folder_with_several_archives_lists_them(archive, tiny):
    written(archive, tiny)
    written(archive.with_name("other.nemo"), tiny)
    refused(archive.parent, "2 .nemo files", "other.nemo, tiny.nemo")


def test_transformers_layout_wins_where_there_are_both(tmp_path):
    save_tiny_checkpoint(tmp_path / "both")
    (tmp_path / "both" / "broken.nemo").touch()
    assert resolve_checkpoint(MODEL, str(tmp_path / "both")).format == "transformers"


@dataclass(frozen=True)
class Hub:
    """A repository whose files are on this machine, and a note of what is fetched."""

    folder: Path
    files: tuple[str, ...]
    fetched: list[str]
    name: str = "someone/parakeet"
    kind: str = "hub"
    location: str = "someone/parakeet"
    revision: str = "c0ffee"
    entry: str = ""

    def fetch(self, names):
        self.fetched.extend(names)
        return self.folder


def test_of_a_repository_only_the_archive_is_fetched(archive, tiny, monkeypatch):
    written(archive, tiny)
    hub = Hub(archive.parent, ("README.md", "figure.png", "tiny.nemo", "training/last.ckpt"), [])
    monkeypatch.setattr("toolkit.export.checkpoint.open_source", lambda *_: hub)
    entry = resolve_checkpoint(MODEL, hub.name).entry()
    assert hub.fetched == ["tiny.nemo"]
    assert (entry.format, entry.kind, entry.revision, entry.location) == ("nemo", "hub", "c0ffee", hub.name)


def test_one_archive_of_a_repository_may_be_named(archive, tiny, monkeypatch):
    written(archive, tiny)
    hub = Hub(archive.parent, ("config.json", "other.nemo", "tiny.nemo"), [], entry="tiny.nemo")
    monkeypatch.setattr("toolkit.export.checkpoint.open_source", lambda *_: hub)
    assert list(resolve_checkpoint(MODEL, hub.name).origin) == hub.fetched == ["tiny.nemo"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept(archive, tiny, dtype):
    folder = resolve_checkpoint(MODEL, str(written(archive, tiny, dtype=dtype))).folder
    assert {t.dtype for t in tensors(folder).values()} == {dtype, torch.int64}
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


def test_tensors_that_share_memory_or_are_views_are_written_apart(archive, tiny):
    def share(config, tensors):
        one, other = (f"encoder.layers.{k}.self_attn.pos_bias_u" for k in (0, 1))
        tensors[other] = tensors[one]
        tensors["joint.pred.weight"] = tensors["joint.pred.weight"].T.contiguous().T

    found = tensors(resolve_checkpoint(MODEL, str(written(archive, tiny, change=share))).folder)
    names = [f"encoder.layers.{k}.self_attn.bias_u" for k in (0, 1)]
    assert torch.equal(*(found[name] for name in names))
    assert torch.equal(found["decoder.decoder_projector.weight"], tensors(tiny)["decoder.decoder_projector.weight"])


CARRIED = {
    "a joint without dropout": without_dropout_of_the_joint,
    "window in samples": lambda c, t: c["preprocessor"].update(window_size=None, n_window_size=400),
    "no n_fft": changed("preprocessor.n_fft", ...),
    "pads frames": changed("preprocessor.pad_to", 16),
    "attention of NeMo's default": changed("encoder.att_context_size", ...),
    "one context": changed("encoder.att_context_size", [[-1, -1]]),
    "symmetric convolutions": changed("encoder.conv_context_size", [4, 4]),
    "no durations outside the loss": lambda c, t: (c.pop("model_defaults"), c["decoding"].pop("durations")),
    "no labels": changed("labels", ...),
    "no tokenizer path": changed("tokenizer.model_path", ...),
    "a bound of no use": changed("decoding.greedy.max_symbols", None),
    "no augmentation": changed("spec_augment", ...),
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_means_the_same_is_carried_over(archive, tiny, name):
    found = resolve_checkpoint(MODEL, str(written(archive, tiny, change=CARRIED[name])))
    assert same(tensors(found.folder), tensors(tiny))


def test_the_front_end_and_the_bound_are_carried_over(archive, tiny):
    def change(config, tensors):
        config["preprocessor"].update(preemph=0.5, window_stride=0.0125, window_size=0.02)
        config["decoding"]["greedy"] = {"max_symbols_per_step": 7}
        del tensors["preprocessor.featurizer.window"]

    folder = resolve_checkpoint(MODEL, str(written(archive, tiny, change=change))).folder
    extractor = json.loads((folder / "processor_config.json").read_text())["feature_extractor"]
    assert (extractor["preemphasis"], extractor["hop_length"], extractor["win_length"]) == (0.5, 200, 320)
    assert json.loads((folder / "config.json").read_text())["max_symbols_per_step"] == 7


REFUSED = {
    "target": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE",
    "encoder._target_": "nemo.collections.asr.modules.SqueezeformerEncoder",
    "encoder.self_attention_model": "rel_pos_local_attn",
    "encoder.att_context_size": [128, 128],
    "encoder.att_context_style": "chunked_limited",
    "encoder.conv_norm_type": "layer_norm",
    "encoder.conv_context_size": "causal",
    "encoder.causal_downsampling": True,
    "encoder.subsampling": "striding",
    "encoder.subsampling_factor": 6,
    "encoder.reduction": "pooling",
    "encoder.reduction_factor": 2,
    "encoder.feat_out": 64,
    "encoder.n_heads": 5,
    "encoder.d_model": "32",
    "encoder.n_layers": 10**9,
    "encoder.conv_kernel_size": 8,
    "encoder.use_bias": "yes",
    "encoder.xscaling": 1,
    "encoder.brand_new": None,
    "preprocessor._target_": "nemo.collections.asr.modules.AudioToMFCCPreprocessor",
    "preprocessor.normalize": "all_features",
    "preprocessor.window": "hamming",
    "preprocessor.n_fft": 256,
    "preprocessor.features": 64,
    "preprocessor.frame_splicing": 3,
    "preprocessor.exact_pad": True,
    "preprocessor.pad_value": -1.0,
    "preprocessor.mag_power": 1.0,
    "preprocessor.log": False,
    "preprocessor.log_zero_guard_type": "clamp",
    "preprocessor.log_zero_guard_value": 1e-5,
    "preprocessor.mel_norm": None,
    "preprocessor.lowfreq": 20,
    "preprocessor.highfreq": 7000,
    "preprocessor.window_size": 0,
    "preprocessor.window_stride": float("nan"),
    "preprocessor.preemph": float("inf"),
    "preprocessor.brand_new": 1,
    "decoder._target_": "nemo.collections.asr.modules.StatelessTransducerDecoder",
    "decoder.normalization_mode": "layer",
    "decoder.blank_as_pad": False,
    "decoder.brand_new": 1,
    "decoder.prednet.rnn_hidden_size": 64,
    "decoder.prednet.brand_new": 1,
    "joint._target_": "nemo.collections.asr.modules.SampledRNNTJoint",
    "joint.num_extra_outputs": 0,
    "joint.brand_new": 1,
    "joint.jointnet.activation": "tanh",
    "joint.jointnet.joint_hidden": 17,
    "joint.jointnet.brand_new": 1,
    "decoding.durations": [0, 1, 2],
    "decoding.greedy.max_symbols": -1,
    "decoding.greedy.ngram_lm_model": "lm.arpa",
    "loss.loss_name": "multiblank_rnnt",
    "tokenizer.type": "agg",
    "adapters": {"encoder:one": {}},
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_cannot_be_carried_over_is_refused_by_name(archive, tiny, path, monkeypatch):
    monkeypatch.setattr("models.parakeet_tdt.nemo_archive._loaded", lambda *_: pytest.fail("the weights were read"))
    refused(
        written(archive, tiny, change=changed(path, REFUSED[path])), f"tiny.nemo: {path} is ", "docs/checkpoints.md"
    )


def test_a_hybrid_and_a_plain_transducer_are_refused_by_name(archive, tiny):
    hybrid = "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel"
    refused(written(archive, tiny, change=changed("target", hybrid)), hybrid, "CTC head")

    def plain(config, tensors):
        for section in ("model_defaults", "decoding", "loss"):
            del config[section]

    refused(written(archive, tiny, change=plain), "no plain transducer (RNNT)")


def test_durations_that_are_no_indices_are_refused(archive, tiny):
    def skip(config, tensors):
        for section in (config["model_defaults"], config["decoding"], config["loss"]["tdt_kwargs"]):
            section["tdt_durations" if "tdt_durations" in section else "durations"] = [0, 1, 2, 4, 8]

    refused(written(archive, tiny, change=skip), "model_defaults.tdt_durations is [0, 1, 2, 4, 8]")


@pytest.mark.parametrize("section", ["encoder", "decoder", "joint", "preprocessor", "tokenizer"])
def test_a_missing_section_is_named(archive, tiny, section):
    refused(written(archive, tiny, change=changed(section, ...)), f"no section {section}")


# The parameters of the constructors of NeMo 2.7.3, as `inspect.signature` lists them there.
SWITCHES = {
    "encoder": """feat_in n_layers d_model feat_out causal_downsampling subsampling subsampling_factor
        subsampling_conv_chunking_factor subsampling_conv_channels reduction reduction_position reduction_factor
        ff_expansion_factor self_attention_model n_heads att_context_size att_context_probs att_context_style xscaling
        untie_biases pos_emb_max_len conv_kernel_size conv_norm_type conv_context_size use_bias dropout
        dropout_pre_encoder dropout_emb dropout_att stochastic_depth_drop_prob stochastic_depth_mode
        stochastic_depth_start_layer global_tokens global_tokens_spacing global_attn_separate use_pytorch_sdpa
        use_pytorch_sdpa_backends sync_max_audio_length""",
    "decoder": "prednet vocab_size normalization_mode random_state_sampling blank_as_pad",
    "decoder.prednet": """pred_hidden pred_rnn_layers forget_gate_bias t_max weights_init_scale
        hidden_hidden_bias_scale dropout rnn_hidden_size""",
    "joint": """jointnet num_classes num_extra_outputs vocabulary log_softmax preserve_memory fuse_loss_wer
        fused_batch_size experimental_fuse_loss_wer masking_prob""",
    "joint.jointnet": "encoder_hidden pred_hidden joint_hidden activation dropout",
    "preprocessor": """sample_rate window_size window_stride n_window_size n_window_stride window normalize n_fft
        preemph features lowfreq highfreq log log_zero_guard_type log_zero_guard_value dither pad_to frame_splicing
        exact_pad pad_value mag_power rng nb_augmentation_prob nb_max_freq mel_norm use_torchaudio stft_exact_pad
        stft_conv""",
}
IRRELEVANT = {
    "encoder": judge._ENCODER_IRRELEVANT,
    "decoder": judge._PREDICTION_IRRELEVANT,
    "decoder.prednet": judge._LSTM_IRRELEVANT,
    "joint": judge._JOINT_IRRELEVANT,
    "joint.jointnet": judge._JOINT_NET_IRRELEVANT,
    "preprocessor": judge._FRONT_END_IRRELEVANT,
}
ODD = "an odd value"  # of no switch


@pytest.mark.parametrize("section", SWITCHES)
def test_every_switch_of_nemo_is_carried_over_or_refused_or_known_to_be_irrelevant(archive, tiny, section):
    """With an odd value, a switch is refused by its name unless the table says that it is irrelevant."""
    with tarfile.open(written(archive, tiny)) as tar:
        content = yaml.safe_load(tar.extractfile("./model_config.yaml").read())
    said = {key: judged(content, section, key) for key in SWITCHES[section].split()}
    assert {key for key, error in said.items() if not error} == set(IRRELEVANT[section])
    assert all(key.removeprefix("n_window_") in error for key, error in said.items() if error)


def judged(content, section, key):
    """What is said of an odd value; empty where it is accepted."""
    config = yaml.safe_load(yaml.safe_dump(content))
    changed(f"{section}.{key}", ODD)(config, {})
    if key.startswith("n_window_"):  # one of two ways to say it
        config[section][key.removeprefix("n_")] = None
    try:
        judge.read_config("x.nemo", yaml.safe_dump(config).encode())
    except CheckpointError as error:
        return str(error)
    return ""


def test_a_missing_and_a_left_over_tensor_are_named(archive, tiny):
    def rename(config, tensors):
        tensors["ctc_decoder.weight"] = tensors.pop("joint.enc.weight")

    refused(written(archive, tiny, change=rename), "1 of", "missing (joint.enc.weight)", "(ctc_decoder.weight)")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(16, 31), ("joint.enc.weight is [16, 31], the model has [16, 32]",)),
        (torch.zeros(16, 32, dtype=torch.int8), ("joint.enc.weight is torch.int8",)),
        (torch.zeros(16, 32).to_sparse(), ("joint.enc.weight", "no tensor")),
        ([0.0], ("joint.enc.weight", "no tensor")),
        (torch.full((16, 32), torch.nan), ("1 tensor has NaN or infinity (joint.enc.weight)",)),
    ],
)
def test_a_tensor_of_another_kind_is_named(archive, tiny, tensor, words):
    refused(written(archive, tiny, change=lambda c, t: t.update({"joint.enc.weight": tensor})), *words)


@pytest.mark.parametrize("filters", [torch.zeros(1, 80, 257), torch.zeros(1, 64, 257)])
def test_other_mel_filters_than_the_configuration_says_are_refused(archive, tiny, filters):
    name = "preprocessor.featurizer.fb"
    refused(written(archive, tiny, change=lambda c, t: t.update({name: filters})), "mel filters", name)


def test_labels_that_do_not_fit_the_tokenizer_are_refused(archive, tiny):
    refused(written(archive, tiny, change=changed("labels", ["a", "b"])), "64 pieces", "2 labels")
