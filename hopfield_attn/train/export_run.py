"""A trained run as a folder that transformers and ``models.load_pretrained`` read."""

from pathlib import Path
from typing import Any

from hopfield_attn.data.glue_tasks import GLUE_TASKS
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS
from hopfield_attn.models.export import save_pretrained
from hopfield_attn.train.trained import TASKS_WITHOUT_TEXT, load_run


def export_run(config: Any, workdir: Path, target: Path) -> int:
    """Writes the newest parameters of a run, its tokenizer and its label names into ``target``.

    Args:
      config: the config of the run.
      workdir: the run folder, or the ``baseline`` folder in one.
      target: the new folder.

    Returns:
      The updates that made the parameters.

    Raises:
      FileExistsError: the target holds a model already.
      FileNotFoundError: the run has saved nothing.
      ValueError: for a run of a generated task, whose head the format does not have, and for a
        pre-norm encoder.
    """
    if (target / "config.json").exists():
        raise FileExistsError(f"{target}: has a config.json; name a new folder")
    if config.task in TASKS_WITHOUT_TEXT:
        raise ValueError(
            f"{workdir}: the head of a generated task, which classifies single tokens, has no "
            f"counterpart in the format of BERT; expected a run of text, got task {config.task!r}"
        )
    run = load_run(config, workdir)
    save_pretrained(
        run.definition.bind(run.params),
        target,
        tokenizer=run.tokenizer,
        extra_config=labels_of(config),
    )
    return run.step


def labels_of(config: Any) -> dict[str, Any]:
    """What transformers wants to know of the outputs of a classifier: keys of its config.json."""
    if config.task == "glue":
        names = GLUE_TASKS[config.data.task].label_names
        if names is None:
            return {"num_labels": 1, "problem_type": "regression"}
    elif config.task == "superglue" and SUPERGLUE_TASKS[config.data.task].kind != "choice":
        names = SUPERGLUE_TASKS[config.data.task].label_names
    else:
        # One score a choice or a token has no names.
        return {}
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
