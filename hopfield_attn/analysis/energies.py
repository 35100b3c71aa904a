"""Energies of the non-linear heads of a trained encoder, step by step."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from hopfield_attn.models.encoder import Encoder, EncoderLayer
from hopfield_attn.typing import Array


class HeadEnergies(NamedTuple):
    """The descent of one head, averaged over the examples.

    Attributes:
      layer: index of the layer.
      head: index of the head in the layer.
      family: its non-linearity.
      alpha: its strength α.
      energies: mean energy at steps 0, …, T, in nats/β.
      residuals: mean ‖∇E‖ at steps 0, …, T.
      status: worst status of the examples, see ``hopfield_attn.solvers.descent.STATUS_NAMES``.
    """

    layer: int
    head: int
    family: str
    alpha: float
    energies: np.ndarray
    residuals: np.ndarray
    status: int


def attention_inputs(
    encoder: Encoder, tokens: Array, mask: Array | None = None, token_types: Array | None = None
) -> Iterator[tuple[EncoderLayer, Array]]:
    """Every layer with what its attention sees, (b, n, width); arguments as of the encoder."""
    x = encoder.embed(tokens, token_types)
    for layer in encoder.layers:
        yield layer, layer.attention_input(x)
        x = layer(x, mask)


def head_energies(
    encoder: Encoder, tokens: Array, mask: Array | None = None, token_types: Array | None = None
) -> list[HeadEnergies]:
    """Runs the encoder on a batch and follows the energy of every non-linear head.

    Args:
      encoder: the encoder.
      tokens: (b, n) ids.
      mask: (b, n), True for real tokens.
      token_types: (b, n) ids.

    Returns:
      One entry a non-linear head, in the order of layers and heads; empty for a linear encoder.
    """
    found = []
    for index, (layer, inputs) in enumerate(attention_inputs(encoder, tokens, mask, token_types)):
        for group, descent in layer.attention.descents(inputs, mask=mask):
            energies, residuals = (
                np.asarray(a).mean(axis=0) for a in (descent.energies, descent.grad_norms)
            )
            worst = np.asarray(descent.status).max(axis=0)
            for k, head in enumerate(range(group.start, group.stop)):
                alpha = float(layer.attention.alpha[head])
                found.append(
                    HeadEnergies(
                        index,
                        head,
                        group.family,
                        alpha,
                        energies[k],
                        residuals[k],
                        int(worst[k]),
                    )
                )
    return found


def as_rows(found: list[HeadEnergies]) -> list[dict[str, Any]]:
    """The same as plain values, for a JSON file."""
    return [
        head._asdict() | {"energies": head.energies.tolist(), "residuals": head.residuals.tolist()}
        for head in found
    ]
