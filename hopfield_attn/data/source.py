"""Random-access examples: what every reader returns and every batch is made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

Element: TypeAlias = dict[str, np.ndarray]

_T_co = TypeVar("_T_co", covariant=True)


@runtime_checkable
class RandomAccess(Protocol[_T_co]):
    """Anything with a length whose elements are found by number: a list, an array, a source."""

    def __len__(self) -> int:
        """Returns the number of elements."""

    def __getitem__(self, index: int, /) -> _T_co:
        """Returns one element."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Examples stored as columns: row i of every array is example i.

    Attributes:
      arrays: arrays by name with the same first axis; they are read-only here.

    Raises:
      ValueError: there is no array, one has no axis, or the lengths differ.

    Example:
      >>> source = ArraySource({"x": np.arange(6).reshape(3, 2), "y": np.array([7, 8, 9])})
      >>> len(source), source[1]
      (3, {'x': array([2, 3]), 'y': array(8)})
    """

    arrays: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        """Checks the lengths and locks the arrays."""
        lengths = {name: array.shape[:1] for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1 or () in lengths.values():
            raise ValueError(f"expected arrays with one common first axis, got {lengths}")
        # Examples are views: writing into one would change every later epoch.
        locked = {name: array.view() for name, array in self.arrays.items()}
        for array in locked.values():
            array.flags.writeable = False
        object.__setattr__(self, "arrays", locked)

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int, /) -> Element:
        """Returns example ``index`` as read-only views."""
        return {name: array[index, ...] for name, array in self.arrays.items()}
