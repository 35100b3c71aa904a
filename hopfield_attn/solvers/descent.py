"""Gradient descent on any energy: a fixed number of steps under any optax rule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_count, check_floating
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
) -> Descent:
    """Minimises ``energy_fn`` by ``num_steps`` steps from ``x0``: x ← x + rule(∇E(x)).

    ``jax.grad`` gives the gradient and ``jax.lax.scan`` unrolls the steps, so the program does not
    grow with T and the result can be differentiated through, to any order.

    Args:
      energy_fn: E: state → scalar. It closes over everything else (values, weights, …).
      x0: the start: a pytree of floating-point arrays.
      num_steps: T ≥ 0.
      rule: any optax transformation; ``optax.sgd(η)`` is plain gradient descent.

    Returns:
      A :class:`Descent`. ``vmap`` over it gives every example its own status.

    Raises:
      TypeError: if ``num_steps`` is not an int or the state is not floating-point.
      ValueError: if ``num_steps`` < 0 or ``energy_fn`` does not return a scalar.

    Example:
      >>> import optax
      >>> result = descend(lambda x: 0.5 * jnp.sum(x**2), jnp.array([2.0]),
      ...                  num_steps=3, rule=optax.sgd(0.5))
      >>> result.x, result.energies
      (Array([0.25], dtype=float32), Array([2.     , 0.5    , 0.125  , 0.03125], dtype=float32))
    """
    check_count(0, num_steps=num_steps)
    check_floating(**{f"x0{jax.tree_util.keystr(k)}": a for k, a in _leaves(x0)})
    x0 = jax.tree.map(jnp.asarray, x0)
    _check_scalar(energy_fn, x0)
    value_and_grad = jax.value_and_grad(energy_fn)

    def step(carry: tuple[PyTree, Any], _: None) -> tuple[tuple[PyTree, Any], tuple[Array, Array]]:
        x, rule_state = carry
        energy, grad = value_and_grad(x)
        updates, rule_state = rule.update(grad, rule_state, x)
        return (optax.apply_updates(x, updates), rule_state), (energy, optax.tree.norm(grad))

    (x, _), (energies, norms) = jax.lax.scan(step, (x0, rule.init(x0)), length=num_steps)
    # The last energy and residual cost one evaluation; jit removes it where nobody reads them.
    energy, grad = value_and_grad(x)
    energies = jnp.append(energies, energy)
    norms = jnp.append(norms, optax.tree.norm(grad))
    return Descent(x, energies, norms, _status(energies, norms))


def _status(energies: Array, norms: Array) -> Array:
    """0, 1 or 2, as :class:`Descent` says; a rise within rounding of the sum is no rise."""
    rounding = 32 * jnp.finfo(energies.dtype).eps * (1 + jnp.max(jnp.abs(energies)))
    rose = jnp.any(jnp.diff(energies) > rounding)
    finite = jnp.all(jnp.isfinite(energies)) & jnp.all(jnp.isfinite(norms))
    return jnp.where(finite, jnp.where(rose, ROSE, FELL), NON_FINITE)


def _leaves(tree: PyTree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _check_scalar(energy_fn: Callable[[Any], Any], x0: PyTree) -> None:
    shape = jax.eval_shape(energy_fn, x0).shape
    if shape != ():
        raise ValueError(f"energy_fn must return a scalar; it returned an array of shape {shape}")
