"""What happens inside a head: energies by term, weights at each step, collapse, spectrum."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.analysis.energies import attention_inputs
from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.energies.attention import COUPLINGS, attention_energy_terms, default_gain
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.energies.regimes import Regime, interaction_arguments, regime
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.ops.heads import make_head, over_heads
from hopfield_attn.solvers import descent
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.solvers.spectrum import hessian_spectrum
from hopfield_attn.typing import Array, Float, Int, ScalarLike, Values, Weights

OUTCOME_NAMES = ("converged", "not converged", "energy rose", "diverged", "collapsed")
"""Meaning of ``HeadDiagnostics.outcome``: index → name."""

CONVERGED, NOT_CONVERGED, ROSE, DIVERGED, COLLAPSED = range(len(OUTCOME_NAMES))

OUTCOME_ADVICE = (
    "the residual is small, and the output is not that of plain attention",
    "λ too small or T too short for this F: raise λ towards the certified one, take more steps or "
    "the certified step",
    "the step is too long for this λ: step_size='auto' cannot rise",
    "F is unbounded here: raise λ, lower |α|, or take a bounded F (log_cosh, spline)",
    "λ too large, or α too small: the head is a standard one, ‖x − A y‖ / ‖A y‖ is next to nothing",
)
"""What each outcome means and what to do about it."""


class HeadDiagnostics(NamedTuple):
    """One head of one example, followed step by step.

    Attributes:
      energies: E at steps 0, …, T, (T+1,), in nats/β.
      interaction, norm, tie: the terms of E (M1), (T+1,) each.
      residuals: ‖∇E‖, (T+1,).
      distances: ‖x_t − A y‖ / ‖A y‖, the distance to plain attention, (T+1,); 0 is collapse.
      attention: the weights W_t with x_t = W_t y, (T+1, n, m): pooled and pairwise heads are
        attention with these; NaN for the elementwise coupling, which has none.
      gained: largest |s u| that F met, (T+1,).
      states: x_t, (T+1, n, d_v).
      spectrum: eigenvalues of the Hessian at x_T, ascending; the smallest tells a well (> 0) from a
        saddle (< 0).
      regime: the certificate before iterating, :class:`hopfield_attn.Regime`.
      lam, step_size: λ and η that were used.
      outcome: index into :data:`OUTCOME_NAMES`; :data:`OUTCOME_ADVICE` says what to do.
    """

    energies: Float[Array, "T+1"]
    interaction: Float[Array, "T+1"]
    norm: Float[Array, "T+1"]
    tie: Float[Array, "T+1"]
    residuals: Float[Array, "T+1"]
    distances: Float[Array, "T+1"]
    attention: Float[Array, "T+1 n m"]
    gained: Float[Array, "T+1"]
    states: Float[Array, "T+1 n dv"]
    spectrum: Float[Array, "values"]
    regime: Regime
    lam: Float[Array, ""]
    step_size: Float[Array, ""]
    outcome: Int[Array, ""]


def diagnose_head(
    weights: Weights,
    values: Values,
    *,
    nonlinearity: Nonlinearity,
    coupling: str,
    lam: ScalarLike | str,
    num_steps: int,
    step_size: ScalarLike | str | None = None,
    gain: ScalarLike | None = None,
    tolerance: float = 1e-3,
    num_eigenvalues: int = 16,
) -> HeadDiagnostics:
    """Follows T gradient steps of one head from x₀ = A y, as ``nonlinear_attention`` takes them.

    Args:
      weights: A, (n, m).
      values: y, (m, d_v); half precision is followed in float32, as the layer does.
      nonlinearity: F.
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0, or "auto".
      num_steps: T ≥ 0.
      step_size: η, "auto", or ``None`` for 1/(1+λ).
      gain: s; ``None`` is 1/d_v.
      tolerance: what counts as a small residual (relative to ‖x‖) and as a small distance.
      num_eigenvalues: Lanczos values of the Hessian, at most n · d_v.

    Returns:
      :class:`HeadDiagnostics`; ``vmap`` and ``jit`` go over it.

    Raises:
      ValueError: as :func:`hopfield_attn.nonlinear_attention`.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> A, y = jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.eye(2)
      >>> found = diagnose_head(A, y, nonlinearity=nonlinearities.log_cosh(0.8),
      ...                       coupling="pooled", lam=0.5, num_steps=20)
      >>> OUTCOME_NAMES[int(found.outcome)]
      'converged'
      >>> bool(jnp.allclose(found.attention[-1] @ y, found.states[-1], atol=1e-6))
      True
    """
    check_choice("coupling", coupling, COUPLINGS)
    check_count(0, num_steps=num_steps)
    F = as_nonlinearity(nonlinearity)
    weights, values = at_least_float32((jnp.asarray(weights), jnp.asarray(values)))
    head = make_head(weights, values, F, coupling=coupling, lam=lam, step_size=step_size, gain=gain)
    s = default_gain(values.shape[-1]) if gain is None else gain

    def look(x: Array, attention: Array) -> dict[str, Array]:
        terms = attention_energy_terms(
            x, values, weights, nonlinearity=F, coupling=coupling, lam=head.lam, gain=s
        )
        met = interaction_arguments(x, values, weights, coupling=coupling, gain=s)
        residual = optax.tree.norm(jax.grad(head.energy_fn)(x))
        plain = jnp.maximum(jnp.linalg.norm(head.start), jnp.finfo(x.dtype).tiny)
        return {
            **terms._asdict(),
            "energies": sum(terms),
            "residuals": residual,
            "distances": jnp.linalg.norm(x - head.start) / plain,
            "attention": attention,
            "gained": jnp.max(jnp.abs(met)),
            "states": x,
        }

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], dict[str, Array]]:
        x, attention = carry
        seen = look(x, attention)
        slope = _slope(F, x, values, weights, coupling, s)
        eta, lam = head.step_size, head.lam
        # x_t = W_t y for every t: the step on x is this step on W.
        moved = (1 - eta * (1 + lam)) * attention + eta * weights * (slope + lam)
        return (x - eta * jax.grad(head.energy_fn)(x), moved), seen

    start = weights if coupling != "elementwise" else jnp.full_like(weights, jnp.nan)
    (x, attention), seen = jax.lax.scan(step, (head.start, start), length=num_steps)
    last = look(x, attention)
    seen = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), seen, last)
    found = regime(values, weights, nonlinearity=F, coupling=coupling, lam=head.lam, gain=gain)
    return HeadDiagnostics(
        **seen,
        spectrum=hessian_spectrum(
            head.energy_fn, x, num_values=min(num_eigenvalues, head.start.size)
        ),
        regime=found,
        lam=head.lam,
        step_size=head.step_size,
        outcome=_outcome(seen, tolerance),
    )


def diagnose_layer(
    encoder: Encoder,
    layer: int,
    tokens: Array,
    mask: Array | None = None,
    token_types: Array | None = None,
    **limits: Any,
) -> dict[int, HeadDiagnostics]:
    """:func:`diagnose_head` for every head of one layer of a (trained) encoder, on a batch.

    Args:
      encoder: the encoder.
      layer: index of the layer.
      tokens: (b, n) ids.
      mask: (b, n), True for real tokens.
      token_types: (b, n) ids.
      **limits: ``tolerance`` and ``num_eigenvalues`` of :func:`diagnose_head`.

    Returns:
      Head index → its :class:`HeadDiagnostics`, with a leading axis of examples on every field.

    Raises:
      ValueError: if there is no such layer.
    """
    if not 0 <= layer < len(encoder.layers):
        raise ValueError(f"layer must be in [0, {len(encoder.layers)}); got {layer}")
    layers = attention_inputs(encoder, tokens, mask, token_types)
    target, inputs = next(itertools.islice(layers, layer, None))
    found: dict[int, HeadDiagnostics] = {}
    for problem in target.attention.problems(inputs, mask=mask):
        options = {k: v for k, v in problem.options.items() if k != "nonlinearity"} | limits

        def follow(
            weights: Array, values: Array, F: Nonlinearity, options: dict[str, Any] = options
        ) -> HeadDiagnostics:
            return diagnose_head(weights, values, nonlinearity=F, **options)

        solve = jax.jit(functools.partial(over_heads, follow))
        group = solve(problem.weights, problem.values, problem.options["nonlinearity"])
        for k, head in enumerate(range(problem.group.start, problem.group.stop)):
            found[head] = jax.tree.map(lambda a, k=k: a[:, k], group)
    return found


def _slope(F: Nonlinearity, x: Array, y: Array, weights: Array, coupling: str, s: Any) -> Array:
    """F'(s u) in a shape that broadcasts against A; NaN where there is no such shape."""
    if coupling == "elementwise":
        return jnp.full_like(weights, jnp.nan)
    slope = F.derivative(interaction_arguments(x, y, weights, coupling=coupling, gain=s))
    return slope[None] if coupling == "pooled" else slope


def _outcome(seen: dict[str, Array], tolerance: float) -> Array:
    energies, residuals = seen["energies"], seen["residuals"]
    size = jnp.maximum(1.0, jnp.linalg.norm(seen["states"][-1]))
    status = descent.descent_status(energies, residuals)
    outcome = jnp.where(residuals[-1] <= tolerance * size, CONVERGED, NOT_CONVERGED)
    is_collapsed = (seen["distances"][-1] <= tolerance) & (outcome == CONVERGED)
    outcome = jnp.where(is_collapsed, COLLAPSED, outcome)
    outcome = jnp.where(status == descent.ROSE, ROSE, outcome)
    runs_away = residuals[-1] > 1e3 * (1 + residuals[0])
    return jnp.where((status == descent.NON_FINITE) | runs_away, DIVERGED, outcome)
