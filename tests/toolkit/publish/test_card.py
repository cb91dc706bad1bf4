"""Model cards: the structure for every demo bundle, and what a card says in each case."""

from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard

from tests.toolkit.publish.outlines import MODELS, card_of, golden, manifest_of, outline
from toolkit.bundle.manifest import CheckpointEntry
from toolkit.publish.card import base_model
from toolkit.publish.licence import Licence
from toolkit.publish.results import Figure, Results
from toolkit.publish.tables import compute_units, table

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = CheckpointEntry(
    id="nvidia/parakeet", kind="hub", revision=COMMIT, sha256="0", location="nvidia/parakeet", format="nemo"
)


def first_component(model, **changes):
    first, *others = manifest_of(model).components
    return {"components": (first.model_copy(update=changes), *others)}


def test_there_is_a_manifest_of_every_demo_model():
    assert MODELS == ["cohere-transcribe", "parakeet-tdt", "pocket-tts", "qwen3-forced-aligner"]


@pytest.mark.parametrize("model", MODELS)
def test_the_structure_of_a_card(model):
    again = "run: uv run python -m tests.toolkit.publish.outlines"
    assert outline(card_of(model)) == golden(model).read_text(encoding="utf-8"), again


@pytest.mark.parametrize("model", MODELS)
def test_the_hub_reads_the_front_matter(model):
    data = ModelCard(card_of(model)).data
    assert (data.library_name, data.license) == ("coreml", "cc-by-sa-4.0")
    assert {"coreml", model} <= set(data.tags)


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_and_every_parity_row_is_in_the_card(model):
    card, manifest = card_of(model), manifest_of(model)
    for component in manifest.components:
        for function in component.functions:
            for tensor in (*function.inputs, *function.outputs, *function.states):
                assert f"| `{tensor.name}` | {tensor.dtype} | " in card
        for row in component.parity:
            assert f"| `{row.output}` | {row.calls} | " in card


def test_a_checkpoint_of_the_hub_is_named_with_its_commit_and_format():
    card = card_of("parakeet-tdt", checkpoint=HUB)
    assert ModelCard(card).data.base_model == "nvidia/parakeet"
    assert f"- Revision: `{COMMIT}`\n- Format: nemo" in card


def test_one_file_of_a_repository_has_the_repository_as_its_base_model():
    checkpoint = HUB.model_copy(update={"location": "hf://kyutai/pocket-tts/english/model.yaml"})
    assert base_model(manifest_of("pocket-tts", checkpoint=checkpoint)) == "kyutai/pocket-tts"


def test_what_failed_stands_before_everything_else():
    parity = [p.model_copy(update={"passed": False}) for p in manifest_of("parakeet-tdt").components[0].parity[:1]]
    card = card_of("parakeet-tdt", **first_component("parakeet-tdt", parity=tuple(parity)))
    assert card.index("> - encoder: encoder") < card.index("## Origin")
    assert "**FAILED**" in card
    assert "Warning" not in card_of("parakeet-tdt")


def test_an_unknown_licence_points_at_the_checkpoint():
    card = card_of("parakeet-tdt", licence=Licence(), checkpoint=HUB)
    assert ModelCard(card).data.license == "other"
    assert "see the checkpoint's own page [nvidia/parakeet](https://huggingface.co/nvidia/parakeet)" in card


def test_a_licence_of_its_own_keeps_name_and_link():
    data = ModelCard(card_of("parakeet-tdt", licence=Licence("other", "model card", name="nv", link="https://a"))).data
    assert (data.license, data.license_name, data.license_link) == ("other", "nv", "https://a")


def test_precision_and_compression_are_shown_by_component():
    card = card_of("parakeet-tdt", **first_component("parakeet-tdt", precision="fp32", compression="palette4"))
    assert "| encoder | `encoder.mlpackage` | 4.4 MB | float32 | 4-bit palettes |" in card
    assert "| joint | `joint.mlpackage` | 22.9 kB | float16 | none |" in card


def test_compute_units_are_all_unless_the_manifest_names_others():
    assert compute_units(manifest_of("parakeet-tdt").components[0]) in ("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY")
    assert compute_units(SimpleNamespace(compute_units="CPU_ONLY")) == "CPU_ONLY"
    assert compute_units(SimpleNamespace()) == "ALL"


def test_a_stateful_component_is_the_example():
    card = card_of("cohere-transcribe")
    assert 'decoder_stateful.mlpackage", compute_units=units, function_name="step")' in card
    assert "state = model.make_state()" in card
    assert 'configuration.functionName = "step"' in card
    assert "prediction(from: inputs, using: state)" in card


@pytest.mark.parametrize(("target", "systems"), [("iOS17", "iOS 17 or macOS 14"), ("macOS15", "iOS 18 or macOS 15")])
def test_a_target_is_named_as_systems(target, systems):
    assert f"It needs {systems}, or later." in card_of("parakeet-tdt", target=target)


def test_task_figures_stand_with_the_run_that_they_come_from():
    results = Results((Figure("words", "WER", "7.14 %", "passed"),), {"dataset": "demo", "runtime": "portable"})
    card = card_of("parakeet-tdt", results)
    assert "on the data set `demo`, with the portable runtime" in card
    assert "| words | WER | 7.14 % | passed |" in card
    assert "## Accuracy of the whole model" not in card_of("parakeet-tdt")


def test_a_bar_does_not_end_a_cell():
    assert table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
