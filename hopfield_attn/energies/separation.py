"""How sharp the modern Hopfield energy has to be for its memories to be well separated."""

from typing import Any

import jax.numpy as jnp

from hopfield_attn.checks import check_floating
from hopfield_attn.typing import Array, Bool, Float

MAX_SEPARATION = 1e4
"""The largest β M² of :func:`separating_beta`, M the largest norm: patterns may coincide."""

_NUM_NEWTON_STEPS = 6
"""One more than float64 needs from the start used, whatever the patterns."""


def separating_beta(
    memories: Float[Array, "*#batch m d"], *, mask: Bool[Array, "*#batch m"] | None = None
) -> Float[Array, "*batch"]:
    """The smallest β from which on the memories are well separated.

    With Δ_i = min_{j≠i} ⟨k_i, k_i − k_j⟩, M = max_i ‖k_i‖ and N patterns, pattern i is well
    separated if

        Δ_i ≥ 2/(βN) + log(2(N−1)NβM²)/β,

    and retrieval then maps a ball around k_i into itself. For β → 0 the logarithm is negative and
    the inequality says nothing; so β is its larger root for the smallest Δ_i: u = βΔ ≥ 1 with
    u − log u = 2/N + log(2(N−1)NM²/Δ), by Newton's method.

    Args:
      memories: (..., m, d).
      mask: (..., m) bool, True for the memories that take part.

    Returns:
      β, shape (...), float32 at least; scaling the memories by c scales it by 1/c². At most
      :data:`MAX_SEPARATION` / M², which it is where patterns coincide or a Δ_i ≤ 0; 1/M² (1 for
      M = 0) with fewer than two patterns.

    Raises:
      TypeError: if the memories are not floating-point or the mask is not boolean.
      ValueError: if the shapes do not fit.

    Example:
      >>> round(float(separating_beta(jnp.eye(8))), 2)
      6.9

    Reference:
      H. Ramsauer et al., *Hopfield Networks is All You Need*, ICLR 2021, Theorem 4.
    """
    memories, keep = _prepare(memories, mask)
    gap, square_norm, count = _separation(memories, keep)
    # Everything in units of M². No Δ exceeds 2M²; the lower bound keeps 1/Δ finite.
    ratio = square_norm / jnp.clip(gap, square_norm / MAX_SEPARATION, 2 * square_norm)
    pairs = jnp.maximum(count, 2.0)
    target = 2 / pairs + jnp.log(2 * (pairs - 1) * pairs * ratio)
    u = 2 * target + 2  # right of the root of a convex function: Newton never overshoots
    for _ in range(_NUM_NEWTON_STEPS):
        u = u - (u - jnp.log(u) - target) * u / (u - 1)
    scaled = jnp.where(gap > 0, jnp.minimum(u * ratio, MAX_SEPARATION), MAX_SEPARATION)
    return jnp.where(count < 2, 1.0, scaled) / square_norm


def _separation(memories: Array, keep: Array) -> tuple[Array, Array, Array]:
    """Returns min_i Δ_i, M² (1 where it is 0) and N, each of shape (...)."""
    similarities = jnp.einsum("...id,...jd->...ij", memories, memories)
    square_norms = jnp.sum(jnp.square(memories), axis=-1)
    others = jnp.broadcast_to(~jnp.eye(keep.shape[-1], dtype=bool), similarities.shape)
    pairs = others & keep[..., :, None] & keep[..., None, :]
    gaps = square_norms[..., :, None] - similarities
    gap = jnp.min(gaps, axis=(-2, -1), initial=jnp.inf, where=pairs)
    largest = jnp.max(square_norms, axis=-1, initial=0.0)
    count = jnp.sum(keep, axis=-1).astype(memories.dtype)
    return gap, jnp.where(largest > 0, largest, 1.0), count


def _prepare(memories: Any, mask: Any) -> tuple[Array, Array]:
    """Checks the arguments; returns the memories, zero where masked, and a mask of their shape."""
    check_floating(memories=memories)
    if jnp.ndim(memories) < 2:
        raise ValueError(f"memories must have shape (..., m, d); got shape {jnp.shape(memories)}")
    m = memories.shape[-2]
    if mask is None:
        mask = jnp.ones((m,), bool)
    if jnp.result_type(mask) != jnp.bool_:
        raise TypeError(f"mask must be boolean (True: takes part); got {jnp.result_type(mask)}")
    if jnp.ndim(mask) < 1 or mask.shape[-1] != m:
        raise ValueError(f"mask must have shape (..., {m}); got shape {jnp.shape(mask)}")
    batch = jnp.broadcast_shapes(memories.shape[:-2], mask.shape[:-1])
    memories = memories.astype(jnp.promote_types(memories.dtype, jnp.float32))
    keep = jnp.broadcast_to(mask, (*batch, m))
    memories = jnp.broadcast_to(memories, (*batch, *memories.shape[-2:]))
    return jnp.where(keep[..., None], memories, 0.0), keep
