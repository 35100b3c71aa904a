import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.train import loop, program, step_loop
from hopfield_attn.train.config_checks import check_train_config
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.step_loop import format_scores
from hopfield_attn.train.tasks import make_task
from hopfield_attn.train.work import WORK_BEGUN
from tests.train.blueprints import with_loss


def linear_loss(model, batch, rngs):
    """Fast to compile; uses the batch, so that batches matter."""
    weights = batch["labels"].astype(jnp.float32)
    return jnp.mean(jnp.square(model.out.kernel[...]) * jnp.mean(weights) + 1.0)


@pytest.fixture
def settings():
    return {"model.heads": "identity", "train.log_every": 1, "train.checkpoint_every": 5}


def test_loss_falls_on_a_task_that_can_be_learned(make_config, train, tmp_path):
    config = make_config(
        {
            "data.num_train_examples": 8,
            "model.heads": "identity:1,quadratic:1",
            "model.dropout_rate": 0.0,
            "model.attention_dropout_rate": 0.0,
            "optimizer.learning_rate": 2e-2,
            "train.num_steps": 60,
            "train.log_every": 20,
            "train.checkpoint_every": 60,
        }
    )
    train(config, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path)]
    # Eight examples are learned by heart; guessing costs log 3 = 1.1.
    assert losses[-1] < 0.2 * math.log(3)


def test_work_has_begun_once_a_step_is_made(make_config, train, tmp_path, settings):
    WORK_BEGUN.clear()
    with pytest.raises(ValueError, match="log_every must be >= 1"):
        train(make_config(settings | {"train.log_every": 0}), tmp_path / "wrong")
    assert not WORK_BEGUN.is_set()
    train(make_config(settings | {"train.num_steps": 1}), tmp_path / "run", loss_fn=linear_loss)
    assert WORK_BEGUN.is_set()


def test_seed_changes_the_run_and_nothing_else_does(make_config, train, tmp_path, settings):
    def first_losses(name, **changes):
        config = make_config(settings | {"train.num_steps": 2} | changes)
        train(config, tmp_path / name, loss_fn=linear_loss)
        return [row["loss_hex"] for row in read_metrics(tmp_path / name)]

    losses = first_losses("first")
    assert first_losses("again") == losses
    assert first_losses("threads", **{"data.num_threads": 3}) == losses
    assert first_losses("seed", seed=1) != losses


def test_runs_that_differ_in_their_seed_are_one_program(make_config, train, tmp_path, monkeypatch):
    original, programs, seeds = program.make_train_step, [], []

    def seen(*args, **kwargs):
        step = original(*args, **kwargs)

        def advance(state, batch, seed):
            programs.append(step.lower(state, batch, seed).as_text())
            seeds.append(int(seed))
            return step(state, batch, seed)

        return advance

    monkeypatch.setattr(program, "make_train_step", seen)
    for seed in (0, 3, 2**32 + 5):
        config = make_config({"train.num_steps": 1, "seed": seed})
        train(config, tmp_path / str(seed))
    assert seeds == [0, 3, 5]
    assert len(set(programs)) == 1


def test_evaluations_happen_when_they_are_due(make_config, tmp_path, quiet, settings, monkeypatch):
    config = make_config(settings | {"train.num_steps": 6, "train.eval_every": 2})
    open_run_folder(tmp_path, config)
    scored = []
    original = program.evaluate

    def record(task, name, *args, **kwargs):
        scored.append(name)
        return original(task, name, *args, **kwargs)

    monkeypatch.setattr(program, "evaluate", record)
    task = with_loss(make_task(config, tmp_path), linear_loss)
    loop.train(config, tmp_path, task, title="a run", console=quiet)
    # At steps 2 and 4 the watched set; both sets at the end.
    assert scored == ["validation", "validation", "validation", "test"]
    lines = quiet.file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines if "validation" in line] == [
        "a run: step 2",
        "a run: step 4",
    ]


class Watched:
    """A metric that says when it is fetched."""

    def __init__(self, value, say):
        self._value, self._say = value, say

    def __float__(self):
        self._say()
        return float(self._value)


def test_metrics_are_fetched_once_and_when_the_next_step_is_dispatched(
    make_config, train, tmp_path, settings, monkeypatch
):
    events = []
    original = program.make_train_step

    def make(*args, **kwargs):
        step = original(*args, **kwargs)

        def train_step(state, batch, seed):
            number = sum(kind == "dispatch" for kind, _ in events) + 1
            events.append(("dispatch", number))
            state, metrics = step(state, batch, seed)
            norm = Watched(metrics["grad_norm"], lambda: events.append(("fetch", number)))
            return state, metrics | {"grad_norm": norm}

        return train_step

    monkeypatch.setattr(program, "make_train_step", make)
    # Every step is logged; step 2 is saved as well, which fetches its metrics first.
    changes = {"train.num_steps": 4, "train.checkpoint_every": 2}
    train(make_config(settings | changes), tmp_path, loss_fn=linear_loss)
    order = [f"{kind} {number}" for kind, number in events]
    assert order == [
        "dispatch 1",
        "dispatch 2",
        "fetch 1",
        "fetch 2",
        "dispatch 3",
        "dispatch 4",
        "fetch 3",
        "fetch 4",
    ]


def test_interruption_before_the_baseline_and_the_evaluations_is_not_lost(
    make_config, train, tmp_path, settings, monkeypatch
):
    """A signal in the last step: nothing is started that the user did not wait for."""
    config = make_config(settings | {"train.num_steps": 3})
    original = step_loop.iterate_batches

    def iterate(*args, **kwargs):
        for step, batch in enumerate(original(*args, **kwargs)):
            if step == 2:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    monkeypatch.setattr(step_loop, "iterate_batches", iterate)
    with pytest.raises(Interrupted) as stopped:
        train(config, tmp_path, loss_fn=linear_loss)
    assert stopped.value.step == 3
    assert not (tmp_path / "result.json").exists()
    monkeypatch.undo()
    model = train(config, tmp_path, loss_fn=linear_loss)
    assert model.result["num_steps"] == 3
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]


def test_trained_model_computes_with_the_trained_parameters(make_config, train, tmp_path, settings):
    config = make_config(settings | {"train.num_steps": 2, "optimizer.learning_rate": 0.1})
    trained = train(config, tmp_path, loss_fn=linear_loss)
    model = trained.definition.bind(trained.params)
    np.testing.assert_array_equal(model.out.kernel[...], trained.params["out"]["kernel"])
    initial = make_task(config, tmp_path).blueprint.make_model(config.model.to_dict(), config.seed)
    assert not np.array_equal(model.out.kernel[...], initial.out.kernel[...])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained.params))


@pytest.mark.core
@pytest.mark.parametrize(
    "key",
    [
        "train.num_steps",
        "train.batch_size",
        "train.eval_batch_size",
        "train.log_every",
        "train.checkpoint_every",
        "train.keep_checkpoints",
        "train.max_skipped_steps",
    ],
)
def test_counts_that_no_run_can_have_are_refused_by_name(key, make_config):
    with pytest.raises(ValueError, match=rf"{key} must be >= 1; got 0"):
        check_train_config(make_config({key: 0}))
    check_train_config(make_config({"train.eval_every": 0}))


@pytest.mark.core
def test_negative_counts_are_refused(make_config):
    for key in ("seed", "train.eval_every", "data.max_train_examples", "data.max_bad_rows"):
        with pytest.raises(ValueError, match=rf"{key} must be >= 0; got -1"):
            check_train_config(make_config({key: -1}))


@pytest.mark.core
def test_scores_are_one_line():
    assert format_scores({"accuracy": 0.25, "loss": 1.5}) == "accuracy 0.2500  loss 1.5000"
