"""The tasks of a training run: data, model, loss and evaluation, by the name in ``config.task``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.train.tasks.classification import (
    glue_inputs,
    glue_model,
    glue_task,
)
from hopfield_attn.train.tasks.masked_lm import mlm_inputs, mlm_model, mlm_task
from hopfield_attn.train.tasks.qa import qa_task
from hopfield_attn.train.tasks.quality import quality_task
from hopfield_attn.train.tasks.scrolls import scrolls_task
from hopfield_attn.train.tasks.superglue import superglue_task
from hopfield_attn.train.tasks.synthetic import (
    synthetic_inputs,
    synthetic_model,
    synthetic_task,
)
from hopfield_attn.train.tasks.task import ModelMaker, StepInputs, Task

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

MODELS: dict[str, Callable[[Any, int | None], ModelMaker]] = {
    "mlm": mlm_model,
    "glue": glue_model,
    "synthetic": synthetic_model,
}
"""Task name → (config.data, number of token ids) → the maker of its models."""


INPUTS: dict[str, Callable[[Any], StepInputs]] = {
    "mlm": mlm_inputs,
    "glue": glue_inputs,
    "synthetic": synthetic_inputs,
}
"""Task name → config.data → what its training step reads."""


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


def make_model(config: Any, *, vocab_size: int | None) -> nnx.Module:
    """Builds the model that a run of ``config`` starts from, without reading any data.

    Args:
      config: a training config.
      vocab_size: number of ids of the run's tokenizer; ``None`` where the task has none.

    Raises:
      ValueError: for an unknown task.
    """
    check_choice("task", config.task, MODELS)
    return MODELS[config.task](config.data, vocab_size)(config.model.to_dict(), config.seed)


__all__ = ["INPUTS", "MODELS", "TASKS", "Task", "make_model", "make_task"]
