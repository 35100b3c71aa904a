"""A non-linear head as an attention matrix: W_t with x_t = W_t y at every step; its measures."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.analysis.diagnostics import diagnose_head
from hopfield_attn.checks import check_choice, check_rank, check_shape
from hopfield_attn.energies.attention import COUPLINGS
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.ops.arguments import check_arrays, check_options, weights_and_values
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import Array, Bool, Float, ScalarLike, Weights


class AttentionMeasures(NamedTuple):
    """What tells one attention matrix from another; rows of masked queries are 0 throughout.

    Attributes:
      entropy: of every row of |W|, scaled to sum to one, in nats, (n,): 0 looks at one token, log m
        at all alike.
      row_sums: Σ_j W_ij, (n,): 1 for plain attention. Above 1 the head amplifies, below it damps.
      negative: share of Σ|W| that is negative, a scalar: softmax has none.
      rank: numerical rank, singular values above max(n, m) · eps · the largest.
      stable_rank: ‖W‖_F² / ‖W‖₂², between 1 and the rank: how many directions carry weight.
      distance: ‖W − A‖_F / ‖A‖_F to plain attention.
    """

    entropy: Float[Array, "n"]
    row_sums: Float[Array, "n"]
    negative: Float[Array, ""]
    rank: Float[Array, ""]
    stable_rank: Float[Array, ""]
    distance: Float[Array, ""]


def effective_attention(
    query: Float[Array, "n dk"],
    key: Float[Array, "m dk"],
    value: Float[Array, "m dv"],
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike | str,
    num_steps: int,
    step_size: ScalarLike | str | None = None,
    gain: ScalarLike | None = None,
    query_mask: Bool[Array, "n"] | None = None,
    key_mask: Bool[Array, "m"] | None = None,
    is_causal: bool = False,
) -> Float[Array, "steps n m"]:
    """The matrices W_0 = A, …, W_T of one head, with x_t = W_t y.

    A step x ← x − η ∇E(x) is a step of the matrix (from M4a, M4b):

        W ← (1 − η(1+λ)) W + η A ⊙ (F'(s u) + λ),

    with u_j in column j (pooled: W_t = A diag(c_t) with c of (M6)), or u_ij = ⟨x_i, y_j⟩ (pairwise:
    with η = 1/(1+λ) the last matrix is A ⊙ (F'(s u) + λ)/(1+λ)).

    Args:
      query: q of one head of one example, (n, d_k).
      key: k, (m, d_k).
      value: y, (m, d_v).
      nonlinearity: F.
      coupling: "pooled" or "pairwise".
      lam: λ ≥ 0, or "auto".
      num_steps: T ≥ 0.
      step_size: η, "auto", or ``None`` for 1/(1+λ).
      gain: s; ``None`` is 1/d_v.
      query_mask: True for real queries.
      key_mask: True for real keys.
      is_causal: token i attends to tokens 0, …, i; not with the pooled coupling.

    Returns:
      (T+1, n, m); ``jit`` and ``vmap`` go over it.

    Raises:
      ValueError: for the elementwise coupling, whose output scales every feature of A y by a factor
        of its own, so that no matrix over tokens gives it; and as
        :func:`hopfield_attn.nonlinear_attention`.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> q = k = y = jnp.eye(2)
      >>> W = effective_attention(q, k, y, nonlinearity=nonlinearities.identity(),
      ...                         coupling="pooled", lam=1.0, num_steps=2)
      >>> W.shape, bool(jnp.allclose(W[2], W[0]))
      ((3, 2, 2), True)
    """
    check_choice("coupling", coupling, COUPLINGS)
    if coupling == "elementwise":
        raise ValueError(
            "coupling must be 'pooled' or 'pairwise'; got 'elementwise', whose output scales each "
            "feature of A y on its own: no matrix over tokens gives it"
        )
    check_rank(2, "length, width", query=query, key=key, value=value)
    # As a batch of one example and one head.
    arrays = [jnp.asarray(a)[None, :, None] for a in (query, key, value)]
    masks = [None if mask is None else jnp.asarray(mask)[None] for mask in (query_mask, key_mask)]
    check_arrays(*arrays, *masks)
    F = as_nonlinearity(nonlinearity)
    options: dict[str, Any] = {"coupling": coupling, "lam": lam, "gain": gain}
    options["step_size"] = step_size
    check_options(F, 1, **options, is_causal=is_causal)
    weights, values = weights_and_values(
        *arrays, query_mask=masks[0], key_mask=masks[1], is_causal=is_causal
    )

    names = tuple((name, chosen) for name, chosen in options.items() if isinstance(chosen, str))
    numbers = {name: chosen for name, chosen in options.items() if not isinstance(chosen, str)}
    return _matrices(weights[0, 0], values[0, 0], F, numbers, names=names, num_steps=num_steps)


@functools.partial(jax.jit, static_argnames=("names", "num_steps"))
def _matrices(
    A: Array,
    y: Array,
    F: Nonlinearity,
    numbers: dict[str, Any],
    *,
    names: tuple[tuple[str, str], ...],
    num_steps: int,
) -> Array:
    """The matrices of a head; compiled, what else a diagnosis computes is left out."""
    options = numbers | dict(names)
    found = diagnose_head(A, y, nonlinearity=F, num_steps=num_steps, num_eigenvalues=1, **options)
    return found.attention


def attention_measures(weights: Weights, plain: Weights) -> AttentionMeasures:
    """Measures of an attention matrix W beside plain attention A.

    Args:
      weights: W, (n, m), of any sign.
      plain: A, (n, m).

    Returns:
      :class:`AttentionMeasures`; ``jit`` and ``vmap`` go over it, never NaN for finite matrices.

    Raises:
      ValueError: if the shapes differ.

    Example:
      >>> A = jnp.array([[0.5, 0.5], [1.0, 0.0]])
      >>> found = attention_measures(2.0 * A, A)
      >>> found.entropy.round(3), found.row_sums, float(found.distance)
      (Array([0.693, 0.   ], dtype=float32), Array([2., 2.], dtype=float32), 1.0)
    """
    check_rank(2, "n, m", plain=plain)
    check_shape("weights", weights, jnp.shape(plain), "n, m")
    weights, plain = at_least_float32((jnp.asarray(weights), jnp.asarray(plain)))
    tiny = jnp.finfo(weights.dtype).tiny
    size = jnp.abs(weights)
    total = jnp.sum(size, axis=1, keepdims=True)
    share = size / jnp.where(total > 0, total, 1.0)
    singular = jnp.linalg.svd(weights, compute_uv=False)
    threshold = max(weights.shape) * jnp.finfo(weights.dtype).eps * singular[0]
    return AttentionMeasures(
        entropy=jnp.sum(jax.scipy.special.entr(share), axis=1),
        row_sums=jnp.sum(weights, axis=1),
        negative=jnp.sum(jnp.maximum(-weights, 0.0)) / jnp.maximum(jnp.sum(size), tiny),
        rank=jnp.sum(singular > threshold).astype(weights.dtype),
        stable_rank=jnp.sum((singular / jnp.maximum(singular[0], tiny)) ** 2),
        distance=jnp.linalg.norm(weights - plain) / jnp.maximum(jnp.linalg.norm(plain), tiny),
    )
