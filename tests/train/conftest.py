"""Fixtures of the training tests: a tiny recall run."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from configs.defaults import get_defaults
from hopfield_attn.train import loop
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.step import LossFn
from hopfield_attn.train.tasks import make_task
from tests.train.blueprints import with_loss

# One of two heads is non-linear and dropout is on: what a resumed run must repeat bit by bit.
TINY = {
    "task": "synthetic",
    "data.task": "recall",
    "data.num_pairs": 2,
    "data.num_keys": 6,
    "data.num_values": 3,
    "data.num_train_examples": 64,
    "data.num_eval_examples": 20,
    "model.width": 16,
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.mlp_width": 16,
    "model.heads": "identity:1,quadratic:1",
    "model.num_steps": 2,
    "model.alpha_init": 0.1,
    "model.dropout_rate": 0.1,
    "model.attention_dropout_rate": 0.1,
    "optimizer.alpha_rate": 3.0,
    "train.num_steps": 12,
    "train.batch_size": 8,
    "train.eval_batch_size": 16,
    "train.log_every": 1,
    "train.eval_every": 0,
    "train.checkpoint_every": 4,
}


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Any]:
    """(changes by dotted key) → config of a tiny run."""

    def make(changes: dict[str, Any] | None = None) -> Any:
        config = get_defaults()
        config.update_from_flattened_dict(TINY | (changes or {}))
        return config

    return make


@pytest.fixture
def quiet() -> Console:
    """A console that is no terminal; ``quiet.file.getvalue()`` is what was printed."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="session")
def train() -> Callable[..., loop.TrainedModel]:
    """(config, folder) → trained model, made as ``hopfield_attn.train.main.run`` does."""

    def train(config: Any, workdir: Path, *, loss_fn: LossFn | None = None) -> loop.TrainedModel:
        open_run_folder(workdir, config)
        task = make_task(config, workdir)
        if loss_fn is not None:
            task = with_loss(task, loss_fn)
        return loop.train(config, workdir, task, title="tiny", console=Console(file=io.StringIO()))

    return train
