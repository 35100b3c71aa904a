"""The tasks of a training run: data, model, loss and evaluation, by the name in ``config.task``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.train.tasks.classification import glue_blueprint, glue_task
from hopfield_attn.train.tasks.masked_lm import mlm_blueprint, mlm_task
from hopfield_attn.train.tasks.qa import qa_blueprint, qa_task
from hopfield_attn.train.tasks.quality import quality_blueprint, quality_task
from hopfield_attn.train.tasks.scrolls import scrolls_blueprint, scrolls_task
from hopfield_attn.train.tasks.superglue import superglue_blueprint, superglue_task
from hopfield_attn.train.tasks.synthetic import synthetic_blueprint, synthetic_task
from hopfield_attn.train.tasks.task import Blueprint, Task

TASKS: dict[str, Callable[[Any, Path], Task]] = {
    "mlm": mlm_task,
    "glue": glue_task,
    "superglue": superglue_task,
    "qa": qa_task,
    "quality": quality_task,
    "scrolls": scrolls_task,
    "synthetic": synthetic_task,
}
"""Task name → the function that builds it."""

BLUEPRINTS: dict[str, Callable[[Any], Blueprint]] = {
    "mlm": mlm_blueprint,
    "glue": glue_blueprint,
    "superglue": superglue_blueprint,
    "qa": qa_blueprint,
    "quality": quality_blueprint,
    "scrolls": scrolls_blueprint,
    "synthetic": synthetic_blueprint,
}
"""Task name → config.data → model and training step."""


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


def make_blueprint(config: Any) -> Blueprint:
    """Model and training step of ``config``, without reading any data.

    Args:
      config: a training config.

    Raises:
      ValueError: for an unknown task.
    """
    check_choice("task", config.task, BLUEPRINTS)
    return BLUEPRINTS[config.task](config.data)


def make_model(config: Any) -> nnx.Module:
    """The model that a run of ``config`` starts from; arguments as of :func:`make_blueprint`."""
    return make_blueprint(config).make_model(config.model.to_dict(), config.seed)


__all__ = ["TASKS", "Blueprint", "Task", "make_blueprint", "make_model", "make_task"]
