"""One door to non-linear attention, shaped like ``jax.nn.dot_product_attention``."""

from collections.abc import Callable
from typing import Any

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.ops.arguments import check_arrays, check_options
from hopfield_attn.ops.autodiff import AttentionDescent, autodiff, autodiff_descent
from hopfield_attn.ops.blockwise import blockwise
from hopfield_attn.ops.cost_model import choose_implementation
from hopfield_attn.ops.dual import dual
from hopfield_attn.ops.kernels.implementation import kernels
from hopfield_attn.ops.primal import primal
from hopfield_attn.ops.problem import Call, DescentOptions, Implementation, per_head
from hopfield_attn.ops.remat import remat
from hopfield_attn.ops.standard import standard
from hopfield_attn.ops.weights import zero_masked
from hopfield_attn.solvers.gradient_modes import GradientMode, as_gradient_mode
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedOutput,
    BatchedQuery,
    BatchedValue,
    KeyMask,
    QueryMask,
    ScalarLike,
)

IMPLEMENTATIONS: dict[str, Implementation] = {
    "autodiff": per_head(autodiff),
    "standard": standard,
    "primal": per_head(primal),
    "dual": per_head(dual),
    "remat": per_head(remat),
    "blockwise": per_head(blockwise),
    "kernels": per_head(kernels),
}
"""Implementation name → the function that computes a call."""


def nonlinear_attention(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str = "pooled",
    lam: ScalarLike | str,
    num_steps: int,
    step_size: ScalarLike | str | None = None,
    gain: ScalarLike | None = None,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
    gradient_mode: str | GradientMode = "unrolled",
    implementation: str | None = None,
) -> BatchedOutput:
    """Non-linear attention: T gradient steps on the attention energy, from x₀ = A y.

    x ← x − η ∇_x E(x, y),  E(x, y) = −Φ_F(x, y) + ½‖x‖² + (λ/2)‖x − A y‖²  (M1),
    A = softmax(q kᵀ/√d_k + mask), y = value. With F(u) = u it is Vaswani attention for every T.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k); m may differ from n (cross-attention).
      value: (b, m, h, d_v).
      nonlinearity: F: a family of :mod:`hopfield_attn.nonlinearities` with α a scalar or one number
        a head, shape (h,), or any scalar JAX function.
      coupling: where F sits: "pooled" (u_j = Σ_i A_ij ⟨x_i, y_j⟩, the paper's), "pairwise" or
        "elementwise"; see :func:`hopfield_attn.attention_energy`.
      lam: λ ≥ 0, how strongly the output is tied to plain attention; "auto" is, for every head of
        every example, the smallest λ that certifies convexity.
      num_steps: T ≥ 0; 0 is plain attention for every F.
      step_size: η > 0; ``None`` is 1/(1+λ), with which one step of an identity head lands on A y
        from any start; "auto" is the certified step, at which the energy cannot rise.
        What "auto" chose is in :func:`attention_descent`'s ``lam`` and ``step_size``, and is a
        constant for derivatives.
      gain: s > 0, the scale of u; ``None`` is 1/d_v.
      query_mask: (b, n) bool, True for real tokens. A masked query gives zero output and takes no
        part in the pooled sums.
      key_mask: (b, m) bool, True for real tokens.
      is_causal: query i sees keys 0, …, i. Not with the pooled coupling.
      dropout_rate: attention dropout, drawn once before iterating; needs ``dropout_key``.
      dropout_key: PRNG key of the dropout.
      gradient_mode: how the output is differentiated, see :func:`hopfield_attn.descend`.
      implementation: "autodiff" (``jax.grad`` of the energy in a scan, any order of derivative),
        "standard" (linear F: one attention), "primal" (A kept), "dual" (G kept; pooled), "remat" (A
        kept forward only; pooled), "blockwise" (A never stored) or "kernels" (Pallas, for TPU and
        GPU; on a CPU an interpreter runs them, slowly). All compute the same;
        ``None`` picks, see :mod:`hopfield_attn.ops.cost_model`. Those with a reverse pass by hand
        have no forward-mode derivatives: "autodiff" has, and so has "primal" unless it is pooled.

    Returns:
      (b, n, h, d_v) in the dtype of ``query``; bfloat16 and float16 are computed in float32.

    Raises:
      TypeError: for arrays that are not floating-point, masks that are not boolean, counts that
        are not ints.
      ValueError: for shapes that do not fit, unknown names, numbers out of range, and for the
        pooled coupling with ``is_causal``.

    Example:
      >>> import jax
      >>> from hopfield_attn import nonlinearities
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> nonlinear_attention(
      ...     q, k, v, nonlinearity=nonlinearities.quadratic(0.3), lam=1.0, num_steps=3).shape
      (2, 16, 4, 8)

    Reference:
      A. Farooq, arXiv:2506.11043.
    """
    call, options = _prepare(
        Call(query, key, value, as_nonlinearity(nonlinearity), query_mask, key_mask, dropout_key),
        coupling=coupling,
        lam=lam,
        num_steps=num_steps,
        step_size=step_size,
        gain=gain,
        is_causal=is_causal,
        dropout_rate=dropout_rate,
        gradient_mode=gradient_mode,
    )
    if implementation is None:
        implementation = choose_implementation(call, options)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    x = IMPLEMENTATIONS[implementation](call, options).astype(query.dtype)
    # Where an energy diverges, a masked query would have 0 · inf.
    return zero_masked(x, query_mask)


def attention_descent(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str = "pooled",
    lam: ScalarLike | str,
    num_steps: int,
    step_size: ScalarLike | str | None = None,
    gain: ScalarLike | None = None,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
    gradient_mode: str | GradientMode = "unrolled",
) -> AttentionDescent:
    """:func:`nonlinear_attention` with its whole trajectory: energies, residuals, status.

    Arguments and errors are those of :func:`nonlinear_attention`; energies and residuals are of the
    energy itself, so the implementation is always ``jax.grad``.

    Returns:
      An :class:`hopfield_attn.AttentionDescent`, with leading axes (b, h): ``x`` is (b, h, n, d_v)
      in float32 at least, ``energies`` and ``grad_norms`` are (b, h, T+1), ``status``, ``lam`` and
      ``step_size`` (b, h).

    Example:
      >>> import jax
      >>> from hopfield_attn import nonlinearities
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> attention_descent(
      ...     q, k, v, nonlinearity=nonlinearities.log_cosh(0.5), lam=1.0, num_steps=3
      ... ).energies.shape
      (2, 4, 4)
    """
    call, options = _prepare(
        Call(query, key, value, as_nonlinearity(nonlinearity), query_mask, key_mask, dropout_key),
        coupling=coupling,
        lam=lam,
        num_steps=num_steps,
        step_size=step_size,
        gain=gain,
        is_causal=is_causal,
        dropout_rate=dropout_rate,
        gradient_mode=gradient_mode,
    )
    return autodiff_descent(call, options)


def _prepare(call: Call, **options: Any) -> tuple[Call, DescentOptions]:
    """The call and its options, once they are known to fit."""
    check_arrays(call.query, call.key, call.value, call.query_mask, call.key_mask)
    options["gradient_mode"] = as_gradient_mode(options["gradient_mode"])
    made = DescentOptions(**options)
    check_count(0, num_steps=made.num_steps)
    check_options(
        call.nonlinearity,
        call.query.shape[2],
        coupling=made.coupling,
        lam=made.lam,
        step_size=made.step_size,
        gain=made.gain,
        is_causal=made.is_causal,
    )
    return call, made
