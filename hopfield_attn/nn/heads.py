"""Which heads of a layer carry which non-linearity: "identity:8,quadratic:4"."""

from typing import NamedTuple

from hopfield_attn.checks import check_choice
from hopfield_attn.energies.nonlinearities import FAMILIES


class HeadGroup(NamedTuple):
    """A run of consecutive heads of one family.

    Attributes:
      family: a key of ``nonlinearities.FAMILIES``.
      start: index of the first head.
      stop: index after the last head.
    """

    family: str
    start: int
    stop: int

    @property
    def heads(self) -> slice:
        """The heads of the group, as an index into the axis of heads."""
        return slice(self.start, self.stop)


def parse_heads(spec: str, *, num_heads: int) -> tuple[HeadGroup, ...]:
    """Reads a head specification: families with counts, in the order of the heads.

    Args:
      spec: ``"identity:8,quadratic:4"``; one family without a count takes all heads.
      num_heads: how many heads the layer has; the counts must sum to it.

    Raises:
      ValueError: for an unknown family, a bad count, or counts with another sum.

    Example:
      >>> for group in parse_heads("identity:2,quadratic:1", num_heads=3):
      ...     print(group)
      HeadGroup(family='identity', start=0, stop=2)
      HeadGroup(family='quadratic', start=2, stop=3)
    """
    parts = [part.strip() for part in spec.split(",")]
    if len(parts) == 1 and ":" not in parts[0]:
        parts = [f"{parts[0]}:{num_heads}"]
    groups: list[HeadGroup] = []
    start = 0
    for part in parts:
        family, count = _parse_part(part, spec)
        if groups and groups[-1].family == family:
            groups[-1] = groups[-1]._replace(stop=start + count)
        else:
            groups.append(HeadGroup(family, start, start + count))
        start += count
    if start != num_heads:
        raise ValueError(f"heads={spec!r} names {start} heads; the layer has num_heads={num_heads}")
    return tuple(groups)


def _parse_part(part: str, spec: str) -> tuple[str, int]:
    family, _, count = part.partition(":")
    check_choice(f"the family in heads={spec!r}", family, FAMILIES)
    if not (count.isascii() and count.isdigit() and int(count) > 0):
        raise ValueError(
            f"heads={spec!r} must look like 'identity:8,quadratic:4'; got the part {part!r}"
        )
    return family, int(count)
