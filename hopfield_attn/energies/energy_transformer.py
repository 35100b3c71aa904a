"""The energy of an Energy Transformer block: attention and Hopfield energies of all tokens."""

from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_at_least, check_floating, check_rank, check_shape
from hopfield_attn.energies.entmax import SOFTMAX, tsallis_conjugate
from hopfield_attn.typing import Array, Bool, Float, Scalar, ScalarLike


def layer_norm_lagrangian(
    x: Float[Array, "*tokens width"],
    scale: ScalarLike,
    bias: Float[Array, " width"],
    epsilon: ScalarLike,
) -> Scalar:
    """The Lagrangian of layer normalisation: its gradient is the layer norm of each token.

    L(x) = Σ_tokens D γ √(var(x) + ε) + ⟨δ, x⟩,   ∂L/∂x = γ (x − mean)/√(var + ε) + δ.

    L is convex because γ > 0, so its Hessian, which multiplies −∂E/∂g in the time derivative of
    the energy, is positive semi-definite: the energy falls.

    Args:
      x: tokens, shape (..., D).
      scale: γ > 0, a scalar: with one number a feature there would be no Lagrangian.
      bias: δ, shape (D,).
      epsilon: ε ≥ 0.

    Returns:
      L, a scalar, summed over the tokens; float32 at least.

    Raises:
      TypeError: if an array is not floating-point.
      ValueError: if the scale is no positive scalar, the bias does not fit, or ε < 0.

    Example:
      >>> x = jnp.array([3.0, 5.0])
      >>> jax.grad(layer_norm_lagrangian)(x, 2.0, jnp.array([1.0, 0.0]), 0.0)
      Array([-1.,  2.], dtype=float32)

    Reference:
      B. Hoover et al., *Energy Transformer*, NeurIPS 2023, equation (2).
    """
    check_floating(x=x, bias=bias)
    if jnp.ndim(x) < 1:
        raise ValueError("x must have shape (..., D); got shape ()")
    if jnp.ndim(scale) != 0:
        raise ValueError(f"scale must be a scalar; got shape {jnp.shape(scale)}")
    width = x.shape[-1]
    check_shape("bias", bias, (width,), "D")
    check_at_least(0, exclusive=True, scale=scale)
    check_at_least(0, epsilon=epsilon)
    dtype = jnp.promote_types(jnp.result_type(x, bias), jnp.float32)
    x, bias, scale = x.astype(dtype), bias.astype(dtype), jnp.asarray(scale, dtype)
    deviation = jnp.sqrt(jnp.var(x, axis=-1) + jnp.asarray(epsilon, dtype))
    return width * scale * jnp.sum(deviation) + jnp.sum(x @ bias)


def energy_transformer_energy(
    g: Float[Array, "n width"],
    query_projection: Float[Array, "h dk width"],
    key_projection: Float[Array, "h dk width"],
    memories: Float[Array, "m width"],
    *,
    beta: ScalarLike | Float[Array, " h"],
    mask: Bool[Array, " n"] | None = None,
    include_self: bool = False,
) -> Scalar:
    """Energy of the normalised tokens of one example, as keys and as queries.

    E(g) = −Σ_h (1/β_h) Σ_C log Σ_{B≠C} exp(β_h ⟨K_hB, Q_hC⟩) − ½ Σ_B Σ_μ relu(⟨ξ_μ, g_B⟩)²

    with Q_hB = W^Q_h g_B and K_hB = W^K_h g_B. Tokens move as the keys of the others as well as as
    queries, which attention alone has not. The second term is the Hopfield block.

    Args:
      g: normalised tokens, shape (n, D): the gradient of :func:`layer_norm_lagrangian`.
      query_projection: W^Q, shape (h, d_k, D).
      key_projection: W^K, shape (h, d_k, D).
      memories: ξ, one a row, shape (m, D).
      beta: β > 0, a scalar or one number a head, shape (h,); 1/√d_k is usual.
      mask: (n,) bool, True for real tokens; the others have no part in any sum.
      include_self: let a token attend to itself (B = C).

    Returns:
      E, a scalar, float32 at least. The attention energy of a token with nothing to attend to is 0.

    Raises:
      TypeError: if an array is not floating-point or the mask not boolean.
      ValueError: for shapes that do not fit, or β ≤ 0.

    Example:
      >>> g, projection = jnp.eye(2), jnp.eye(2)[None]
      >>> float(energy_transformer_energy(g, projection, projection, jnp.eye(2), beta=1.0))
      -1.0

    Reference:
      B. Hoover et al., *Energy Transformer*, NeurIPS 2023, equations (4) and (5).
    """
    _check_arguments(g, query_projection, key_projection, memories, beta=beta, mask=mask)
    arrays = g, query_projection, key_projection, memories
    dtype = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    g, query_projection, key_projection, memories = (a.astype(dtype) for a in arrays)
    keep = jnp.ones(g.shape[:1], bool) if mask is None else mask
    # A padded token may hold anything, NaN included.
    g = jnp.where(keep[:, None], g, 0.0)
    beta = jnp.broadcast_to(jnp.asarray(beta, dtype), query_projection.shape[:1])
    logits = _attention_logits(g, query_projection, key_projection, beta)
    pairs = keep[:, None] & keep[None, :]
    if not include_self:
        pairs = pairs & ~jnp.eye(g.shape[0], dtype=bool)
    attention = tsallis_conjugate(logits, SOFTMAX, where=jnp.broadcast_to(pairs, logits.shape))
    hopfield = 0.5 * jnp.sum(jnp.square(jax.nn.relu(g @ memories.T)))
    return -jnp.sum(attention / beta[:, None]) - hopfield


def _attention_logits(
    g: Array, query_projection: Array, key_projection: Array, beta: Array
) -> Float[Array, "h n n"]:
    """β_h ⟨K_hB, Q_hC⟩ at [h, C, B]: queries C in rows, keys B in columns."""
    queries = jnp.einsum("nw,hdw->hnd", g, query_projection) * beta[:, None, None]
    keys = jnp.einsum("nw,hdw->hnd", g, key_projection)
    return jnp.einsum("hcd,hbd->hcb", queries, keys)


def _check_arguments(
    g: Any, query_projection: Any, key_projection: Any, memories: Any, *, beta: Any, mask: Any
) -> None:
    projections = {"query_projection": query_projection, "key_projection": key_projection}
    check_floating(g=g, memories=memories, **projections)
    check_rank(2, "n, D", g=g)
    check_rank(3, "h, d_k, D", **projections)
    check_rank(2, "m, D", memories=memories)
    (n, width), (h, dk, _) = g.shape, query_projection.shape
    check_shape("query_projection", query_projection, (h, dk, width), "h, d_k, D as in g")
    check_shape("key_projection", key_projection, (h, dk, width), "h, d_k, D as in g")
    check_shape("memories", memories, (memories.shape[0], width), "m, D as in g")
    check_at_least(0, exclusive=True, beta=beta)
    if jnp.shape(beta) not in ((), (h,)):
        raise ValueError(f"beta must be a scalar or have shape ({h},); got {jnp.shape(beta)}")
    if mask is not None:
        if jnp.result_type(mask) != jnp.bool_:
            raise TypeError(f"mask must be boolean (True: real token); got {mask.dtype}")
        check_shape("mask", mask, (n,), "n")
