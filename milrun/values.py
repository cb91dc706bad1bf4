"""Values that flow between ops and are not tensors."""

from dataclasses import dataclass

from milrun.registry import Ints, Tensor, Tensors


@dataclass(frozen=True)
class TensorList:
    """The elements, whether writing past the end makes the list longer, and what an unwritten element holds.

    `blank` is None where the shape of the elements is not known before one is written.
    """

    elements: tuple[Tensor | None, ...]
    grows: bool
    blank: Tensor | None = None

    def __len__(self) -> int:
        return len(self.elements)

    def read(self, index: int) -> Tensor:
        """The element at `index`; zeros where none was written."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a list of {len(self)} elements")
        value = self.elements[index]
        value = self.blank if value is None else value
        if value is None:
            raise ValueError(f"element {index} of the list was never written")
        return value

    def written(self, indices: Ints, values: Tensors) -> "TensorList":
        """A list with `values` at `indices`."""
        elements = list(self.elements)
        for index, value in zip(indices, values, strict=True):
            if index < 0 or (index >= len(elements) and not self.grows):
                raise IndexError(f"index {index} of a list of {len(elements)} elements")
            elements += [None] * (index + 1 - len(elements))
            elements[index] = value
        return TensorList(tuple(elements), self.grows, self.blank)
