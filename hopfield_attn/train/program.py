"""The compiled parts of a run: its training step, the evaluation of a set, and the energies."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from hopfield_attn.train.energies import (
    energy_batch,
    energy_metrics,
    has_energies,
    make_energy_step,
)
from hopfield_attn.train.evaluate import evaluate
from hopfield_attn.train.interrupt import Interrupted, InterruptFlag
from hopfield_attn.train.processes import Watchdog, any_process
from hopfield_attn.train.sharding import round_up, shard_batch
from hopfield_attn.train.state import ModelDefinition, TrainState
from hopfield_attn.train.step import make_predict_step, make_train_step
from hopfield_attn.train.tasks import Task
from hopfield_attn.train.work import WORK_BEGUN


class Program(NamedTuple):
    """The compiled parts of a run.

    Attributes:
      advance: (state, batch on the host) → (next state, metrics).
      score: (state, name of an evaluation set) → metrics; raises ``Interrupted`` after the batch
        in which the run was asked to stop.
      energies: state → figures of the non-linear heads by layer, on one batch of the watched set;
        ``None`` for a model without such heads.
    """

    advance: Callable[[TrainState, Any], tuple[TrainState, Any]]
    score: Callable[[TrainState, str], dict[str, float]]
    energies: Callable[[TrainState], dict[str, float]] | None


def make_program(
    config: Any,
    task: Task,
    definition: ModelDefinition,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh,
    watchdog: Watchdog,
    interrupt: InterruptFlag,
    say: Callable[[str], None],
) -> Program:
    """Returns what ``config`` describes, to be compiled at its first use.

    Args:
      config: a training config.
      task: loss, predictions and evaluation sets.
      definition: the model.
      optimizer: of optax.
      mesh: where it runs.
      watchdog: hears of every step and every batch.
      interrupt: asked after every batch of an evaluation.
      say: prints a line about examples with an output that is not finite.
    """
    train_step = make_train_step(
        definition,
        task.blueprint.loss_fn,
        optimizer,
        accumulate=config.train.accumulate,
        weight_fn=task.blueprint.weight_fn,
        max_skipped_steps=config.train.max_skipped_steps,
    )
    predict_step = make_predict_step(definition, task.predict_fn)
    energy_step = make_energy_step(definition)
    seed = np.uint32(config.seed % 2**32)
    size = round_up(config.train.eval_batch_size, mesh)

    def advance(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
        watchdog.beat()
        with jax.set_mesh(mesh):
            found = train_step(state, shard_batch(batch, mesh), seed)
        # Once it is compiled: a config that no model can have may first be noticed there.
        WORK_BEGUN.set()
        return found

    def predict(params: Any, batch: Any) -> dict[str, Any]:
        watchdog.beat()
        with jax.set_mesh(mesh):
            return predict_step(params, shard_batch(batch, mesh))

    def score(state: TrainState, name: str) -> dict[str, float]:
        def stop_if_asked() -> None:
            if any_process(interrupt.is_set):
                raise Interrupted(int(state.step))

        return evaluate(
            task,
            name,
            state.params,
            predict,
            batch_size=size,
            say=say,
            after_batch=stop_if_asked,
        )

    def energies(state: TrainState) -> dict[str, float]:
        watchdog.beat()
        rows, is_real = energy_batch(
            task.evaluation_sets[task.watched_set],
            batch_size=size,
            num_heads=config.model.num_heads,
            mesh=mesh,
        )
        with jax.set_mesh(mesh):
            found = energy_step(state.params, shard_batch(rows, mesh))
        return energy_metrics(jax.device_get(found), is_real)

    return Program(advance, score, energies if has_energies(config.model.to_dict()) else None)
