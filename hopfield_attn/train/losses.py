"""Losses: (logits, targets) → mean loss in nats, or squared error."""

import jax.numpy as jnp
import optax

from hopfield_attn.typing import Array, Float, Int, Scalar


def weighted_cross_entropy(
    logits: Float[Array, "*shape classes"],
    labels: Int[Array, "*shape"],
    weights: Float[Array, "*shape"],
) -> Scalar:
    """Σ w · (−log softmax(logits)[label]) / Σ w, in nats; 0 where every weight is 0.

    Args:
      logits: (…, classes).
      labels: (…) class ids in [0, classes).
      weights: (…) ≥ 0; 0 leaves an entry out.

    Example:
      >>> float(weighted_cross_entropy(
      ...     jnp.zeros((2, 4)), jnp.array([1, 3]), jnp.array([1.0, 0.0])).round(4))
      1.3863
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1e-9)


def mean_squared_error(predictions: Float[Array, "b"], targets: Float[Array, "b"]) -> Scalar:
    """Mean of (prediction − target)².

    Example:
      >>> float(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
      2.0
    """
    return jnp.mean(jnp.square(predictions - targets))
