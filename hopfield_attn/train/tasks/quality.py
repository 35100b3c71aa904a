"""QuALITY: multiple choice on long articles, in windows or in one long window."""

from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.choice_encoding import choice_rows
from hopfield_attn.data.quality import NUM_OPTIONS, read_quality
from hopfield_attn.data.quality_hub import read_quality_hub
from hopfield_attn.data.window_encoding import encode_window_choices
from hopfield_attn.models.choice_head import max_over_windows
from hopfield_attn.models.registry import make_multiple_choice
from hopfield_attn.train.metrics import accuracy
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.class_logits import (
    majority_accuracy,
    make_class_loss,
    make_class_predictions,
)
from hopfield_attn.train.tasks.reading import read_splits
from hopfield_attn.train.tasks.task import (
    Blueprint,
    Outputs,
    Task,
    model_maker,
    run_tokenizer,
    window_rows,
)
from hopfield_attn.typing import Array


def quality_task(config: Any, workdir: Path) -> Task:
    """QuALITY from a folder or the hub (``config.data.dir``), in ``data.num_windows`` windows."""
    data = config.data
    files = "QuALITY.VERSION.train and QuALITY.VERSION.dev, or hub:tasksource/QuALITY"
    train, held_out, facts = read_splits(
        data, read_quality, read_quality_hub, held_out="dev", files=files
    )
    texts = dict.fromkeys(
        text for row in choice_rows(train) for text in (row.sentence1, row.sentence2) if text
    )
    tokenizer = run_tokenizer(list(texts), config, workdir)
    sources = [
        encode_window_choices(
            tokenizer, rows, length=data.length, num_windows=data.num_windows, stride=data.stride
        )
        for rows in (train, held_out)
    ]
    labels = sources[1].arrays["labels"]
    return Task(
        batches=make_batches(sources[0], batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"dev": sources[1]},
        watched_set="dev",
        blueprint=quality_blueprint(data),
        predict_fn=make_class_predictions(_window_logits),
        score_fn=score_choices,
        main_metric="accuracy",
        baselines={
            "chance_accuracy": 1 / NUM_OPTIONS,
            "majority_accuracy": majority_accuracy(labels),
        },
        facts=facts,
    )


def quality_blueprint(data: Any) -> Blueprint:
    """A model of multiple choice, and the windows of every option."""
    rows = window_rows(NUM_OPTIONS, data.num_windows, length=data.length)
    return Blueprint(model_maker(make_multiple_choice, data), _loss, rows)


def score_choices(outputs: Outputs) -> dict[str, float]:
    """Accuracy on all questions, and on the difficult ones where there are any."""
    predictions, labels = outputs["predictions"], outputs["labels"]
    scores = {"accuracy": accuracy(predictions, labels)}
    hard = np.flatnonzero(outputs["difficult"])
    if len(hard):
        scores["difficult_accuracy"] = accuracy(predictions[hard], labels[hard])
    return scores


def _window_logits(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    windows = batch["windows"]
    rows = (
        batch[name].reshape(len(windows), -1, batch[name].shape[-1])
        for name in ("tokens", "mask", "token_types")
    )
    return max_over_windows(model(*rows, rngs=rngs).reshape(windows.shape), windows)


_loss = make_class_loss(_window_logits)
