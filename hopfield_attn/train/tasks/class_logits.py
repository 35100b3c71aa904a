"""Loss, predictions and scores of any model that gives one logit a class."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from flax import nnx

from hopfield_attn.train.losses import weighted_cross_entropy
from hopfield_attn.train.metrics import METRICS
from hopfield_attn.train.step import Batch, LossFn
from hopfield_attn.train.tasks.task import Outputs
from hopfield_attn.typing import Array

LogitsFn: TypeAlias = Callable[[Any, Batch, nnx.Rngs | None], Array]
"""(model, batch, rngs or None) → logits (b, classes)."""


def row_logits(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    """Logits of a model that takes tokens, mask and token types alone."""
    return model(batch["tokens"], batch["mask"], batch["token_types"], rngs=rngs)


def make_class_loss(logits_fn: LogitsFn) -> LossFn:
    """Returns the mean cross-entropy of ``batch["labels"]``, in nats."""

    def loss_fn(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
        labels = batch["labels"]
        return weighted_cross_entropy(logits_fn(model, batch, rngs), labels, jnp.ones(labels.shape))

    return loss_fn


def make_class_predictions(logits_fn: LogitsFn) -> Callable[[Any, Batch], dict[str, Array]]:
    """Returns ``predictions``, the class of the largest logit, and the ``logits`` themselves."""

    def predict_fn(model: Any, batch: Batch) -> dict[str, Array]:
        logits = logits_fn(model, batch, None)
        return {"predictions": jnp.argmax(logits, axis=-1), "logits": logits}

    return predict_fn


def make_scorer(names: Sequence[str]) -> Callable[[Outputs], dict[str, float]]:
    """Returns the metrics of ``predictions`` and ``labels`` with these names of ``METRICS``."""
    return lambda outputs: {
        name: METRICS[name](outputs["predictions"], outputs["labels"]) for name in names
    }


def majority_accuracy(labels: np.ndarray) -> float:
    """Accuracy of the commonest label.

    Example:
      >>> majority_accuracy(np.array([0, 1, 1, 2]))
      0.5
    """
    return float(np.max(np.unique(labels, return_counts=True)[1]) / len(labels))
