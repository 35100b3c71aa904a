"""The tasks of a training run: data, model, loss and evaluation, by the name in ``config.task``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.train.tasks.classification import glue_task, recall_task
from hopfield_attn.train.tasks.masked_lm import mlm_task
from hopfield_attn.train.tasks.qa import qa_task
from hopfield_attn.train.tasks.quality import quality_task
from hopfield_attn.train.tasks.scrolls import scrolls_task
from hopfield_attn.train.tasks.superglue import superglue_task
from hopfield_attn.train.tasks.task import Task

TASKS: dict[str, Callable[[Any, Path], Task]] = {
    "mlm": mlm_task,
    "glue": glue_task,
    "superglue": superglue_task,
    "qa": qa_task,
    "quality": quality_task,
    "scrolls": scrolls_task,
    "recall": recall_task,
}
"""Task name → the function that builds it."""


def make_task(config: Any, workdir: Path) -> Task:
    """Builds the task that ``config`` names.

    Args:
      config: a training config (``configs/defaults.py`` has every key).
      workdir: run folder; a tokenizer trained for the task is saved there, and one found there is
        used again.

    Raises:
      ValueError: for an unknown task, or data that does not fit.
      FileNotFoundError: when data is missing.
    """
    check_choice("task", config.task, TASKS)
    return TASKS[config.task](config, workdir)


__all__ = ["TASKS", "Task", "make_task"]
