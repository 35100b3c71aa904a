"""What can be said of a head before iterating: one well, perhaps several, or none at all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_at_least, check_choice, check_count
from hopfield_attn.energies.attention import COUPLINGS, check_head, default_gain
from hopfield_attn.energies.interaction import INTERACTIONS, has_cubic_interaction
from hopfield_attn.energies.nonlinearity import Nonlinearity, as_nonlinearity
from hopfield_attn.typing import Array, Bool, Int, Scalar, ScalarLike, State, Values, Weights

CONVEX = 0
COERCIVE = 1
UNBOUNDED = 2
REGIME_NAMES = ("convex", "coercive", "unbounded")
"""Meaning of ``Regime.status``: index → name."""

DEFAULT_MARGIN = 0.01
"""By how much "auto" λ clears the bound of convexity."""
_NUM_SAMPLES = 257
_NUM_ITERATIONS = 32


class Regime(NamedTuple):
    """The certificate of one head; every field is an array.

    Attributes:
      status: 0 convex: one well; 1 coercive: bounded below, several wells are possible; 2
        unbounded: no minimum is promised, finite T only. See :data:`REGIME_NAMES`.
      is_certified: whether that is proved; if not, it rests on power iteration or samples of F''.
        Of a coercive head it is proved that there is a minimum; whether there are several is open.
      contraction: factor in [0, 1) by which a step of ``step_size`` brings two states closer, where
        convex and certified; 1 elsewhere: none is promised.
      softening: upper bound on what F'' takes off 1 + λ in the Hessian; convex where it is smaller.
      softening_estimate: the same from below, by power iteration.
      stiffening: upper bound on what F'' adds to 1 + λ.
      interaction_bound: rigorous upper bound on what F'' is multiplied with: λ_max(G), pooled;
        max_i Σ_j A_ij ‖y_j‖², pairwise; max |A y|, elementwise. Without the gain s.
      interaction_estimate: the same from below.
      max_curvature: sup F'', as stated or as sampled.
      max_abs_curvature: sup |F''|.
      convex_lam: the smallest λ ≥ 0 that certifies convexity, with the margin.
      step_size: 1/(1 + λ + stiffening): descent with it never lets the energy rise. 0 where F'' has
        no lower bound: no step is certified.
    """

    status: Int[Array, ""]
    is_certified: Bool[Array, ""]
    contraction: Scalar
    softening: Scalar
    softening_estimate: Scalar
    stiffening: Scalar
    interaction_bound: Scalar
    interaction_estimate: Scalar
    max_curvature: Scalar
    max_abs_curvature: Scalar
    convex_lam: Scalar
    step_size: Scalar


def regime(
    y: Values,
    weights: Weights,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike | None = None,
    x: State | None = None,
    margin: float = DEFAULT_MARGIN,
    num_iterations: int = _NUM_ITERATIONS,
) -> Regime:
    """Decides, before iterating, whether the energy of a head is convex, coercive or unbounded.

    ∇²E = (1+λ) I − s Lᵀ diag(F''(s u)) L, L Lᵀ = G (M8, pooled). With λ_max(G), or what stands for
    it in the other couplings, bounded by :mod:`hopfield_attn.energies.interaction`, E is

    * convex    if s · sup F''₊ · λ_max < 1 + λ;
    * coercive  if not, and F grows linearly: the norm wins in the end;
    * unbounded otherwise.

    "unbounded" is certified for a quadratic F, whose F'' is constant, where power iteration has
    found a direction of negative curvature; for an F that is convex or concave and grows faster,
    where it interacts at all; and for a cubic F unless its cubes are seen to cancel.

    Args:
      y: values, (m, d_v).
      weights: A, (n, m).
      nonlinearity: F. Without a stated curvature bound F'' is sampled over the range of s·u at
        ``x``, widened threefold, and nothing is certified.
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0.
      gain: s > 0; ``None`` is 1/d_v.
      x: the state at which an F without bounds is sampled, (n, d_v); ``None`` is A y.
      margin: > 0, relative, for ``convex_lam``: 1 + λ = (1 + margin) · softening.
      num_iterations: power iterations.

    Returns:
      A :class:`Regime`. ``jit`` and ``vmap`` go over it.

    Raises:
      TypeError: if an array is not floating-point or F is not a function.
      ValueError: for shapes that do not fit, an F with one α a head, an unknown coupling, numbers
        out of range.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> A, y = jnp.array([[0.25, 0.75], [0.5, 0.5]]), 2.0 * jnp.eye(2)
      >>> for F in (nonlinearities.quadratic(0.25), nonlinearities.log_cosh(4.0),
      ...           nonlinearities.exp()):
      ...     found = regime(y, A, nonlinearity=F, coupling="pooled", lam=0.0, gain=1.0)
      ...     print(REGIME_NAMES[int(found.status)], bool(found.is_certified))
      convex True
      coercive True
      unbounded True
    """
    F = as_nonlinearity(nonlinearity)
    check_head(y, weights, coupling=coupling, lam=lam, gain=gain, x=x)
    check_at_least(0, exclusive=True, margin=margin)
    check_count(1, num_iterations=num_iterations)
    _check_one_head(F)
    y, weights = _promote(y, weights)
    s = default_gain(y.shape[-1]) if gain is None else gain
    bounds = INTERACTIONS[coupling](y, weights, num_iterations=num_iterations)
    if F.curvature_fn is None:
        low, high = _sampled_curvature(F, weights @ y if x is None else x, y, weights, coupling, s)
    else:
        low, high = (jnp.asarray(bound, y.dtype) for bound in F.curvature_range)
    up, down = jnp.maximum(high, 0.0), jnp.maximum(-low, 0.0)
    softening = s * jnp.maximum(_times(up, bounds.upper), _times(down, bounds.opposite))
    stiffening = s * jnp.maximum(_times(down, bounds.upper), _times(up, bounds.opposite))
    estimate = s * jnp.maximum(_times(up, bounds.lower), _times(down, bounds.opposite_lower))
    limit = 1.0 + jnp.asarray(lam, y.dtype)
    step_size = 1.0 / (limit + stiffening)
    status, is_certified = _decide(F, softening < limit, estimate > limit, low, high)
    if F.name == "cubic" and F.alpha is not None:
        is_certified |= (estimate > limit) & has_cubic_interaction(y, weights, coupling=coupling)
    # An F of which nothing is known does no harm where nothing interacts; a NaN proves nothing.
    is_certified |= (bounds.upper == 0) & (bounds.opposite == 0)
    is_certified &= ~jnp.isnan(softening + stiffening)
    is_safe = (status == CONVEX) & is_certified & jnp.isfinite(stiffening)
    return Regime(
        status=status,
        is_certified=is_certified,
        # 1 − η (1 + λ − softening), written so that rounding leaves it in [0, 1).
        contraction=jnp.where(is_safe, step_size * (stiffening + softening), 1.0),
        softening=softening,
        softening_estimate=estimate,
        stiffening=stiffening,
        interaction_bound=jnp.maximum(bounds.upper, bounds.opposite),
        interaction_estimate=jnp.maximum(bounds.lower, bounds.opposite_lower),
        max_curvature=high,
        max_abs_curvature=jnp.maximum(jnp.abs(low), jnp.abs(high)),
        convex_lam=jnp.maximum((1.0 + margin) * softening - 1.0, 0.0),
        step_size=step_size,
    )


def auto_lam(
    y: Values,
    weights: Weights,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    gain: ScalarLike | None = None,
) -> Scalar:
    """The smallest λ ≥ 0 that certifies convexity, 1 % clear of the bound; no derivative.

    Arguments as those of :func:`regime`.

    Raises:
      ValueError: for an F whose F'' is unbounded, or without a stated bound.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> A, y = jnp.ones((1, 1)), jnp.full((1, 1), 2.0)
      >>> auto_lam(y, A, nonlinearity=nonlinearities.quadratic(1.0), coupling="pooled").round(2)
      Array(3.04, dtype=float32)
    """
    F = _require_bounds(nonlinearity, "lam")
    found = regime(y, weights, nonlinearity=F, coupling=coupling, lam=0.0, gain=gain)
    return jax.lax.stop_gradient(found.convex_lam)


def auto_step_size(
    y: Values,
    weights: Weights,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike | None = None,
) -> Scalar:
    """η = 1/(1 + λ + stiffening), at which the energy cannot rise; no derivative.

    Arguments as those of :func:`regime`.

    Raises:
      ValueError: for an F whose F'' is unbounded, or without a stated bound.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> A, y = jnp.ones((1, 1)), jnp.ones((1, 1))
      >>> auto_step_size(y, A, nonlinearity=nonlinearities.quadratic(-2.0), coupling="pooled",
      ...                lam=1.0).round(3)
      Array(0.25, dtype=float32)
    """
    F = _require_bounds(nonlinearity, "step_size")
    found = regime(y, weights, nonlinearity=F, coupling=coupling, lam=lam, gain=gain)
    return jax.lax.stop_gradient(found.step_size)


def _require_bounds(
    nonlinearity: Nonlinearity | Callable[[Any], Array], argument: str
) -> Nonlinearity:
    F = as_nonlinearity(nonlinearity)
    if F.is_bounded:
        return F
    reason = (
        f"F'' of {F.name!r} is unbounded"
        if F.curvature_fn is not None
        else f"{F.name!r} states no bound of F'': as_nonlinearity(fn, curvature_range=(inf, sup))"
    )
    raise ValueError(f"{argument}='auto' needs a bounded F'', but {reason}; give a number instead")


def _promote(y: Array, weights: Array) -> tuple[Array, Array]:
    dtype = jnp.promote_types(jnp.result_type(y, weights), jnp.float32)
    return jax.lax.stop_gradient(y.astype(dtype)), jax.lax.stop_gradient(weights.astype(dtype))


def _times(curvature: Array, bound: Array) -> Array:
    """Curvature · bound, where 0 · ∞ is 0: nothing interacts, or F is linear."""
    is_zero = (curvature == 0) | (bound == 0)
    return jnp.where(is_zero, 0.0, curvature * jnp.where(is_zero, 1.0, bound))


def _decide(
    F: Nonlinearity, is_convex: Array, is_indefinite: Array, low: Array, high: Array
) -> tuple[Array, Array]:
    """(status, is_certified) of an F with F'' in [low, high]."""
    is_known = jnp.asarray(F.curvature_fn is not None)
    if F.growth == "linear":
        return jnp.where(is_convex, CONVEX, COERCIVE), is_known
    if F.growth == "quadratic":
        # Between the two bounds the estimate decides, and nothing is certified.
        is_constant = low == high
        status = jnp.where(is_convex | ~is_indefinite & is_constant, CONVEX, UNBOUNDED)
        return status, is_known & (is_convex | is_indefinite & is_constant)
    # Convex or concave: it falls without end on one side, and on the other stays above a line.
    escapes = F.growth == "faster" and ((low >= 0) & jnp.isinf(high) | (high <= 0) & jnp.isinf(low))
    return jnp.where(is_convex, CONVEX, UNBOUNDED), is_known & (is_convex | is_indefinite & escapes)


def _check_one_head(F: Nonlinearity) -> None:
    for name, leaf, rank in (("alpha", F.alpha, 0), ("values", F.values, 1)):
        if leaf is not None and jnp.ndim(leaf) != rank:
            raise ValueError(
                f"{name} must have {rank} axes, those of one head; got shape {jnp.shape(leaf)}: "
                "vmap over F.per_head(num_heads)"
            )


def _sampled_curvature(
    F: Nonlinearity, x: Array, y: Array, weights: Array, coupling: str, s: ScalarLike
) -> tuple[Array, Array]:
    """Extremes of F'' over three times the range of s·u at x."""
    largest = 3.0 * jnp.max(
        jnp.abs(interaction_arguments(x, y, weights, coupling=coupling, gain=s))
    )
    u = jnp.linspace(-1.0, 1.0, _NUM_SAMPLES, dtype=y.dtype) * largest
    curvature = F.second_derivative(u)
    return jnp.min(curvature), jnp.max(curvature)


def interaction_arguments(
    x: State, y: Values, weights: Weights, *, coupling: str, gain: ScalarLike
) -> Array:
    """The numbers that F meets: s u_j (m,), s ⟨x_i, y_j⟩ (n, m) or s x (n, d_v); 0 where masked.

    Example:
      >>> interaction_arguments(
      ...     jnp.ones((1, 2)), jnp.eye(2), jnp.array([[0.5, 0.5]]), coupling="pooled", gain=1.0)
      Array([0.5, 0.5], dtype=float32)
    """
    check_choice("coupling", coupling, COUPLINGS)
    if coupling == "elementwise":
        return gain * x
    inner = jnp.where(weights == 0, 0.0, x @ y.T)
    return gain * (jnp.sum(weights * inner, axis=0) if coupling == "pooled" else inner)
