"""What a pipeline reads from its bundle at the start: constants and arrays, or an error that says how to rebuild."""

from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from toolkit.bundle.bundle import Bundle, rebuild_step
from toolkit.errors import BundleError

Schema = TypeVar("Schema", bound=BaseModel)


class HostSchema(BaseModel):
    """Base of the schemas of `manifest.host`: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderWindow(HostSchema):
    """One fixed length of an encoder that takes mel."""

    function: str
    mel_frames: int = Field(gt=0)
    encoder_frames: int = Field(gt=0)


def host_constants(bundle: Bundle, schema: type[Schema]) -> Schema:
    """`manifest.host`, checked by a model's own schema.

    Raises:
        BundleError: it is not what the schema says; names the first key at fault.
    """
    try:
        return schema.model_validate(bundle.manifest.host)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("host", *first["loc"]))
        step = rebuild_step(bundle.manifest, bundle.path)
        raise BundleError(f"{bundle.path}: manifest: {where}: {first['msg']}", step) from error


def host_arrays(bundle: Bundle, file: str, *names: str) -> tuple[np.ndarray, ...]:
    """Arrays of a safetensors asset, in the order of `names`.

    Raises:
        BundleError: the file cannot be read, or lacks one of them.
    """
    path = bundle.asset(file)
    try:
        arrays = load_file(path)
        return tuple(arrays[name] for name in names)
    except (OSError, SafetensorError, KeyError) as error:
        step = rebuild_step(bundle.manifest, bundle.path)
        raise BundleError(f"{path} does not hold {' and '.join(names)}: {error}", step) from error
