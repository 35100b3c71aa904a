"""Classification and regression of sequences: GLUE."""

from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.data import glue, glue_encoding
from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.glue_hub import read_glue_hub
from hopfield_attn.data.hub import HUB_PREFIX
from hopfield_attn.data.length_groups import make_length_batches
from hopfield_attn.data.source import ArraySource
from hopfield_attn.models.registry import make_classifier
from hopfield_attn.train.losses import mean_squared_error
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.class_logits import (
    majority_accuracy,
    make_class_loss,
    make_class_predictions,
    make_scorer,
    row_logits,
)
from hopfield_attn.train.tasks.task import Blueprint, Task, model_maker, run_tokenizer, token_rows
from hopfield_attn.typing import Array


def glue_task(config: Any, workdir: Path) -> Task:
    """The GLUE task ``config.data.task``, from a local folder or the hub (``config.data.dir``)."""
    data = config.data
    check_choice("data.task", data.task, glue.GLUE_TASKS)
    task = glue.GLUE_TASKS[data.task]
    found = {split: read_split(data, split) for split in _labelled(task)}
    splits = {split: rows for split, (rows, _) in found.items()}
    train = splits.pop("train")[: data.max_train_examples or None]
    texts = [text for e in train for text in (e.sentence1, e.sentence2) if text]
    tokenizer = run_tokenizer(texts, config, workdir)

    def encode(examples: list) -> ArraySource:
        return glue_encoding.encode_examples(tokenizer, examples, length=data.length)

    is_score = task.label_names is None
    labels = np.array([e.label for examples in splits.values() for e in examples])
    return Task(
        batches=_make_batches(encode(train), config),
        evaluation_sets={split: encode(examples) for split, examples in splits.items()},
        watched_set=next(iter(splits)),
        blueprint=glue_blueprint(data),
        predict_fn=_regression_predict if is_score else _classifier_predict,
        score_fn=make_scorer(task.metrics),
        main_metric=task.metrics[0],
        baselines={} if is_score else {"majority_accuracy": majority_accuracy(labels)},
        facts={
            "num_train_examples": len(train),
            "bad_rows": [line for _, skipped in found.values() for line in skipped],
        },
    )


def _make_batches(source: ArraySource, config: Any) -> Any:
    size, multiple = config.train.batch_size, config.data.length_multiple
    if not multiple:
        return make_batches(source, batch_size=size, seed=config.seed)
    return make_length_batches(source, batch_size=size, seed=config.seed, multiple=multiple)


def glue_blueprint(data: Any) -> Blueprint:
    """A classifier for the GLUE task ``data.task``, or a regression for one with scores."""
    task = glue.find_task(data.task)
    make_model = model_maker(make_classifier, data, num_outputs=task.num_labels)
    if task.label_names is None:
        return Blueprint(make_model, _regression_loss, token_rows(data.length, labels=np.float32))
    return Blueprint(make_model, _classifier_loss, token_rows(data.length, labels=np.int32))


_classifier_loss = make_class_loss(row_logits)
_classifier_predict = make_class_predictions(row_logits)


def _regression_loss(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    return mean_squared_error(row_logits(model, batch, rngs)[:, 0], batch["labels"])


def _regression_predict(model: Any, batch: Batch) -> dict[str, Array]:
    return {"predictions": row_logits(model, batch, None)[:, 0]}


def read_split(data: Any, split: str) -> tuple[list[glue.Example], list[str]]:
    """Reads a split of the GLUE task ``data.task``, from where ``data.dir`` says.

    Returns:
      The rows, and a line for each bad one that was left out.
    """
    if not data.dir:
        raise ValueError(
            "data.dir must name the folder with the GLUE task folders (CoLA, SST-2, …), or a hub "
            "repository, hub:nyu-mll/glue; set it with --config.data.dir=FOLDER"
        )
    if data.dir.startswith(HUB_PREFIX):
        repository = data.dir.removeprefix(HUB_PREFIX)
        return read_glue_hub(repository, data.task, split, revision=data.revision), []
    return glue.read_glue(data.dir, data.task, split, max_bad_rows=data.max_bad_rows)


def _labelled(task: glue.GlueTask) -> list[str]:
    return [split for split in task.splits if not split.startswith("test")]
