"""Minimise any energy to a tolerance, every example for itself."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_at_least, check_choice, check_count
from hopfield_attn.solvers.descent import check_problem
from hopfield_attn.solvers.gradient_modes import attach_implicit, detach
from hopfield_attn.solvers.norms import residual_norm
from hopfield_attn.solvers.rules import backtrack
from hopfield_attn.typing import Array, EnergyFn, Int, PyTree, Scalar

CONVERGED = 0
STEP_CAP = 1
DIVERGED = 2
NON_FINITE = 3
OUTCOME_NAMES = ("converged", "step cap", "diverged", "non-finite")
"""Meaning of ``Equilibrium.status``: index → name."""

ADVICE = (
    "the residual is within the tolerance",
    "not converged within max_steps: raise max_steps or the tolerance, take the certified step "
    "(step_size='auto'), accelerate (solvers.rules.anderson), or raise λ: below the λ that "
    "certifies convexity (lam='auto') convergence is not promised",
    "the state runs away: the energy is not bounded below here (regime(...) says so before "
    "iterating), or the step is too long; raise λ, lower |α|, take a bounded F (log_cosh, spline), "
    "or use a fixed small number of steps",
    "the energy or its gradient is not finite at the start: check the inputs, and F for overflow "
    "(a smaller gain)",
)
"""What to do about each outcome."""

_GROWTH = 1e6
"""A residual that has grown by this factor does not come back."""


class Equilibrium(NamedTuple):
    """The outcome of :func:`equilibrium`; a value, one for each example under ``vmap``.

    Attributes:
      x: the last state whose energy and gradient were finite.
      energy: E(x).
      residual: ‖∇E(x)‖.
      num_steps: steps taken.
      status: 0 converged, 1 step cap reached, 2 diverged, 3 not finite at the start; see
        :data:`OUTCOME_NAMES`, and :data:`ADVICE` for what to do about it.
    """

    x: PyTree
    energy: Scalar
    residual: Scalar
    num_steps: Int[Array, ""]
    status: Int[Array, ""]


class _Progress(NamedTuple):
    x: PyTree
    rule_state: Any
    energy: Array
    grad: PyTree
    num_steps: Array
    status: Array


_RUNNING = -1


def equilibrium(
    energy_fn: EnergyFn,
    x0: PyTree,
    *,
    rule: optax.GradientTransformation,
    tolerance: float,
    max_steps: int,
    backtracking: bool = False,
    gradient_mode: str = "implicit",
) -> Equilibrium:
    """Minimises ``energy_fn`` until ‖∇E(x)‖ ≤ tolerance · max(1, ‖x‖).

    Under ``vmap`` every example stops on its own: its result is what it would be alone, whatever
    the others do, and one that meets a NaN has that as its status.

    Args:
      energy_fn: E: state → scalar.
      x0: the start: a pytree of floating-point arrays.
      rule: any optax transformation, or one of :mod:`hopfield_attn.solvers.rules`.
      tolerance: of the residual, relative to ‖x‖ where that exceeds 1; > 0.
      max_steps: step cap, ≥ 1.
      backtracking: halve a step until the energy does not rise. It compares energies, so it cannot
        tell steps apart once ‖∇E‖² is within rounding of |E|: keep the tolerance above that.
      gradient_mode: "implicit" (conjugate gradients on the Hessian at the result) or "one_step"
        (through one more gradient step of the rule).

    Returns:
      An :class:`Equilibrium`. Its derivatives are those of a stationary point: where ``status`` is
      not 0 they are not to be trusted.

    Raises:
      TypeError: if ``max_steps`` is not an int or the state is not floating-point.
      ValueError: for numbers out of range, an energy that is no scalar, an unknown mode.

    Example:
      >>> solution = equilibrium(lambda x: jnp.sum(jnp.cosh(x - 1.0)), jnp.zeros(2),
      ...                        rule=optax.sgd(0.5), tolerance=1e-6, max_steps=100)
      >>> solution.x.round(4), OUTCOME_NAMES[int(solution.status)]
      (Array([1., 1.], dtype=float32), 'converged')
    """
    check_count(1, max_steps=max_steps)
    check_at_least(0, exclusive=True, tolerance=tolerance)
    check_choice("gradient_mode", gradient_mode, ("implicit", "one_step"))
    x0 = check_problem(energy_fn, x0)
    constant = detach(energy_fn, x0)
    end = _iterate(constant, jax.lax.stop_gradient(x0), rule, tolerance, max_steps, backtracking)
    if gradient_mode == "implicit":
        x = attach_implicit(jax.grad(energy_fn), end.x)
    else:
        x = _through_one_step(energy_fn, end, rule)
    energy, grad = jax.value_and_grad(energy_fn)(x)
    return Equilibrium(x, energy, residual_norm(grad), end.num_steps, end.status)


def _iterate(
    energy_fn: EnergyFn,
    x0: PyTree,
    rule: optax.GradientTransformation,
    tolerance: float,
    max_steps: int,
    backtracking: bool,
) -> _Progress:
    value_and_grad = jax.value_and_grad(energy_fn)
    energy, grad = value_and_grad(x0)
    limit = _GROWTH * (1 + residual_norm(grad))

    def judge(x: PyTree, energy: Array, grad: PyTree, num_steps: Array) -> Array:
        residual = residual_norm(grad)
        status = jnp.where(num_steps >= max_steps, STEP_CAP, _RUNNING)
        status = jnp.where(residual > limit, DIVERGED, status)
        is_small = residual <= tolerance * jnp.maximum(1.0, optax.tree.norm(x))
        return jnp.where(is_small, CONVERGED, status)

    def step(now: _Progress) -> _Progress:
        updates, rule_state = rule.update(now.grad, now.rule_state, now.x)
        if backtracking:
            updates = backtrack(energy_fn, now.x, updates, now.energy)
        x = optax.apply_updates(now.x, updates)
        energy, grad = value_and_grad(x)
        num_steps = now.num_steps + 1
        status = judge(x, energy, grad, num_steps)
        moved = _Progress(x, rule_state, energy, grad, num_steps, status)
        # An overflow after the first step is a state that ran away; what is kept is finite.
        stopped = now._replace(status=jnp.full_like(status, DIVERGED))
        is_finite = _is_finite(energy, grad)
        return jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), moved, stopped)

    zero = jnp.zeros((), jnp.int32)
    status = jnp.where(_is_finite(energy, grad), judge(x0, energy, grad, zero), NON_FINITE)
    start = _Progress(x0, rule.init(x0), energy, grad, zero, status)
    return jax.lax.while_loop(lambda now: now.status == _RUNNING, step, start)


def _is_finite(energy: Array, grad: PyTree) -> Array:
    return jnp.isfinite(energy) & jnp.isfinite(residual_norm(grad))


def _through_one_step(
    energy_fn: EnergyFn, end: _Progress, rule: optax.GradientTransformation
) -> PyTree:
    """One more step of the rule, whose derivative stands for that of the solution."""
    grad = jax.grad(energy_fn)(end.x)
    updates, _ = rule.update(grad, end.rule_state, end.x)
    return optax.apply_updates(end.x, updates)
