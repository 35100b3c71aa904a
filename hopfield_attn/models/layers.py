"""Which layers of an encoder get the non-linear heads: "3-6", "1,4-5"."""

import re


def parse_layers(spec: str, *, num_layers: int) -> tuple[int, ...]:
    """Reads a specification of layers, counted from 1 as papers do.

    Args:
      spec: numbers and ranges, ends included, separated by commas; "" is all layers.
      num_layers: how many there are.

    Returns:
      Indices from 0, ascending.

    Raises:
      ValueError: for anything else, and for a layer that does not exist.

    Example:
      >>> parse_layers("1,3-6", num_layers=6)
      (0, 2, 3, 4, 5)
    """
    if not spec:
        return tuple(range(num_layers))
    chosen: set[int] = set()
    for part in spec.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= num_layers:
            raise ValueError(
                f"head_layers={spec!r} must look like '3-6' or '1,4-5', with layers from 1 to "
                f"{num_layers}; got the part {part!r}"
            )
        chosen.update(range(first - 1, last))
    return tuple(sorted(chosen))


def heads_by_layer(heads: str, spec: str, *, num_layers: int) -> tuple[str, ...]:
    """The head specification of every layer: ``heads`` in the chosen layers, elsewhere identity.

    Args:
      heads: as :func:`hopfield_attn.nn.parse_heads` reads it.
      spec: of the layers, as :func:`parse_layers` reads it.
      num_layers: how many there are.

    Example:
      >>> heads_by_layer("quadratic:2,identity:2", "2", num_layers=2)
      ('identity', 'quadratic:2,identity:2')
    """
    chosen = parse_layers(spec, num_layers=num_layers)
    return tuple(heads if layer in chosen else "identity" for layer in range(num_layers))
