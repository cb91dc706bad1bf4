"""The model card of a bundle: everything in it comes from the manifest, and from what is passed beside it."""

from dataclasses import dataclass
from typing import Any

from toolkit.bundle.manifest import ComponentEntry, FunctionEntry, Manifest
from toolkit.hub import HUB_SCHEME
from toolkit.publish.licence import Licence
from toolkit.publish.loading import python_example, swift_example
from toolkit.publish.results import Results
from toolkit.publish.tables import (
    component_table,
    failed_outputs,
    figure_table,
    megabytes,
    parity_table,
    tensor_table,
)

_PIPELINE_TAGS = {
    "transcription": "automatic-speech-recognition",
    "alignment": "automatic-speech-recognition",
    "synthesis": "text-to-speech",
}
_TASKS = {
    "transcription": "transcribes speech",
    "alignment": "finds the times of the words of a known text in a recording (forced alignment)",
    "synthesis": "speaks a text",
}
_EXTRA_TAGS = {"transcription": (), "alignment": ("forced-alignment",), "synthesis": ()}
_HUB_PAGE = "https://huggingface.co/"


@dataclass(frozen=True)
class CardFacts:
    """What a card says beside the manifest.

    Attributes:
        repository: OWNER/NAME on the hub.
        licence: of the checkpoint.
        results: task figures; None where none were given.
    """

    repository: str
    licence: Licence
    results: Results | None = None


def model_card(manifest: Manifest, facts: CardFacts) -> str:
    """The README.md of a published bundle: YAML front matter and Markdown."""
    sections = [
        f"---\n{_front_matter(manifest, facts)}\n---",
        f"# {facts.repository.rpartition('/')[2]}",
        _summary(manifest),
        *_warning(manifest),
        "## Origin and licence",
        _origin(manifest),
        _licence(manifest, facts.licence),
        "## Components",
        component_table(manifest),
        _host_files(manifest),
        *(part for component in manifest.components for part in _interface(component)),
        "## How to use it",
        _command_line(manifest, facts.repository),
        python_example(manifest, facts.repository),
        swift_example(manifest),
        "## Accuracy of the packages",
        *_parity(manifest),
        *_figures(facts.results),
        "## How it was made",
        _versions(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def base_model(manifest: Manifest) -> str | None:
    """The hub id of the checkpoint; None for one that was not on the hub."""
    if manifest.checkpoint.kind != "hub":
        return None
    parts = manifest.checkpoint.location.removeprefix(HUB_SCHEME).partition("@")[0].split("/")
    return "/".join(parts[:2])


def _front_matter(manifest: Manifest, facts: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    licence = facts.licence
    named: dict[str, Any] = {"license_name": licence.name, "license_link": licence.link}
    data = ModelCardData(
        license=licence.id,
        **{key: value for key, value in named.items() if value},
        base_model=base_model(manifest),
        library_name="coreml",
        pipeline_tag=_PIPELINE_TAGS[manifest.task],
        language=list(_languages(manifest, licence)) or None,
        tags=["coreml", "speech", manifest.model, *_EXTRA_TAGS[manifest.task], "speech-coreml"],
    )
    return data.to_yaml().strip()


def _languages(manifest: Manifest, licence: Licence) -> tuple[str, ...]:
    """Codes of the checkpoint's card; else those that the bundle's constants name."""
    named = manifest.host.get("prompts") or manifest.host.get("languages") or ()
    return licence.languages or tuple(sorted(code for code in named if len(code) in (2, 3)))


def _summary(manifest: Manifest) -> str:
    count, size = len(manifest.components), sum(p.size_bytes for c in manifest.components for p in c.packages)
    packages = "one Core ML component" if count == 1 else f"{count} Core ML components"
    return (
        f"This model {_TASKS[manifest.task]}. It has {packages} ({megabytes(size)} in total), which speech-coreml "
        f"made from {_checkpoint_phrase(manifest)}. It needs {_systems(manifest.target)}."
    )


def _checkpoint_phrase(manifest: Manifest) -> str:
    if manifest.checkpoint.kind == "demo":
        return f"its own demo checkpoint of `{manifest.model}`: a small one for tests, not for use"
    return f"the `{manifest.model}` checkpoint {_checkpoint_name(manifest)}"


def _checkpoint_name(manifest: Manifest) -> str:
    hub_id = base_model(manifest)
    return f"[{hub_id}]({_HUB_PAGE}{hub_id})" if hub_id else f"`{manifest.checkpoint.id}`"


def _systems(target: str) -> str:
    """The systems that a deployment target means: iOS and macOS were numbered apart until 18 and 15."""
    pairs = {"17": "14", "18": "15"}
    number = target.removeprefix("iOS").removeprefix("macOS")
    ios = number if target.startswith("iOS") else next(i for i, m in pairs.items() if m == number)
    return f"iOS {ios} or macOS {pairs[ios]}, or later"


def _warning(manifest: Manifest) -> list[str]:
    if not (failed := failed_outputs(manifest)):
        return []
    listed = "\n".join(f"> - {name}" for name in failed)
    return [f"> **Warning: not every output passes its accuracy gate.** These outputs failed:\n>\n{listed}"]


def _origin(manifest: Manifest) -> str:
    checkpoint = manifest.checkpoint
    demo = checkpoint.kind == "demo"
    name = "the small demo checkpoint of speech-coreml, made for tests" if demo else _checkpoint_name(manifest)
    lines = [f"- Checkpoint: {name}"]
    lines += [f"- Revision: `{checkpoint.revision}`"] if checkpoint.revision else []
    lines.append(f"- Format: {checkpoint.format}")
    lines.append(f"- sha256 of the weights: `{checkpoint.sha256}`")
    return "\n".join(lines)


def _licence(manifest: Manifest, licence: Licence) -> str:
    if licence.id != "other" or licence.name:
        link = f" ([text]({licence.link}))" if licence.link else ""
        shown = licence.name or licence.id
        file = " The LICENSE file in this repository has the full terms." if licence.text else ""
        return f"The weights are licensed under `{shown}`{link}, according to the checkpoint's {licence.source}.{file}"
    page = f" [{hub_id}]({_HUB_PAGE}{hub_id})" if (hub_id := base_model(manifest)) else ""
    file = " The checkpoint's LICENSE file is in this repository." if licence.text else ""
    return f"For the licence of the weights, see the checkpoint's own page{page}.{file}"


def _host_files(manifest: Manifest) -> str:
    listed = ", ".join(f"`{asset.file}`" for asset in manifest.assets)
    return f"Files for the host: {listed}; `manifest.json` holds all constants (sample rate, windows, token ids)."


def _interface(component: ComponentEntry) -> list[str]:
    return [part for function in component.functions for part in _function(component, function)]


def _function(component: ComponentEntry, function: FunctionEntry) -> list[str]:
    """Heading and table of a function; the name of the function where the package has more than one."""
    alone = len(component.functions) == 1
    title = component.name if alone else f"{component.name}, function `{function.name}`"
    return [f"### {title}", tensor_table(function)]


def _command_line(manifest: Manifest, repository: str) -> str:
    bundle = f"--bundle hub:{repository}"
    commands = {
        "transcription": f"infer talk.wav {bundle}",
        "alignment": f'infer talk.wav {bundle} --text "The words of the recording."',
        "synthesis": f'infer {bundle} --text "The words to speak." --output speech.wav',
    }
    return (
        "`speech-coreml` runs the whole model, including feature extraction, decoding and text. It fetches this "
        f"repository the first time:\n\n```sh\nuv run {commands[manifest.task]}\n```"
    )


def _parity(manifest: Manifest) -> list[str]:
    if not any(component.parity for component in manifest.components):
        return ["The packages were not compared with the PyTorch model."]
    return [
        "Each output was compared with the same PyTorch module on real audio, by an executor that follows the types "
        "of the package. The table shows the worst call. The arithmetic of the Neural Engine and the GPU differs "
        "slightly between devices.",
        parity_table(manifest),
    ]


def _figures(results: Results | None) -> list[str]:
    if results is None or not results.figures:
        return []
    run = results.run
    clips = f" (clips: {run['clips']})" if "clips" in run else ""
    return [
        "## Accuracy of the whole model",
        f"Measured with `compare` on the data set `{run['dataset']}`{clips}, with the {run['runtime']} runtime.",
        figure_table(results),
    ]


def _versions(manifest: Manifest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    given = {name: value for name, value in manifest.options.items() if value not in ("", None)}
    options = ", ".join(f"{name} = {value}" for name, value in given.items())
    shown = f"\n- Options: {options}" if options else ""
    return f"- Versions: {versions}\n- Deployment target: {manifest.target}{shown}"
