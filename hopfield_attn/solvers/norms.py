"""The size of a gradient."""

import jax.numpy as jnp
import optax

from hopfield_attn.typing import PyTree, Scalar


def residual_norm(grad: PyTree) -> Scalar:
    """‖∇E‖ over all leaves; its derivative where ∇E is exactly 0 is 0, and not NaN.

    Example:
      >>> import jax
      >>> [float(a) for a in jax.grad(residual_norm)(jnp.zeros(2))]
      [0.0, 0.0]
    """
    square = optax.tree.norm(grad, squared=True)
    is_zero = square == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))
