"""Gradient descent on any energy: a fixed number of steps under any optax rule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_count, check_floating
from hopfield_attn.solvers.gradient_modes import (
    GradientMode,
    as_gradient_mode,
    attach_implicit,
    detach,
)
from hopfield_attn.solvers.norms import residual_norm
from hopfield_attn.solvers.rules import backtrack
from hopfield_attn.typing import Array, EnergyFn, Float, Int, PyTree

FELL = 0
ROSE = 1
NON_FINITE = 2
STATUS_NAMES = ("fell", "rose", "non-finite")
"""Meaning of ``Descent.status``: index → name."""


class Descent(NamedTuple):
    """The outcome of a descent; a value, so that it can be batched, compiled and logged.

    Attributes:
      x: the state after ``num_steps`` steps; the pytree of ``x0``.
      energies: E at steps 0, …, T, shape (T+1,).
      grad_norms: ‖∇E‖ at steps 0, …, T, shape (T+1,); the last is the residual at ``x``.
      status: 0 the energy never rose (beyond rounding), 1 it rose at some step, 2 an energy or a
        gradient is not finite; see :data:`STATUS_NAMES`.
    """

    x: PyTree
    energies: Float[Array, "T+1"]
    grad_norms: Float[Array, "T+1"]
    status: Int[Array, ""]


def descend(
    energy_fn: EnergyFn,
    x0: PyTree,
    *,
    num_steps: int,
    rule: optax.GradientTransformation,
    backtracking: bool = False,
    gradient_mode: str | GradientMode = "unrolled",
) -> Descent:
    """Minimises ``energy_fn`` by ``num_steps`` steps from ``x0``: x ← x + rule(∇E(x)).

    ``jax.grad`` gives the gradient and ``jax.lax.scan`` unrolls the steps, so the program does not
    grow with T and the result can be differentiated through, to any order.

    Args:
      energy_fn: E: state → scalar. It closes over everything else (values, weights, …).
      x0: the start: a pytree of floating-point arrays.
      num_steps: T ≥ 0.
      rule: any optax transformation; ``optax.sgd(η)`` is plain gradient descent, and
        :mod:`hopfield_attn.solvers.rules` has the damped fixed point and Anderson acceleration.
      backtracking: halve a step until the energy does not rise; a step for which no factor is
        found is not taken. Costs one evaluation a trial.
      gradient_mode: how the result is differentiated: "unrolled", "rematerialised",
        ``truncated(k)``, "one_step" or "implicit"; see
        :data:`hopfield_attn.solvers.gradient_modes.GRADIENT_MODES`. The values are the same.

    Returns:
      A :class:`Descent`. ``vmap`` over it gives every example its own status. Energies and norms
      of steps that are not differentiated carry no derivative.

    Raises:
      TypeError: if ``num_steps`` is not an int or the state is not floating-point.
      ValueError: if ``num_steps`` < 0, ``energy_fn`` does not return a scalar, or the gradient
        mode is unknown.

    Example:
      >>> import optax
      >>> result = descend(lambda x: 0.5 * jnp.sum(x**2), jnp.array([2.0]),
      ...                  num_steps=3, rule=optax.sgd(0.5))
      >>> result.x, result.energies
      (Array([0.25], dtype=float32), Array([2.     , 0.5    , 0.125  , 0.03125], dtype=float32))
    """
    check_count(0, num_steps=num_steps)
    mode = as_gradient_mode(gradient_mode)
    x0 = check_problem(energy_fn, x0)

    def run(fn: EnergyFn, carry: Any, length: int) -> Any:
        step = _make_step(fn, rule, backtracking)
        if mode.name == "rematerialised":
            step = jax.checkpoint(step, prevent_cse=False)
        return jax.lax.scan(step, carry, length=length)

    carry = x0, rule.init(x0)
    if mode.name in ("unrolled", "rematerialised"):
        carry, trace = run(energy_fn, carry, num_steps)
    else:
        num_last = 0 if mode.name == "implicit" else min(mode.num_steps or 0, num_steps)
        carry = carry if num_last == num_steps else jax.lax.stop_gradient(carry)
        carry, first = run(detach(energy_fn, x0), carry, num_steps - num_last)
        # The rule has parameters too: a step size gets no derivative from the steps left out.
        carry = carry if num_last == num_steps else jax.lax.stop_gradient(carry)
        carry, last = run(energy_fn, carry, num_last)
        trace = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, last)
    x = carry[0]
    if mode.name == "implicit":
        x = attach_implicit(jax.grad(energy_fn), x)
    return _finish(energy_fn, x, trace)


def check_problem(energy_fn: EnergyFn, x0: PyTree) -> PyTree:
    """Returns ``x0`` as arrays; raises unless it is floating-point and E(x0) is a scalar."""
    leaves = jax.tree_util.tree_leaves_with_path(x0)
    check_floating(**{f"x0{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves})
    x0 = jax.tree.map(jnp.asarray, x0)
    shape = jax.eval_shape(energy_fn, x0).shape
    if shape != ():
        raise ValueError(f"energy_fn must return a scalar; it returned an array of shape {shape}")
    return x0


def _make_step(
    energy_fn: EnergyFn, rule: optax.GradientTransformation, backtracking: bool
) -> Callable[[Any, None], Any]:
    """The body of the scan: (state, state of the rule) → the next, and (E, ‖∇E‖) before it."""

    def step(carry: tuple[PyTree, Any], _: None) -> tuple[tuple[PyTree, Any], tuple[Array, Array]]:
        x, rule_state = carry
        energy, grad = jax.value_and_grad(energy_fn)(x)
        updates, rule_state = rule.update(grad, rule_state, x)
        if backtracking:
            updates = backtrack(energy_fn, x, updates, energy)
        return (optax.apply_updates(x, updates), rule_state), (energy, residual_norm(grad))

    return step


def _finish(energy_fn: EnergyFn, x: PyTree, trace: tuple[Array, Array]) -> Descent:
    # The last energy and residual cost one evaluation; jit removes it where nobody reads them.
    energy, grad = jax.value_and_grad(energy_fn)(x)
    energies = jnp.append(trace[0], energy)
    norms = jnp.append(trace[1], residual_norm(grad))
    return Descent(x, energies, norms, descent_status(energies, norms))


def descent_status(energies: Array, norms: Array) -> Array:
    """``Descent.status`` of a trajectory; a rise within rounding of the largest |E| is no rise."""
    rounding = 32 * jnp.finfo(energies.dtype).eps * (1 + jnp.max(jnp.abs(energies)))
    rose = jnp.any(jnp.diff(energies) > rounding)
    finite = jnp.all(jnp.isfinite(energies)) & jnp.all(jnp.isfinite(norms))
    return jnp.where(finite, jnp.where(rose, ROSE, FELL), NON_FINITE)
