"""Alternating descent on an energy of two arguments: an x-step, then a y-step of the same E."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.solvers.descent import check_problem, descent_status
from hopfield_attn.solvers.rules import backtrack
from hopfield_attn.typing import Array, Float, Int, PyTree, ScalarLike


class Alternation(NamedTuple):
    """The outcome of :func:`alternate`.

    Attributes:
      x: the state.
      y: the values; ``y0`` as μ → ∞.
      energies: the joint energy E(x, y) + (μ/2)‖y − y₀‖² at the start and after every half step,
        x first, shape (2T+1,).
      status: as of :class:`hopfield_attn.Descent`: 0 it never rose, 1 it rose, 2 not finite.
    """

    x: PyTree
    y: PyTree
    energies: Float[Array, "2T+1"]
    status: Int[Array, ""]


def alternate(
    energy_fn: Callable[[Any, Any], Array],
    x0: PyTree,
    y0: PyTree,
    *,
    num_steps: int,
    x_step_size: ScalarLike,
    mu: ScalarLike,
    y_step_size: ScalarLike | None = None,
    backtracking: bool = False,
) -> Alternation:
    """T times: an x-step with ∂E/∂x, then a y-step with ∂E/∂y of the same function.

    The y-step is held by a proximal term: both steps descend the joint energy

        E_μ(x, y) = E(x, y) + (μ/2) ‖y − y₀‖².

    Without it y can run away: the attention energy falls without end in ‖y‖. As μ → ∞ the values
    stay at y₀ and the iteration is :func:`hopfield_attn.descend` in x.

    Args:
      energy_fn: E: (x, y) → scalar.
      x0: the start of the state.
      y0: the start of the values, and what they are held to.
      num_steps: T ≥ 0.
      x_step_size: η > 0.
      mu: μ ≥ 0, the proximal weight.
      y_step_size: of the y-step; ``None`` is 1/(1/η + μ): η without the proximal term, and the step
        that solves the proximal term alone as μ → ∞.
      backtracking: halve a step until the joint energy does not rise.

    Returns:
      An :class:`Alternation`.

    Raises:
      TypeError: if ``num_steps`` is not an int or an argument is not floating-point.
      ValueError: for numbers out of range.

    Example:
      >>> result = alternate(lambda x, y: 0.5 * jnp.sum((x - y) ** 2), jnp.zeros(1), jnp.ones(1),
      ...                    num_steps=2, x_step_size=1.0, mu=1.0)
      >>> result.energies
      Array([0.5, 0. , 0. , 0. , 0. ], dtype=float32)

    Reference:
      The alternating scheme is that of A. Farooq, arXiv:2506.11043; the proximal term is this
      library's.
    """
    check_count(0, num_steps=num_steps)
    check_at_least(0, mu=mu)
    if not isinstance(mu, jax.core.Tracer) and not math.isfinite(mu):
        raise ValueError(f"mu must be finite; got {mu}: descend(...) in x alone is its limit")
    check_at_least(0, exclusive=True, x_step_size=x_step_size, y_step_size=y_step_size)
    x0 = check_problem(lambda x: energy_fn(x, y0), x0)
    y0 = check_problem(lambda y: energy_fn(x0, y), y0)
    y_step = 1.0 / (1.0 / x_step_size + mu) if y_step_size is None else y_step_size

    def joint(x: PyTree, y: PyTree) -> Array:
        return energy_fn(x, y) + 0.5 * mu * optax.tree.norm(optax.tree.sub(y, y0), squared=True)

    def half_step(fn: Callable[[Any], Array], state: PyTree, step_size: Any) -> Any:
        energy, grad = jax.value_and_grad(fn)(state)
        updates = jax.tree.map(lambda g: -step_size * g, grad)
        if backtracking:
            updates = backtrack(fn, state, updates, energy)
        return optax.apply_updates(state, updates), energy

    def step(carry: tuple[PyTree, PyTree], _: None) -> Any:
        x, y = carry
        x, before_x = half_step(lambda x: joint(x, y), x, x_step_size)
        y, before_y = half_step(lambda y: joint(x, y), y, y_step)
        return (x, y), jnp.stack([before_x, before_y])

    (x, y), energies = jax.lax.scan(step, (x0, y0), length=num_steps)
    energies = jnp.append(energies.reshape(-1), joint(x, y))
    return Alternation(x, y, energies, descent_status(energies, jnp.zeros(())))
