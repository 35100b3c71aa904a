"""What a profile measures: cells (one shape, one candidate, one direction) and their grid."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

DIRECTIONS = ("forward", "forward_backward")
CENTRAL_STEPS = 3
"""T of the cells that vary something other than T."""
_SMALLEST_BATCH_HEADS, _LARGEST_BATCH_HEADS = 8, 32
_TOKENS = 8192
_HEADS = 4


class Cell(NamedTuple):
    """One measurement.

    Attributes:
      n: length of queries and keys.
      implementation: a name of ``IMPLEMENTATIONS``, "auto", or a name of ``BASELINES``.
      direction: "forward" or "forward_backward".
      T: steps; ``None`` for plain attention, as are the next two.
      F: family of the non-linearity.
      coupling: where F sits.
    """

    n: int
    implementation: str
    direction: str
    T: int | None = None
    F: str | None = None
    coupling: str | None = None


def cell_of(row: dict[str, Any]) -> Cell:
    """The cell of a row of results."""
    return Cell(**{name: row[name] for name in Cell._fields})


def batch_and_heads(n: int, total: int | None = None) -> tuple[int, int]:
    """(b, h) of a length: b·h is ``total``, or 8192/n between 8 and 32; 4 heads where they divide.

    Example:
      >>> [batch_and_heads(n) for n in (128, 512, 2048)]
      [(8, 4), (4, 4), (2, 4)]
    """
    if total is None:
        total = min(max(_TOKENS // n, _SMALLEST_BATCH_HEADS), _LARGEST_BATCH_HEADS)
    heads = _HEADS if total % _HEADS == 0 else 1
    return total // heads, heads


def make_grid(
    *,
    lengths: Sequence[int],
    steps: Sequence[int],
    nonlinearities: Sequence[str],
    couplings: Sequence[str],
    implementations: Sequence[str],
    baselines: Sequence[str],
    full: bool = False,
) -> list[Cell]:
    """The cells of a profile, short ones first.

    Every T goes with the first non-linearity and the first coupling. The others are measured at
    one T each, with the first of the other kind, unless ``full`` asks for the whole product.

    Args:
      lengths: of queries and keys.
      steps: T.
      nonlinearities: families of F.
      couplings: of the energy.
      implementations: of non-linear attention.
      baselines: of plain attention, one cell a length and direction.
      full: every combination.
    """
    central = CENTRAL_STEPS if CENTRAL_STEPS in steps else steps[0]
    cells = []
    for n, direction in itertools.product(sorted(lengths), DIRECTIONS):
        cells += [Cell(n, name, direction) for name in baselines]
        for F, coupling, T in itertools.product(nonlinearities, couplings, steps):
            is_first = (nonlinearities.index(F) == 0, couplings.index(coupling) == 0)
            varies_alone = any(is_first) and steps.index(T) == steps.index(central)
            if full or all(is_first) or varies_alone:
                cells += [Cell(n, name, direction, T, F, coupling) for name in implementations]
    return cells
