"""Update rules beside those of optax, as optax transformations: any solver takes them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import Array, PyTree, ScalarLike


def damped_fixed_point(step_size: ScalarLike, *, damping: ScalarLike) -> Any:
    """X ← (1 − δ) x + δ (x − η ∇E(x)): the fixed-point map of one gradient step, damped.

    With η = 1/(1+λ) and δ = 1 it is the fixed-point iteration of the attention energy: A y for
    identity heads after one step.

    Args:
      step_size: η > 0.
      damping: δ in (0, 1]; 1 is undamped.

    Returns:
      An optax transformation.

    Example:
      >>> rule = damped_fixed_point(0.5, damping=0.5)
      >>> rule.update(jnp.array([2.0]), rule.init(jnp.array([0.0])))[0]
      Array([-0.5], dtype=float32)
    """
    check_at_least(0, exclusive=True, step_size=step_size, damping=damping)
    if not isinstance(damping, jax.core.Tracer) and damping > 1:
        raise ValueError(f"damping must be in (0, 1]; got {damping}")
    return optax.sgd(damping * step_size)


class AndersonState(NamedTuple):
    """What :func:`anderson` carries: the last differences of iterates and of residuals.

    Attributes:
      x: the last iterate, flat, (N,).
      residual: its residual f = −η ∇E, (N,).
      x_differences: the last iterates' differences, (history, N), zero where there is none yet.
      residual_differences: the same of the residuals.
      num_updates: updates made.
    """

    x: Array
    residual: Array
    x_differences: Array
    residual_differences: Array
    num_updates: Array


def anderson(
    step_size: ScalarLike, *, history: int = 5, regularization: ScalarLike = 1e-8
) -> optax.GradientTransformation:
    """Anderson acceleration of the fixed-point map g(x) = x − η ∇E(x).

    With residuals f = −η ∇E and the last ``history`` differences as columns of ΔX and ΔF,

        x ← x + f − (ΔX + ΔF) γ,    γ = argmin ‖f − ΔF γ‖² + ε ‖ΔF‖² ‖γ‖².

    On a quadratic energy it is equivalent to GMRES; the energy may rise on the way. Differentiate
    what it finds implicitly: derivatives through its small linear systems are ill-conditioned near
    convergence.

    Args:
      step_size: η > 0.
      history: differences kept, ≥ 1.
      regularization: ε > 0, relative to the largest column.

    Returns:
      An optax transformation; its ``update`` needs the state ``params``.

    Example:
      >>> from hopfield_attn import descend
      >>> curvatures = jnp.array([1.0, 3.0, 10.0])
      >>> result = descend(lambda x: 0.5 * jnp.sum(curvatures * x**2), jnp.ones(3),
      ...                  num_steps=6, rule=anderson(0.1))
      >>> bool(result.grad_norms[-1] < 1e-3)
      True

    Reference:
      Walker & Ni, *Anderson Acceleration for Fixed-Point Iterations*, 2011.
    """
    check_count(1, history=history)
    check_at_least(0, exclusive=True, step_size=step_size, regularization=regularization)

    def init(params: PyTree) -> AndersonState:
        x = ravel_pytree(at_least_float32(params))[0]
        columns = jnp.zeros((history, x.size), x.dtype)
        zeros = jnp.zeros_like(x)
        return AndersonState(zeros, zeros, columns, columns, jnp.zeros((), jnp.int32))

    def update(grad: PyTree, state: AndersonState, params: PyTree = None) -> Any:
        if params is None:
            raise ValueError("anderson needs the state x: rule.update(grad, rule_state, x)")
        # In half precision the system of the differences would be solved to one digit.
        flat, unravel = ravel_pytree(at_least_float32(grad))
        x, residual = ravel_pytree(at_least_float32(params))[0], -step_size * flat
        slot, is_first = (state.num_updates - 1) % history, state.num_updates == 0

        def remember(columns: Array, difference: Array) -> Array:
            return jnp.where(is_first, columns, columns.at[slot].set(difference))

        dx = remember(state.x_differences, x - state.x)
        df = remember(state.residual_differences, residual - state.residual)
        # Unused columns are zero, and the regularisation gives them the coefficient zero.
        gram = df @ df.T
        floor = jnp.finfo(gram.dtype).tiny
        ridge = regularization * jnp.max(jnp.diagonal(gram)) + floor
        gamma = jnp.linalg.solve(gram + ridge * jnp.eye(history, dtype=gram.dtype), df @ residual)
        step = residual - gamma @ (dx + df)
        updates = jax.tree.map(lambda u, g: u.astype(g.dtype), unravel(step), grad)
        return updates, AndersonState(x, residual, dx, df, state.num_updates + 1)

    return optax.GradientTransformation(init, update)


def backtrack(
    energy_fn: Any, x: PyTree, updates: PyTree, energy: Array, *, max_halvings: int = 30
) -> PyTree:
    """Halves ``updates`` until the energy does not rise; zero updates where that never happens.

    The factor is a constant for derivatives, as a learning rate is.

    Args:
      energy_fn: E.
      x: the state.
      updates: what an update rule would add to it.
      energy: E(x).
      max_halvings: halvings before the step is given up.
    """

    def rises(scale: Array) -> Array:
        moved = optax.apply_updates(x, jax.tree.map(lambda u: scale * u, updates))
        reached = energy_fn(moved)
        # NaN counts as a rise, and −inf as no place to be.
        return ~((reached <= energy) & jnp.isfinite(reached))

    def is_open(carry: tuple[Array, Array]) -> Array:
        scale, halvings = carry
        return (halvings < max_halvings) & rises(scale)

    start = jnp.ones((), energy.dtype), jnp.zeros((), jnp.int32)
    scale, halvings = jax.lax.while_loop(is_open, lambda c: (0.5 * c[0], c[1] + 1), start)
    scale = jax.lax.stop_gradient(jnp.where(halvings < max_halvings, scale, 0.0))
    return jax.tree.map(lambda u: jnp.where(scale == 0, 0.0, scale * u).astype(u.dtype), updates)
