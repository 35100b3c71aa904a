"""Linear systems, spectra and searches of half-precision states are done in float32."""

import jax
import jax.numpy as jnp

from hopfield_attn.typing import PyTree


def at_least_float32(tree: PyTree) -> PyTree:
    """The tree with half-precision leaves as float32; wider ones as they are.

    Example:
      >>> at_least_float32({"x": jnp.ones(2, jnp.bfloat16)})
      {'x': Array([1., 1.], dtype=float32)}
    """
    return jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float32)), tree)
