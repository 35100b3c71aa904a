"""What the non-linear heads of every layer do with every example: pure, for ``jax.jit``."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from hopfield_attn.analysis.energies import attention_inputs
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.nn.energy_attention import EnergyAttention
from hopfield_attn.solvers.descent import NON_FINITE
from hopfield_attn.typing import Array, Bool, Float

RESIDUAL_TOLERANCE = 1e-3
"""A head has converged if ‖∇E(x_T)‖ ≤ this · max(1, ‖x_T‖), as in the head diagnostics."""


class LayerEnergies(NamedTuple):
    """The descents of the h non-linear heads of a layer, each example by itself.

    Attributes:
      drop: E(x₀) − E(x_T), in nats/β.
      distance: ‖x_T − A y‖ / ‖A y‖, the distance to plain attention.
      is_converged: whether the residual is within :data:`RESIDUAL_TOLERANCE`.
      is_finite: whether every energy and gradient on the way is finite, and the figures above.
      alpha: strengths α, one a head that has one.
      spline: values at the knots, one row a spline head.
    """

    drop: Float[Array, "b h"]
    distance: Float[Array, "b h"]
    is_converged: Bool[Array, "b h"]
    is_finite: Bool[Array, "b h"]
    alpha: Float[Array, "strengths"]
    spline: Float[Array, "splines K"]


def layer_energies(
    encoder: Encoder, tokens: Array, mask: Array | None = None, token_types: Array | None = None
) -> dict[int, LayerEnergies]:
    """Runs the encoder on a batch and follows the non-linear heads of every layer.

    Args:
      encoder: the encoder.
      tokens: (b, n) ids.
      mask: (b, n), True for real tokens.
      token_types: (b, n) ids.

    Returns:
      Index of a layer → :class:`LayerEnergies`; only layers that have non-linear heads.
    """
    found = {}
    for index, (layer, inputs) in enumerate(attention_inputs(encoder, tokens, mask, token_types)):
        if any(group.family != "identity" for group in layer.attention.groups):
            found[index] = _follow(layer.attention, inputs, mask)
    return found


def _follow(attention: EnergyAttention, inputs: Array, mask: Array | None) -> LayerEnergies:
    problems = {p.group: p for p in attention.problems(inputs, mask=mask)}
    columns: dict[str, list[Array]] = {}
    for group, descent in attention.descents(inputs, mask=mask):
        problem = problems[group]
        plain = problem.weights @ problem.values
        size = jnp.maximum(_norms(plain), jnp.finfo(plain.dtype).tiny)
        limit = RESIDUAL_TOLERANCE * jnp.maximum(1.0, _norms(descent.x))
        drop = descent.energies[..., 0] - descent.energies[..., -1]
        distance = _norms(descent.x - plain) / size
        figures = {
            "drop": drop,
            "distance": distance,
            "is_converged": descent.grad_norms[..., -1] <= limit,
            "is_finite": (descent.status != NON_FINITE) & jnp.isfinite(drop + distance),
        }
        for name, values in figures.items():
            columns.setdefault(name, []).append(values)
    joined: Any = {name: jnp.concatenate(parts, axis=1) for name, parts in columns.items()}
    return LayerEnergies(**joined, **_strengths(attention))


def _strengths(attention: EnergyAttention) -> dict[str, Array]:
    shapes = [attention.nonlinearity(group) for group in attention.groups]
    alphas = [F.alpha for F in shapes if F.alpha is not None]
    splines = [F.values for F in shapes if F.values is not None]
    return {
        "alpha": jnp.concatenate(alphas) if alphas else jnp.zeros(0),
        "spline": jnp.concatenate(splines) if splines else jnp.zeros((0, 1)),
    }


def _norms(x: Float[Array, "b h n d"]) -> Float[Array, "b h"]:
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=(-2, -1)))
