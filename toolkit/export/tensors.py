"""What is wrong with the tensors of a checkpoint, in one line, by the names that its author knows."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from toolkit.errors import CheckpointError

_SHOWN = 3  # tensors named in a message
_ADAPTER = ("lora_", "base_layer", "base_model.")
_ADAPTER_STEP = (
    "Merge the adapter into the model (`merge_and_unload()` of peft), and save it with `save_pretrained(folder)`."
)


def refuse_tensors(
    name: str,
    total: int,
    *,
    missing: Collection[str] = (),
    left: Collection[str] = (),
    shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]] | None = None,
    step: str = "",
) -> None:
    """Refuse a checkpoint whose tensors are not exactly those of the model.

    Args:
        name: of the checkpoint, as the user knows it.
        total: number of tensors of the model.
        missing: tensors of the model that the checkpoint lacks.
        left: tensors of the checkpoint that the model lacks.
        shapes: tensor -> shape in the checkpoint, and shape of the model, where they differ.
        step: what to do about it, unless the tensors look like an adapter; by what they look like when left out.

    Raises:
        CheckpointError: there is any.
    """
    other = [
        f"{n} is {list(found)}, the model has {list(wanted)}" for n, (found, wanted) in sorted((shapes or {}).items())
    ]
    said = [
        _listed(sorted(missing), f"of {total} tensors {_verb(missing, 'is', 'are')} missing"),
        _listed(sorted(left), f"{_tensors(left)} {_verb(left, 'does', 'do')} not belong to this model"),
        _listed(other, f"{_tensors(other)} {_verb(other, 'has', 'have')} another shape", shown=1),
    ]
    if any(said):
        adapter = any(mark in tensor for tensor in left for mark in _ADAPTER)
        if adapter or not step:
            step = _likely_cause(missing, left, other, total)
        raise CheckpointError(f"{name}: {'; '.join(filter(None, said))}", step)


def refuse_not_finite(name: str, tensors: Mapping[str, Any]) -> None:
    """Refuse NaN and infinity, which would fail every gate later on, and only then.

    Args:
        name: of the checkpoint, as the user knows it.
        tensors: of torch.

    Raises:
        CheckpointError: a tensor holds any.
    """
    broken = [n for n, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        said = _listed(broken, f"{_tensors(broken)} {_verb(broken, 'has', 'have')} NaN or infinity")
        step = "Give a checkpoint of sound weights, such as the step of the training before."
        raise CheckpointError(f"{name}: {said}", step)


def _likely_cause(missing: Collection[str], left: Collection[str], other: Collection[str], total: int) -> str:
    if any(mark in name for name in left for mark in _ADAPTER):
        return f"They look like an adapter that was not merged. {_ADAPTER_STEP}"
    if len(missing) > total // 2:
        return "It looks like another architecture, or an older format: save it with the present transformers."
    if other and not missing and not left:
        return "Its config.json describes another size of the model: give the one that was saved with the weights."
    if missing and not left:
        return "The file looks incomplete: save it again with `save_pretrained(folder)`, or download it again."
    return "Load it in the present transformers, where every tensor must find its place, and `save_pretrained(folder)`."


def _listed(names: Sequence[str], what: str, shown: int = _SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {what} ({', '.join(names[:shown])}{more})" if names else ""


def _tensors(names: Collection[str]) -> str:
    return _verb(names, "tensor", "tensors")


def _verb(names: Collection[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
