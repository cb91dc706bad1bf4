"""One section of a NeMo configuration, read strictly: what is neither read nor known to be irrelevant is refused."""

from collections.abc import Iterable, Mapping
from typing import Any

from toolkit.errors import CheckpointError

NEXT_STEP = "Convert a Parakeet TDT model without it; docs/checkpoints.md lists what is carried over."
_LARGEST = 2**20  # more would only exhaust the memory


class Section:
    """Reads values by name and type, and knows at the end which ones nobody looked at.

    Args:
        file: the archive's name, for messages.
        name: of the section, e.g. `encoder`.
        values: of the section.
    """

    def __init__(self, file: str, name: str, values: Mapping[str, Any]) -> None:
        self._file, self._name, self._values = file, name, values
        self._read: set[str] = set()

    def part(self, key: str) -> "Section":
        """A section within this one.

        Raises:
            CheckpointError: it is not there.
        """
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{self._file} has no section {self._path(key)}", NEXT_STEP)
        return Section(self._file, self._path(key), value)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of any type."""
        self._read.add(key)
        return self._values.get(key, default)

    def integer(self, key: str, default: int | None = None, low: int = 1, high: int = _LARGEST) -> int:
        """A whole number from `low` to `high`.

        Raises:
            CheckpointError: it is something else, or missing without a default.
        """
        value = self.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.refusal(key, value, f"a whole number from {low} to {high} is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number, or nothing.

        Raises:
            CheckpointError: it is something else.
        """
        value = self.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:  # NaN is not
            raise self.refusal(key, value, "a number is needed")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false.

        Raises:
            CheckpointError: it is something else.
        """
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, value, "true or false is needed")
        return value

    def only(self, key: str, allowed: Iterable[Any], default: Any, what: str) -> None:
        """Refuse all values but those that mean what the model's class computes.

        Args:
            key: name of the value.
            allowed: values of the one meaning that is carried over.
            default: NeMo's own, where the configuration does not have the key.
            what: the only thing that is carried over, in words.

        Raises:
            CheckpointError: another value.
        """
        value = self.get(key, default)
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
            raise self.refusal(key, value, what)

    def target(self, allowed: str) -> None:
        """Refuse a section that is built by another class of NeMo.

        Raises:
            CheckpointError: another class, or none.
        """
        value = self.get("_target_")
        if str(value).rpartition(".")[2] != allowed:
            raise self.refusal("_target_", value, f"only {allowed} is carried over")

    def close(self, irrelevant: Iterable[str] = ()) -> None:
        """Refuse what was not read and is not known to be irrelevant at inference.

        Raises:
            CheckpointError: there is such a key.
        """
        if unknown := sorted(map(str, set(self._values) - self._read - set(irrelevant))):
            names = ", ".join(self._path(key) for key in unknown[:3])
            raise CheckpointError(
                f"{self._file}: {names} is unknown here, and may change what the model computes", NEXT_STEP
            )

    def refusal(self, key: str, value: Any, what: str) -> CheckpointError:
        """The error that names a value that is not carried over."""
        said = repr(value)
        return CheckpointError(
            f"{self._file}: {self._path(key)} is {said[:100]}{'...' if len(said) > 100 else ''}; {what}", NEXT_STEP
        )

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key
