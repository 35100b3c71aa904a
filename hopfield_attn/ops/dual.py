"""The dual path: G is computed once (M5), and a step is one product of G with m numbers (M6)."""

import functools
from typing import Any

import jax.numpy as jnp

from hopfield_attn.ops.modes import descend_in_mode
from hopfield_attn.ops.pooled import Products, pooled_descent
from hopfield_attn.ops.primal import pooled_formula
from hopfield_attn.ops.problem import (
    DescentOptions,
    HeadInputs,
    Steps,
    check_is_pooled,
    steps_of,
    weights_of,
)
from hopfield_attn.typing import Array, State


def dual(inputs: HeadInputs, options: DescentOptions) -> State:
    """T gradient steps on c with G = (Aᵀ A) ⊙ (y yᵀ) kept: O(n m² + T m²), pooled only.

    Wins where m is small or T large: the steps cost next to nothing, G costs m/d_v products.

    Args:
      inputs: the arrays of the head.
      options: T, λ, η, gradient mode.

    Raises:
      ValueError: for another coupling than the pooled one.
    """
    check_is_pooled(options, name="dual")
    weights = weights_of(inputs, options)
    steps = steps_of(inputs, options, weights)
    return descend_in_mode(
        lambda arguments, num_steps: _solve(*arguments, num_steps=num_steps),
        lambda arguments: functools.partial(pooled_formula, *arguments),
        (weights, inputs.value, steps),
        num_steps=options.num_steps,
        step_size=lambda arguments: arguments[2].step_size,
        gradient_mode=options.gradient_mode,
    )


def _solve(weights: Array, value: Array, steps: Steps, *, num_steps: int) -> Array:
    gram = (weights.T @ weights) * (value @ value.T)
    # The same descent with A = I and one column of ones for y: its state is c.
    c = pooled_descent(EXPLICIT, gram, jnp.ones_like(value[:, :1]), steps, num_steps=num_steps)
    return weights @ (c * value)


def _hold(gram: Array) -> None:
    return None


def _hold_reverse(gram: Array, held: None) -> None:
    return None


def _attend(gram: Array, held: None, w: Array) -> Array:
    return w


def _pool(gram: Array, held: None, ones: Array, c: Array) -> Array:
    return c[:, 0]


def _gram(gram: Array, held: None, ones: Array, c: Array) -> Array:
    return gram @ c


def _reverse_pool(gram: Array, held: None, ones: Array, c: Array) -> tuple[Array, None]:
    return c[:, 0], None


def _reverse_gram(gram: Array, held: None, ones: Array, c: Array) -> tuple[Array, None]:
    return gram @ c, None


def _pull_back(gram: Array, held: None, ones: Array, last: Any, pairs: Any) -> tuple[Array, Array]:
    # Nobody asks for the cotangent of the ones.
    if pairs is None:
        return jnp.zeros_like(gram), jnp.zeros_like(ones)
    a, b, _ = pairs
    return a.T @ b, jnp.zeros_like(ones)


EXPLICIT = Products(
    hold=_hold,
    attend=_attend,
    pool=_pool,
    gram=_gram,
    hold_reverse=_hold_reverse,
    reverse_pool=_reverse_pool,
    reverse_gram=_reverse_gram,
    pull_back=_pull_back,
)
"""The products where the source is G."""
