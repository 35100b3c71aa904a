"""The primal path: A is computed once and kept; T steps cost T + 1 attentions, and so reversed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.ops.modes import descend_in_mode, take_steps
from hopfield_attn.ops.pooled import Products, pooled_descent
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, Steps, steps_of, weights_of
from hopfield_attn.typing import Array, Float, State, Values, Weights

ROW_CELLS = 2**20
"""Weights of a block of pairwise rows: 4 MiB of float32."""
SUMMED_KEYS = 2048
"""Keys up to which XLA's CPU back end sums over rows well."""


def primal(inputs: HeadInputs, options: DescentOptions) -> State:
    """T gradient steps with A kept: O(n m) memory whatever T.

    Pooled: the state is c, u is the column sum of A ⊙ (x yᵀ), and the reverse pass is by hand
    (:mod:`hopfield_attn.ops.pooled`). Pairwise: rows do not meet, so blocks of rows go through all
    steps one after the other. Elementwise: one product with A, then n·d_v numbers.

    Args:
      inputs: the arrays of the head.
      options: T, λ, η, coupling, gradient mode.
    """
    weights = weights_of(inputs, options)
    steps = steps_of(inputs, options, weights)
    return descend_in_mode(
        lambda arguments, num_steps: _SOLVERS[options.coupling](*arguments, num_steps),
        lambda arguments: functools.partial(GRADIENTS[options.coupling], *arguments),
        (weights, inputs.value, steps),
        num_steps=options.num_steps,
        step_size=lambda arguments: arguments[2].step_size,
        gradient_mode=options.gradient_mode,
    )


def column_pool(weights: Weights, value: Values, x: State) -> Float[Array, "m"]:
    """u_j = Σ_i A_ij ⟨x_i, y_j⟩ (M2a) as the column sums of A ⊙ (x yᵀ).

    On a CPU the product with Aᵀ takes three times as long. A sum over rows beats a product with
    ones by up to a third, but takes up to six times as long where rows are long.
    """
    terms = weights * (x @ value.T)
    if terms.shape[1] <= SUMMED_KEYS:
        return jnp.sum(terms, axis=0)
    return jnp.ones_like(x[:, 0]) @ terms


def pooled_formula(weights: Weights, value: Values, steps: Steps, x: State) -> State:
    """∇E of the pooled coupling (M4a)."""
    u = column_pool(weights, value, x)
    c = steps.nonlinearity.derivative(steps.gain * u) + steps.lam
    return (1 + steps.lam) * x - weights @ (c[:, None] * value)


def pairwise_formula(weights: Weights, value: Values, steps: Steps, x: State) -> State:
    """∇E of the pairwise coupling (M4b)."""
    # A masked pair must not bring in F' = inf: 0 · inf is NaN.
    u = jnp.where(weights == 0, 0.0, x @ value.T)
    slope = steps.nonlinearity.derivative(steps.gain * u)
    return (1 + steps.lam) * x - (weights * (slope + steps.lam)) @ value


def elementwise_formula(weights: Weights, value: Values, steps: Steps, x: State) -> State:
    """∇E of the elementwise coupling (M4c)."""
    return attended_formula(weights @ value, steps, x)


def attended_formula(attended: State, steps: Steps, x: State) -> State:
    """(M4c) from A y."""
    slope = steps.nonlinearity.derivative(steps.gain * x)
    return x - slope * attended + steps.lam * (x - attended)


GRADIENTS: dict[str, Callable[..., Array]] = {
    "pooled": pooled_formula,
    "pairwise": pairwise_formula,
    "elementwise": elementwise_formula,
}
"""Coupling → (A, y, steps, x) → ∇E(x), by formula."""


def _pooled(weights: Array, value: Array, steps: Steps, num_steps: int) -> Array:
    return pooled_descent(KEPT, weights, value, steps, num_steps=num_steps)


def _pairwise(weights: Array, value: Array, steps: Steps, num_steps: int) -> Array:
    def solve_row(row: Array) -> Array:
        return pairwise_row(row, value, steps, num_steps=num_steps)

    block = max(1, ROW_CELLS // max(1, weights.shape[1]))
    if block >= weights.shape[0]:
        return jax.vmap(solve_row)(weights)
    return jax.lax.map(solve_row, weights, batch_size=block)


def pairwise_row(
    weights: Float[Array, "m"], value: Values, steps: Steps, *, num_steps: int
) -> Float[Array, "dv"]:
    """x_T of one query: pairwise queries do not meet.

    Args:
      weights: its row of A.
      value: y.
      steps: F, λ, η and s.
      num_steps: T.
    """

    def gradient(x: Array) -> Array:
        return pairwise_formula(weights[None], value, steps, x[None])[0]

    return take_steps(
        gradient,
        weights @ value,
        num_steps=num_steps,
        step_size=steps.step_size,
        rematerialise=True,
    )


def _elementwise(weights: Array, value: Array, steps: Steps, num_steps: int) -> Array:
    return elementwise_descent(weights @ value, steps, num_steps=num_steps)


def elementwise_descent(attended: State, steps: Steps, *, num_steps: int) -> State:
    """x_T of the elementwise coupling, which needs A y alone.

    Args:
      attended: A y.
      steps: F, λ, η and s.
      num_steps: T.
    """
    gradient = functools.partial(attended_formula, attended, steps)
    return take_steps(
        gradient, attended, num_steps=num_steps, step_size=steps.step_size, rematerialise=True
    )


_SOLVERS: dict[str, Callable[..., Array]] = {
    "pooled": _pooled,
    "pairwise": _pairwise,
    "elementwise": _elementwise,
}


def _hold(weights: Array) -> None:
    return None


def _attend(weights: Array, held: None, w: Array) -> Array:
    return weights @ w


def _pool(weights: Array, held: None, value: Array, x: Array) -> Array:
    return column_pool(weights, value, x)


def _gram(weights: Array, held: None, value: Array, c: Array) -> Array:
    return column_pool(weights, value, weights @ (c[:, None] * value))


def _transpose(weights: Array, held: None) -> Array:
    # Without the barrier XLA would multiply with a transposed A, at a third of the speed.
    return jax.lax.optimization_barrier(weights.T)


def _reverse_pool(weights: Array, held: Array, value: Array, x: Array) -> tuple[Array, Array]:
    back = held @ x
    return jnp.sum(back * value, axis=1), back


def _reverse_gram(weights: Array, held: Array, value: Array, c: Array) -> tuple[Array, Any]:
    x = weights @ (c[:, None] * value)
    product, back = _reverse_pool(weights, held, value, x)
    return product, (x, back)


def _pull_back(
    weights: Array, held: Array, value: Array, last: Any, pairs: Any
) -> tuple[Array, Array]:
    """One wide product for A, one for the part of y that is not there yet."""
    x_bar, r, back = last
    back = held @ x_bar if back is None else back
    value_bar = r[:, None] * back
    if pairs is None:
        return x_bar @ (r[:, None] * value).T, value_bar
    a, b, (z, z_back) = pairs
    x = weights @ _side_by_side(b[:, :, None] * value[None])
    left = jnp.concatenate([x_bar, _side_by_side(z), x], axis=1)
    rights = jnp.concatenate([r[None], b, a])
    weights_bar = left @ _side_by_side(rights[:, :, None] * value[None]).T
    x_back = jnp.moveaxis((held @ x).reshape(len(value), *a.shape[:1], -1), 1, 0)
    value_bar += jnp.sum(b[:, :, None] * z_back + a[:, :, None] * x_back, axis=0)
    return weights_bar, value_bar


def _side_by_side(arrays: Array) -> Array:
    """(T, m, d) → (m, T·d)."""
    return jnp.moveaxis(arrays, 0, 1).reshape(arrays.shape[1], -1)


KEPT = Products(
    hold=_hold,
    attend=_attend,
    pool=_pool,
    gram=_gram,
    hold_reverse=_transpose,
    reverse_pool=_reverse_pool,
    reverse_gram=_reverse_gram,
    pull_back=_pull_back,
)
"""The products with an A that is there: the source is A itself."""
