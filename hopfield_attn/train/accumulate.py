"""Loss and gradients of a batch in parts, one after the other: less memory, the same mean."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hopfield_attn.ops.partition import BATCH, constrain
from hopfield_attn.typing import Array, PyTree, Scalar

Batch = dict[str, Array]
WeightFn = Callable[[Batch], Scalar]
"""batch → what its mean loss weighs."""
LossAndGrads = Callable[[PyTree, Batch, Array], tuple[Scalar, PyTree]]
"""(params, batch, dropout key) → (mean loss, its gradients)."""


def num_rows(batch: Batch) -> Scalar:
    """Number of examples: the weight of a loss that is a mean over them.

    Example:
      >>> float(num_rows({"x": jnp.zeros((4, 3))}))
      4.0
    """
    return jnp.asarray(next(iter(batch.values())).shape[0], jnp.float32)


def accumulated(compute: LossAndGrads, weight_fn: WeightFn, *, num_parts: int) -> LossAndGrads:
    """``compute`` over parts of the batch: Σ w_k L_k / Σ w_k, and the same of the gradients.

    Where the loss is a mean with the weights that ``weight_fn`` sums up, that is the loss of the
    whole batch. Part k has the rows k, k + K, k + 2K, …, and so some of every device; its dropout
    uses ``fold_in(key, k)``. The sums are float32 at least.

    Args:
      compute: of one batch.
      weight_fn: batch → w.
      num_parts: K; 1 returns ``compute`` itself. Divides the batch size.
    """
    if num_parts == 1:
        return compute

    def compute_in_parts(params: PyTree, batch: Batch, key: Array) -> tuple[Scalar, PyTree]:
        parts = jax.tree.map(lambda array: _split(array, num_parts), batch)
        total = jnp.maximum(weight_fn(batch), 1e-9)

        def add(sums: tuple[Scalar, PyTree], part: tuple[Array, Batch]) -> tuple:
            number, rows = part
            rows = jax.tree.map(lambda a: constrain(a, BATCH, *(None,) * (a.ndim - 1)), rows)
            share = weight_fn(rows) / total
            found = compute(params, rows, jax.random.fold_in(key, number))
            return jax.tree.map(lambda s, x: s + share * x, sums, found), None

        zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(add, zeros, (jnp.arange(num_parts), parts))[0]

    return compute_in_parts


def _split(array: Array, num_parts: int) -> Array:
    return jnp.moveaxis(array.reshape(-1, num_parts, *array.shape[1:]), 1, 0)
