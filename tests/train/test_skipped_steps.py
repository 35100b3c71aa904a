"""A loss or gradient that is not finite changes no bit of the parameters, and is counted."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.train import step_loop
from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.state import split_model
from hopfield_attn.train.step import make_train_step
from hopfield_attn.train.tasks import make_task
from hopfield_attn.train.whole_checkpoint import restore_params
from tests.train.test_resume import Killed, at_batch, kill, losses
from tests.train.test_step import BATCH, OPTIMIZER, Small, as_bytes, fresh, loss_fn


def faulty_loss(model, batch, rngs):
    """Multiplied by ``loss_factor``; plus a term that is 0, with ``slope`` as its gradient."""
    alpha = model.alpha[...]
    slope = batch["slope"][0]
    extra = jnp.where(slope > 0, slope * jnp.sum(alpha - jax.lax.stop_gradient(alpha)), 0.0)
    return loss_fn(model, batch, rngs) * batch["loss_factor"][0] + extra


@pytest.fixture(scope="module")
def train_step():
    definition, _ = split_model(Small(0.5))
    return make_train_step(definition, faulty_loss, OPTIMIZER, max_skipped_steps=3)


@pytest.fixture(scope="module")
def params():
    return split_model(Small(0.5))[1]


def batch_with(*, loss_factor=1.0, slope=0.0):
    factors = {"loss_factor": loss_factor, "slope": slope}
    return BATCH | {name: np.full(6, value, np.float32) for name, value in factors.items()}


GOOD, BAD = batch_with(), batch_with(loss_factor=math.nan)


@pytest.mark.parametrize(
    ("batch", "is_loss_finite"),
    [
        (BAD, False),
        (batch_with(loss_factor=math.inf), False),
        (batch_with(slope=3e38), True),  # finite gradients whose norm overflows
    ],
)
def test_step_that_is_not_finite_leaves_parameters_and_optimizer_bit_by_bit(
    batch, is_loss_finite, train_step, params
):
    state, _ = train_step(fresh(params), GOOD)
    before = as_bytes((state.params, state.opt_state))
    state, metrics = train_step(state, batch)
    assert bool(jnp.isfinite(metrics["loss"])) == is_loss_finite
    assert as_bytes((state.params, state.opt_state)) == before
    # The data moves on.
    assert int(state.step) == 2
    assert (int(state.skipped_steps), int(state.skipped_in_a_row)) == (1, 1)
    state, _ = train_step(state, GOOD)
    assert as_bytes(state.params) != before[: len(as_bytes(state.params))]
    assert (int(state.skipped_steps), int(state.skipped_in_a_row)) == (1, 0)


def test_without_the_guard_a_bad_batch_is_in_the_parameters_and_a_good_one_the_same(
    train_step, params
):
    definition, _ = split_model(Small(0.5))
    unguarded = make_train_step(definition, faulty_loss, OPTIMIZER, max_skipped_steps=None)
    (state, _), (expected, _) = (step(fresh(params), GOOD) for step in (unguarded, train_step))
    assert as_bytes(state.params) == as_bytes(expected.params)
    state, _ = unguarded(state, BAD)
    assert np.isnan(state.params["alpha"])
    assert (int(state.skipped_steps), int(state.skipped_in_a_row)) == (0, 0)


def test_after_too_many_in_a_row_nothing_is_updated_until_the_host_looks(train_step, params):
    state, _ = train_step(fresh(params), GOOD)
    before = as_bytes((state.params, state.opt_state))
    for _ in range(3):
        state, _ = train_step(state, BAD)
    for _ in range(2):
        state, metrics = train_step(state, GOOD)
    assert as_bytes((state.params, state.opt_state)) == before
    assert int(metrics["skipped_in_a_row"]) == 5


def test_skipped_steps_are_counted_across_a_checkpoint(train_step, params, tmp_path):
    state = fresh(params)
    for batch in (BAD, GOOD, BAD, BAD):
        state, _ = train_step(state, batch)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        checkpoints.finish()
        restored = checkpoints.restore_latest(fresh(params))
    assert (int(restored.skipped_steps), int(restored.skipped_in_a_row)) == (3, 2)
    assert restored.skipped_steps.dtype == jnp.int32


def with_bad_batches(monkeypatch, *, steps):
    """Turns the mask weights of these batches into what makes the loss NaN."""
    original = step_loop.iterate_batches

    def iterate(dataset, *, start_step, num_threads):
        batches = original(dataset, start_step=start_step, num_threads=num_threads)
        for step, batch in enumerate(batches, start=start_step + 1):
            bad = np.full(len(batch["labels"]), step in steps, np.float32)
            yield batch | {"is_bad": bad}

    monkeypatch.setattr(step_loop, "iterate_batches", iterate)


def loss_of_run(model, batch, rngs):
    bias = jnp.sum(model.out.bias[...]) + 1.0
    return jnp.where(jnp.max(batch["is_bad"]) > 0, jnp.nan, 1.0) * bias


@pytest.fixture
def config(make_config):
    return make_config({"model.heads": "identity", "train.max_skipped_steps": 3})


def test_run_goes_on_after_bad_batches_and_logs_them(config, train, tmp_path, monkeypatch):
    with_bad_batches(monkeypatch, steps=[2, 5, 6])
    trained = train(config, tmp_path, loss_fn=loss_of_run)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows if row["loss"] is None] == [2, 5, 6]
    assert rows[1]["loss_hex"] == "nan"
    assert [row["skipped_steps"] for row in rows] == [0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3]
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained.params))
    # JSON has no NaN.
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_run_that_was_killed_among_bad_batches_is_the_one_that_was_not(
    config, train, tmp_path, monkeypatch
):
    with_bad_batches(monkeypatch, steps=[4, 5, 9])
    expected = train(config, tmp_path / "expected", loss_fn=loss_of_run)
    at_batch(monkeypatch, 7, kill)
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", loss_fn=loss_of_run)
    found = train(config, tmp_path / "killed", loss_fn=loss_of_run)
    assert losses(tmp_path / "killed") == losses(tmp_path / "expected")
    assert as_bytes(found.params) == as_bytes(expected.params)
    assert read_metrics(tmp_path / "killed")[-1]["skipped_steps"] == 3


@pytest.mark.parametrize("log_every", [1, 100])
def test_too_many_bad_batches_in_a_row_stop_the_run_with_a_finite_state_on_disk(
    log_every, config, train, tmp_path, monkeypatch
):
    config.train.log_every = log_every
    with_bad_batches(monkeypatch, steps=range(6, 13))
    with pytest.raises(FloatingPointError, match="not finite since step 6, .* of step 5 are saved"):
        train(config, tmp_path, loss_fn=loss_of_run)
    newest = max(int(entry.name) for entry in (tmp_path / "checkpoints").iterdir())
    task = make_task(config, tmp_path)
    _, like = split_model(task.blueprint.make_model(config.model.to_dict(), config.seed))
    step, params = restore_params(tmp_path / "checkpoints", like)
    assert step == newest >= 8
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))
    assert not (tmp_path / "result.json").exists()
    last = read_metrics(tmp_path)[-1]
    assert last["loss"] is None
    assert 8 <= last["step"] <= newest
    # The same command says so at once.
    with pytest.raises(FloatingPointError, match="not finite for .* steps in a row"):
        train(config, tmp_path, loss_fn=loss_of_run)
