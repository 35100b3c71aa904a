"""The reference implementation: ``jax.grad`` of the one energy, vmapped over heads and examples."""

import functools

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.solvers.descent import Descent, descend
from hopfield_attn.typing import Array, BatchedWeights, Float, ScalarLike


def autodiff_descent(
    weights: BatchedWeights,
    value: Float[Array, "b h m dv"],
    *,
    nonlinearity: Nonlinearity,
    coupling: str,
    lam: ScalarLike,
    num_steps: int,
    step_size: ScalarLike,
    gain: ScalarLike | None,
) -> Descent:
    """T gradient steps on (M1) from x₀ = A y, for every head of every example.

    Args:
      weights: A, (b, h, n, m).
      value: y, (b, h, m, d_v), zero where the key is masked.
      nonlinearity: F; its α is a scalar or one number a head, (h,).
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0.
      num_steps: T ≥ 0.
      step_size: η > 0.
      gain: s > 0, or ``None`` for 1/d_v.

    Returns:
      A :class:`Descent` with leading axes (b, h) on every field.
    """

    def solve(weights: Array, value: Array, nonlinearity: Nonlinearity) -> Descent:
        energy_fn = functools.partial(
            attention_energy,
            y=value,
            weights=weights,
            nonlinearity=nonlinearity,
            coupling=coupling,
            lam=lam,
            gain=gain,
        )
        return descend(energy_fn, weights @ value, num_steps=num_steps, rule=optax.sgd(step_size))

    num_heads = weights.shape[1]
    per_head = jax.tree.map(lambda a: jnp.broadcast_to(a, (num_heads,)), nonlinearity)
    over_heads = jax.vmap(solve)
    return jax.vmap(over_heads, in_axes=(0, 0, None))(weights, value, per_head)
