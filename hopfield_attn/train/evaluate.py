"""Evaluation of a whole set of examples."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hopfield_attn.data.batches import EXAMPLE_WEIGHTS, eval_batches
from hopfield_attn.data.source import RandomAccess
from hopfield_attn.train.tasks import Task
from hopfield_attn.train.tasks.task import Outputs
from hopfield_attn.typing import PyTree

ENCODER_ROWS = ("tokens", "mask", "token_types", "windows")
"""Inputs of a model that no metric needs, and that are most of what a batch holds."""


def evaluate(
    task: Task,
    name: str,
    params: PyTree,
    predict_step: Callable[[PyTree, Any], dict[str, Any]],
    *,
    batch_size: int,
    say: Callable[[str], None] = print,
    after_batch: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Scores the parameters on the evaluation set ``name``, every example counted once.

    Args:
      task: the task.
      name: a key of ``task.evaluation_sets``.
      params: parameters of the model.
      predict_step: of :func:`hopfield_attn.train.step.make_predict_step`.
      batch_size: examples a batch; the last one is filled up and the filling left out.
      say: prints a line about examples with an output that is not finite.
      after_batch: called after every batch; may raise, to stop.

    Returns:
      Metric name → value.
    """
    outputs = predict_rows(
        task.evaluation_sets[name],
        params,
        predict_step,
        batch_size=batch_size,
        say=lambda line: say(f"{name}: {line}"),
        after_batch=after_batch,
    )
    return task.score_fn(outputs)


def predict_rows(
    rows: RandomAccess[Any],
    params: PyTree,
    predict_step: Callable[[PyTree, Any], dict[str, Any]],
    *,
    batch_size: int,
    say: Callable[[str], None] = print,
    after_batch: Callable[[], None] = lambda: None,
) -> Outputs:
    """What the model says of all rows, and their other columns, in their order.

    Args:
      rows: at least one.
      params: as for :func:`evaluate`, and the rest too.
      predict_step: the same.
      batch_size: the same.
      say: the same.
      after_batch: the same.

    Returns:
      Name → array with an entry a row.
    """
    columns: dict[str, list[np.ndarray]] = {}
    num_bad = 0
    for batch in eval_batches(rows, batch_size=batch_size):
        kept = batch.pop(EXAMPLE_WEIGHTS) > 0
        outputs = {
            key: np.asarray(value)[kept] for key, value in predict_step(params, batch).items()
        }
        num_bad += _num_not_finite(outputs)
        targets = {key: batch[key][kept] for key in batch.keys() - ENCODER_ROWS}
        for key, value in (targets | outputs).items():
            columns.setdefault(key, []).append(value)
        after_batch()
    if num_bad:
        say(f"the model's outputs are not finite for {num_bad} of {len(rows)} examples")
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def _num_not_finite(outputs: Mapping[str, np.ndarray]) -> int:
    """Examples with an output that is not finite."""
    is_finite = [
        np.isfinite(value).reshape(len(value), -1).all(axis=1) for value in outputs.values()
    ]
    return int(np.sum(~np.logical_and.reduce(is_finite))) if is_finite else 0
