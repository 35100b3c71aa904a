"""Classification of long documents in the format of SCROLLS, in windows or in one long window."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.scrolls import SCROLLS_CLASSES, read_scrolls_pairs
from hopfield_attn.data.scrolls_hub import read_scrolls_pairs_hub
from hopfield_attn.data.window_encoding import encode_windows
from hopfield_attn.models.choice_head import max_over_windows
from hopfield_attn.models.registry import make_classifier
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.class_logits import (
    majority_accuracy,
    make_class_loss,
    make_class_predictions,
    make_scorer,
)
from hopfield_attn.train.tasks.reading import read_splits
from hopfield_attn.train.tasks.task import Blueprint, Task, model_maker, run_tokenizer, window_rows
from hopfield_attn.typing import Array


def scrolls_task(config: Any, workdir: Path) -> Task:
    """The task ``config.data.task`` of ``SCROLLS_CLASSES``, from a folder or the hub."""
    data = config.data
    blueprint = scrolls_blueprint(data)
    files = f"the folder {data.task}, with train.jsonl and validation.jsonl, or hub:tau/scrolls"
    train, held_out, facts = read_splits(
        data,
        read_scrolls_pairs,
        read_scrolls_pairs_hub,
        data.task,
        held_out="validation",
        files=files,
    )
    texts = dict.fromkeys(t for row in train for t in (row.sentence1, row.sentence2) if t)
    tokenizer = run_tokenizer(list(texts), config, workdir)
    sources = [
        encode_windows(
            tokenizer, rows, length=data.length, num_windows=data.num_windows, stride=data.stride
        )
        for rows in (train, held_out)
    ]
    labels = sources[1].arrays["labels"]
    return Task(
        batches=make_batches(sources[0], batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"validation": sources[1]},
        watched_set="validation",
        blueprint=blueprint,
        predict_fn=make_class_predictions(_window_logits),
        score_fn=make_scorer(("accuracy", "macro_f1")),
        main_metric="accuracy",
        baselines={"majority_accuracy": majority_accuracy(labels)},
        facts=facts,
    )


def scrolls_blueprint(data: Any) -> Blueprint:
    """A classifier of the task ``data.task``, and the windows of a document."""
    check_choice("data.task", data.task, SCROLLS_CLASSES)
    num_outputs = len(SCROLLS_CLASSES[data.task])
    make_model = model_maker(make_classifier, data, num_outputs=num_outputs)
    return Blueprint(make_model, _loss, window_rows(data.num_windows, length=data.length))


def _window_logits(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    """The logit of a class is its highest among the windows of the document."""
    windows = batch["windows"]
    rows = (
        batch[name].reshape(-1, batch[name].shape[-1]) for name in ("tokens", "mask", "token_types")
    )
    logits = model(*rows, rngs=rngs)
    scores = jnp.swapaxes(logits.reshape(*windows.shape, -1), 1, 2)
    return max_over_windows(scores, jnp.broadcast_to(windows[:, None], scores.shape))


_loss = make_class_loss(_window_logits)
