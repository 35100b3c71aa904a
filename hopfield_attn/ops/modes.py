"""Gradient modes for an implementation with a reverse pass of its own."""

from collections.abc import Callable
from typing import Any

import jax

from hopfield_attn.solvers.gradient_modes import GradientMode, attach_implicit
from hopfield_attn.typing import Array, PyTree, ScalarLike


def descend_in_mode(
    solve: Callable[[Any, int], Array],
    make_gradient: Callable[[Any], Callable[[Array], Array]],
    arguments: PyTree,
    *,
    num_steps: int,
    step_size: Callable[[Any], ScalarLike],
    gradient_mode: GradientMode,
) -> Array:
    """x_T of ``solve``, differentiated as ``gradient_mode`` says.

    Args:
      solve: (arguments, T) → x_T, differentiable through every step.
      make_gradient: arguments → the map x → ∇E(x), differentiable.
      arguments: everything that may have a derivative.
      num_steps: T.
      step_size: arguments → η.
      gradient_mode: as of :func:`hopfield_attn.descend`.
    """
    if gradient_mode.name in ("unrolled", "rematerialised"):
        return solve(arguments, num_steps)
    constants = jax.lax.stop_gradient(arguments)
    gradient = make_gradient(arguments)
    if gradient_mode.name == "implicit":
        return attach_implicit(gradient, solve(constants, num_steps))
    num_last = min(gradient_mode.num_steps or 0, num_steps)
    if num_last == num_steps:
        return solve(arguments, num_steps)
    # Of the state too: F may close over what is in no argument.
    x = jax.lax.stop_gradient(solve(constants, num_steps - num_last))
    return take_steps(gradient, x, num_steps=num_last, step_size=step_size(arguments))


def take_steps(
    gradient: Callable[[Array], Array],
    x: Array,
    *,
    num_steps: int,
    step_size: ScalarLike,
    rematerialise: bool = False,
) -> Array:
    """X ← x − η ∇E(x), T times.

    Args:
      gradient: x → ∇E(x).
      x: the start.
      num_steps: T.
      step_size: η.
      rematerialise: keep one state a step for the reverse pass, and compute the rest again.
    """

    def step(x: Array, _: None) -> tuple[Array, None]:
        return x - step_size * gradient(x), None

    step = jax.checkpoint(step, prevent_cse=False) if rematerialise else step
    return jax.lax.scan(step, x, length=num_steps)[0]
