"""Evaluation of a whole set of examples."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hopfield_attn.data.batches import EXAMPLE_WEIGHTS, eval_batches
from hopfield_attn.train.tasks import Task
from hopfield_attn.typing import PyTree


def evaluate(
    task: Task,
    name: str,
    params: PyTree,
    predict_step: Callable[[PyTree, Any], dict[str, Any]],
    *,
    batch_size: int,
    after_batch: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Scores the parameters on the evaluation set ``name``, every example counted once.

    Args:
      task: the task.
      name: a key of ``task.evaluation_sets``.
      params: parameters of the model.
      predict_step: of :func:`hopfield_attn.train.step.make_predict_step`.
      batch_size: examples a batch; the last one is filled up and the filling left out.
      after_batch: called after every batch; may raise, to stop.

    Returns:
      Metric name → value.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for batch in eval_batches(task.evaluation_sets[name], batch_size=batch_size):
        kept = batch.pop(EXAMPLE_WEIGHTS) > 0
        outputs = {**batch, **predict_step(params, batch)}
        for key, value in outputs.items():
            columns.setdefault(key, []).append(np.asarray(value)[kept])
        after_batch()
    return task.score_fn({key: np.concatenate(parts) for key, parts in columns.items()})
