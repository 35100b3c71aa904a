"""Evaluates a trained run once more, from its folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.files import read_json, without_nonfinite, write_json
from hopfield_attn.train.evaluate import evaluate
from hopfield_attn.train.run_folder import flatten
from hopfield_attn.train.step import make_predict_step
from hopfield_attn.train.tasks import make_task
from hopfield_attn.train.trained import load_run, load_run_tokenizer, tokenizer_folder
from hopfield_attn.train.work import WORK_BEGUN


def evaluate_run(
    config: Any, workdir: Path, *, sets: Sequence[str] = (), say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Scores the newest checkpoint of a run, and writes ``evaluation.json`` into its folder.

    Args:
      config: the config of the run, from its ``config.json``; what does not change the parameters
        may be set anew: where the data is, the number of steps T.
      workdir: the run folder.
      sets: names of evaluation sets; none is all.
      say: prints a line about examples with an output that is not finite.

    Returns:
      What the file holds: ``step``, ``evaluations`` as in ``result.json``, and ``config_changes``,
      the values that differ from those of the run, by dotted key.

    Raises:
      ValueError: for a set that the task does not have.
      FileNotFoundError: when the run has not saved a step, or its data is missing.
    """
    # Without it the task would train another one.
    load_run_tokenizer(config, workdir)
    task = make_task(_with_little_training_data(config), tokenizer_folder(workdir))
    run = load_run(config, workdir)
    for name in sets:
        check_choice("the evaluation set", name, task.evaluation_sets)
    predict_step = make_predict_step(run.definition, task.predict_fn)
    size = config.train.eval_batch_size
    WORK_BEGUN.set()
    value = {
        "step": run.step,
        "evaluations": {
            name: evaluate(task, name, run.params, predict_step, batch_size=size, say=say)
            for name in sets or task.evaluation_sets
        },
        "config_changes": _changes(config, workdir),
    }
    write_json(workdir / "evaluation.json", without_nonfinite(value))
    return value


def _with_little_training_data(config: Any) -> Any:
    """The same evaluation sets; of the training set as little as a batch, where that is free."""
    little = type(config)(json.loads(config.to_json()))
    data, batch_size = little.data, config.train.batch_size
    data.max_train_examples = min(data.max_train_examples or batch_size, batch_size)
    data.num_train_examples = min(data.num_train_examples, batch_size)
    return little


def _changes(config: Any, workdir: Path) -> dict[str, Any]:
    """Values of ``config`` by key where the run has others; a key it does not have is as it was."""
    before = flatten(read_json(workdir / "config.json"))
    after = flatten(json.loads(config.to_json()))
    return {key: after[key] for key in after if key in before and after[key] != before[key]}
