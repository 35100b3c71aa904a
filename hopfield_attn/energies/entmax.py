"""Entmax, the sparse generalisation of softmax, and its potential, the Tsallis conjugate."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_at_least, check_floating
from hopfield_attn.typing import Array, Bool, Float

SOFTMAX = 1.0
ENTMAX15 = 1.5
SPARSEMAX = 2.0
"""The α with an exact solution; every other α is found by bisection."""


def entmax(
    z: Float[Array, "... m"], alpha: float, *, where: Bool[Array, "... m"] | None = None
) -> Float[Array, "... m"]:
    """α-entmax over the last axis: probabilities that are exactly zero for small logits.

    p = argmax_{p ∈ Δ} ⟨p, z⟩ + H_α(p) = relu((α−1) z − τ)^{1/(α−1)}, with τ such that Σp = 1;
    α = 1 is softmax, α = 2 sparsemax. 1.5 and 2 are solved exactly by sorting, any other α by
    bisection to machine precision. Derivatives of every order are exact:

        dp = (diag(s) − s sᵀ/Σs) dz,   s = p^{2−α} on the support, 0 elsewhere.

    Args:
      z: logits, shape (..., m).
      alpha: α ≥ 1, a Python number (static under ``jax.jit``).
      where: bool, broadcasts to z's shape; False entries get probability 0 and whatever is in
        z there is never read. A row without any True is all zeros and has zero gradient.

    Returns:
      p of z's shape, float32 at least: bfloat16 and float16 logits are computed there.

    Raises:
      TypeError: if z is not floating-point, ``where`` not boolean or α not a Python number.
      ValueError: if α < 1, or ``where`` does not broadcast to z's shape.

    Example:
      >>> entmax(jnp.array([1.0, 0.5, -1.0]), 2.0)
      Array([0.75, 0.25, 0.  ], dtype=float32)

    Reference:
      B. Peters, V. Niculae, A. F. T. Martins, *Sparse Sequence-to-Sequence Models*, ACL 2019.
    """
    z, mask = _prepare(z, alpha, where)
    return _entmax(z, mask, float(alpha))


def tsallis_conjugate(
    z: Float[Array, "... m"], alpha: float, *, where: Bool[Array, "... m"] | None = None
) -> Float[Array, "..."]:
    """The convex conjugate of the negative Tsallis entropy, whose gradient is α-entmax.

    Ω*_α(z) = max_{p ∈ Δ} ⟨p, z⟩ + H_α(p),  H_α(p) = Σ(p − p^α)/(α(α−1)),  H_1 = −Σ p log p;
    so Ω*_1 is log-sum-exp. dΩ*_α = ⟨entmax_α(z), dz⟩.

    Args:
      z: logits, shape (..., m).
      alpha: α ≥ 1, a Python number (static under ``jax.jit``).
      where: as in :func:`entmax`. A row without any True has value 0 and zero gradient.

    Returns:
      Ω*_α in nats (for α = 1), shape (...), float32 at least.

    Raises:
      TypeError: as :func:`entmax`.
      ValueError: as :func:`entmax`.

    Example:
      >>> z = jnp.array([1.0, 0.5, -1.0])
      >>> float(tsallis_conjugate(z, 2.0))
      1.0625
      >>> jax.grad(tsallis_conjugate)(z, 2.0)
      Array([0.75, 0.25, 0.  ], dtype=float32)

    Reference:
      M. Blondel, A. F. T. Martins, V. Niculae, *Learning with Fenchel–Young Losses*, JMLR 2020.
    """
    z, mask = _prepare(z, alpha, where)
    return _conjugate(z, mask, float(alpha))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _entmax(z: Array, mask: Array, alpha: float) -> Array:
    if alpha == SOFTMAX:
        return jax.nn.softmax(z, axis=-1, where=mask)
    # In units where Σ relu(x − τ)^{1/(α−1)} = 1 the threshold is at least max(x) − 1: what lies
    # lower is outside the support, so it may be moved to −1 and nothing is large.
    shifted = (alpha - 1.0) * (z - _largest(z, mask))
    x = jnp.where(mask, jnp.clip(shifted, -1.0, 0.0), -1.0)
    p = {ENTMAX15: _entmax15, SPARSEMAX: _sparsemax}.get(
        alpha, functools.partial(_entmax_bisect, alpha=alpha)
    )(x)
    return jnp.where(mask, p, 0.0)


@_entmax.defjvp
def _entmax_jvp(alpha: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    z, mask = primals
    p = _entmax(z, mask, alpha)
    support = p > 0
    s = jnp.where(support, jnp.where(support, p, 1.0) ** (2.0 - alpha), 0.0)
    total = jnp.sum(s, axis=-1, keepdims=True)
    # A masked logit may have any tangent, NaN included.
    weighted = s * jnp.where(support, tangents[0], 0.0)
    mean = jnp.sum(weighted, axis=-1, keepdims=True) / jnp.where(total > 0, total, 1.0)
    return p, weighted - s * mean


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _conjugate(z: Array, mask: Array, alpha: float) -> Array:
    largest = _largest(z, mask)
    shifted = jnp.where(mask, z - largest, 0.0)
    if alpha == SOFTMAX:
        total = jnp.sum(jnp.where(mask, jnp.exp(shifted), 0.0), axis=-1)
        return largest[..., 0] + jnp.log(jnp.where(total > 0, total, 1.0))
    p = _entmax(z, mask, alpha)
    # p − p^α = −p expm1((α−1) log p): no cancellation as α → 1.
    log_p = jnp.log(jnp.where(p > 0, p, 1.0))
    entropy = -p * jnp.expm1((alpha - 1.0) * log_p) / (alpha * (alpha - 1.0))
    return largest[..., 0] + jnp.sum(p * shifted + entropy, axis=-1)


@_conjugate.defjvp
def _conjugate_jvp(alpha: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    z, mask = primals
    dz = jnp.where(mask, tangents[0], 0.0)
    return _conjugate(z, mask, alpha), jnp.sum(_entmax(z, mask, alpha) * dz, axis=-1)


def _largest(z: Array, mask: Array) -> Array:
    """The largest unmasked logit of each row, (..., 1); 0 in a fully masked row."""
    largest = jnp.max(z, axis=-1, keepdims=True, initial=-jnp.inf, where=mask)
    return jnp.where(jnp.any(mask, axis=-1, keepdims=True), largest, 0.0)


def _sparsemax(x: Array) -> Array:
    """Projection on the simplex, for x in [−1, 0] with maximum 0."""
    ordered = jnp.sort(x, axis=-1, descending=True)
    rank = _ranks(x)
    excess = jnp.cumsum(ordered, axis=-1) - 1.0
    size = jnp.sum(rank * ordered > excess, axis=-1, keepdims=True)
    threshold = _take(excess, size) / size
    return jax.nn.relu(x - threshold)


def _entmax15(x: Array) -> Array:
    """relu(x − τ)² of sum 1, for x in [−1, 0] with maximum 0."""
    ordered = jnp.sort(x, axis=-1, descending=True)
    rank = _ranks(x)
    mean = jnp.cumsum(ordered, axis=-1) / rank
    mean_square = jnp.cumsum(ordered * ordered, axis=-1) / rank
    spread = 1.0 / rank - (mean_square - mean * mean)
    thresholds = mean - jnp.sqrt(jax.nn.relu(spread))
    size = jnp.sum(thresholds <= ordered, axis=-1, keepdims=True)
    return jnp.square(jax.nn.relu(x - _take(thresholds, size)))


def _entmax_bisect(x: Array, *, alpha: float) -> Array:
    """relu(x − τ)^{1/(α−1)} of sum 1, for x in [−1, 0] with maximum 0.

    Searched is t = τ + 1 ≥ 0, and the power is exp(log1p(x − t)/(α−1)): so nothing is lost as
    α → 1, where x and t go to 0.
    """

    def probabilities(t: Array) -> Array:
        inside = x - t > -1.0
        return jnp.where(inside, jnp.exp(jnp.log1p(jnp.where(inside, x - t, 0.0)) / (alpha - 1)), 0)

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, width = bracket
        middle = low + 0.5 * width
        too_much = jnp.sum(probabilities(middle), axis=-1, keepdims=True) >= 1.0
        return jnp.where(too_much, middle, low), 0.5 * width

    num_halvings = jnp.finfo(x.dtype).nmant + 3
    low = jnp.zeros_like(x[..., :1])
    width = low - jnp.expm1((1.0 - alpha) * jnp.log(x.shape[-1]).astype(x.dtype))
    low, _ = jax.lax.fori_loop(0, num_halvings, halve, (low, width))
    p = probabilities(low)
    return p / jnp.sum(p, axis=-1, keepdims=True)


def _ranks(x: Array) -> Array:
    """1, …, m along the last axis, with x's rank and dtype."""
    return jnp.broadcast_to(jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype), x.shape)


def _take(x: Array, size: Array) -> Array:
    return jnp.take_along_axis(x, size - 1, axis=-1)


def _prepare(z: Any, alpha: Any, where: Any) -> tuple[Array, Array]:
    """Checks the arguments; returns z in float32 at least and a mask of its shape."""
    check_floating(z=z)
    check_alpha(alpha)
    shape = jnp.shape(z)
    if not shape:
        raise ValueError("z must have at least one axis, shape (..., m); got shape ()")
    if where is None:
        where = jnp.ones(shape, bool)
    if jnp.result_type(where) != jnp.bool_:
        raise TypeError(f"where must be boolean; got dtype {jnp.result_type(where)}")
    trailing = shape[len(shape) - jnp.ndim(where) :]
    if len(trailing) != jnp.ndim(where) or any(
        size not in (1, full) for size, full in zip(jnp.shape(where), trailing, strict=True)
    ):
        raise ValueError(f"where must broadcast to z's shape {shape}; got shape {where.shape}")
    z = jnp.asarray(z, jnp.promote_types(jnp.result_type(z), jnp.float32))
    return z, jnp.broadcast_to(where, shape)


def check_alpha(alpha: Any) -> None:
    """Raises unless α is a Python number of at least 1."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(
            "alpha must be a Python number, because it decides the algorithm (static under "
            f"jax.jit); got {type(alpha).__name__}"
        )
    check_at_least(1, alpha=alpha)
