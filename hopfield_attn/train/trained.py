"""A trained run from its folder alone: tokenizer, model and newest parameters; no data is read."""

import dataclasses
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from hopfield_attn.data.tokenizer import load_tokenizer
from hopfield_attn.train.state import ModelDefinition, split_model
from hopfield_attn.train.tasks import make_model
from hopfield_attn.train.tasks.task import checked_tokenizer
from hopfield_attn.train.whole_checkpoint import restore_params
from hopfield_attn.typing import PyTree

TASKS_WITHOUT_TEXT = ("synthetic",)


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """What a run folder holds.

    Attributes:
      config: the config of the run.
      tokenizer: of the run; ``None`` where the task has no text.
      definition: ``definition.bind(params)`` is the model.
      params: the newest parameters that were saved.
      step: updates that made them.
    """

    config: Any
    tokenizer: Tokenizer | None
    definition: ModelDefinition
    params: PyTree
    step: int


def load_run(config: Any, workdir: Path) -> TrainedRun:
    """Loads the model of a run, finished or not; no data is read.

    Args:
      config: the config of the run, from its ``config.json``; what does not change the parameters
        may be set anew.
      workdir: the run folder, or the ``baseline`` folder in one.

    Raises:
      FileNotFoundError: the tokenizer is missing, or no step was saved.
      ValueError: the config is that of a model with other parameters.
    """
    tokenizer = load_run_tokenizer(config, workdir)
    definition, initial = split_model(make_model(config))
    step, params = restore_params(workdir / "checkpoints", initial)
    return TrainedRun(config, tokenizer, definition, params, step)


def load_run_tokenizer(config: Any, workdir: Path) -> Tokenizer | None:
    """The tokenizer of a run; ``None`` where its task has no text.

    Raises:
      FileNotFoundError: the folder has none.
      ValueError: it has more ids than the model.
    """
    if config.task in TASKS_WITHOUT_TEXT:
        return None
    path = tokenizer_folder(workdir) / "tokenizer.json"
    return checked_tokenizer(load_tokenizer(path), config, source=path)


def tokenizer_folder(workdir: Path) -> Path:
    """The folder whose tokenizer a run uses: a linear baseline has that of the run it belongs to.

    Example:
      >>> tokenizer_folder(Path("runs/mine/baseline"))
      PosixPath('runs/mine')
    """
    is_baseline = workdir.name == "baseline" and not (workdir / "tokenizer.json").is_file()
    return workdir.parent if is_baseline else workdir
