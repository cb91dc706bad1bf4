"""Bundles for tests: of host files alone, whose components exist in name, and converted from tiny checkpoints."""

from commands.conversion import ConvertRequest, convert, prepare
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import AssetEntry, CheckpointEntry, ComponentEntry, Manifest


def host_bundle(folder, model, plan, host=None):
    """The plan's host files, with constants exchanged, and its components by name."""
    folder.mkdir(exist_ok=True)
    for name, content in plan.assets.items():
        (folder / name).write_bytes(content)
    names = [c.name for c in plan.components]
    return bundle_without_packages(folder, model, plan.host | (host or {}), names, plan.assets, plan.options)


def bundle_without_packages(folder, model, host, components, assets, options=None):
    """A bundle of `model` whose assets lie in `folder` already."""
    manifest = Manifest(
        schema_version=1,
        model=model.id,
        task=model.task,
        checkpoint=CheckpointEntry(id="tiny", kind="folder", revision=None, sha256="0", location="tiny"),
        target="iOS18",
        options=options or {},
        components=tuple(_component(name) for name in components),
        assets=tuple(AssetEntry(file=name, sha256="0") for name in assets),
        host=host,
        versions={},
    )
    return Bundle(folder, manifest)


def _component(name):
    return ComponentEntry(
        name=name,
        packages=(),
        fingerprint="0",
        sources={"wrappers": "0"},
        precision="fp32",
        compression="none",
        functions=(),
    )


def saved_checkpoints(folder, configs, save):
    """Name of a config -> folder of its checkpoint, written by a model's `save_tiny_checkpoint`."""
    for name, sizes in configs.items():
        save(folder / name, **sizes)
    return {name: folder / name for name in configs}


def converted_bundle(model, checkpoint, folder, options):
    """The float16 bundle that `convert` writes."""
    return convert(prepare(ConvertRequest(model, str(checkpoint), output=folder / "bundle", options=options))).bundle
