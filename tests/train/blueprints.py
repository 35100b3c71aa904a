"""What tests do with the part of a task that is known without data."""

import dataclasses

from hopfield_attn.train.step import LossFn
from hopfield_attn.train.tasks import Task


def check_rows(task: Task) -> None:
    """The batches have every row of the blueprint, in its shape and dtype."""
    batch = task.batches[0]
    for name, row in task.blueprint.rows.items():
        assert (row.shape, row.dtype) == (batch[name].shape[1:], batch[name].dtype), name


def with_loss(task: Task, loss_fn: LossFn) -> Task:
    """The same task with another loss."""
    return dataclasses.replace(task, blueprint=task.blueprint._replace(loss_fn=loss_fn))
