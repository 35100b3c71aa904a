"""The generated tasks: one way to train on all of them, an answer at every query position."""

from pathlib import Path
from typing import Any

import jax
from flax import nnx

from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.synthetic import synthetic_examples
from hopfield_attn.data.synthetic_tasks import make_synthetic_task
from hopfield_attn.models.registry import make_token_classifier
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.class_logits import (
    make_class_loss,
    make_class_predictions,
    make_scorer,
)
from hopfield_attn.train.tasks.task import Blueprint, Task
from hopfield_attn.typing import Array


def synthetic_task(config: Any, workdir: Path) -> Task:
    """The task ``config.data.task``: training, validation and test from seeds of their own."""
    data = config.data
    task = make_synthetic_task(data.task, data.to_dict())
    train, validation, test = (
        synthetic_examples(task, num_examples=number, seed=3 * config.seed + k)
        for k, number in enumerate(
            (data.num_train_examples, data.num_eval_examples, data.num_eval_examples)
        )
    )
    return Task(
        batches=make_batches(train, batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"validation": validation, "test": test},
        watched_set="validation",
        blueprint=synthetic_blueprint(data),
        predict_fn=make_class_predictions(query_logits),
        score_fn=make_scorer(("accuracy",)),
        main_metric="accuracy",
        baselines=task.baselines,
        facts={"length": task.length, "vocab_size": task.vocab_size, "synthetic_task": str(task)},
    )


def synthetic_blueprint(data: Any) -> Blueprint:
    """A token classifier for a generated task, which has ids of its own and no tokenizer."""
    task = make_synthetic_task(data.task, data.to_dict())

    def make_model(model_config: Any, seed: int) -> nnx.Module:
        return make_token_classifier(
            model_config,
            vocab_size=task.vocab_size,
            max_length=task.length,
            num_outputs=task.num_outputs,
            seed=seed,
        )

    example = synthetic_examples(task, num_examples=1, seed=0)[0]
    rows = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in example.items()}
    return Blueprint(make_model, _loss, rows)


def query_logits(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    """Logits (b, q, classes) at the query positions."""
    inputs = (batch[name] for name in ("tokens", "mask", "token_types", "positions"))
    return model(*inputs, rngs=rngs)


_loss = make_class_loss(query_logits)
