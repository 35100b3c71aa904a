"""One training step and one evaluation step: pure functions, compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx

from hopfield_attn.train.accumulate import Batch, WeightFn, accumulated, num_rows
from hopfield_attn.train.sharding import constrain_state, constrain_whole
from hopfield_attn.train.state import ModelDefinition, TrainState
from hopfield_attn.typing import Array, PyTree, Scalar

LossFn = Callable[[Any, Batch, nnx.Rngs | None], Scalar]
"""(model, batch, rngs or None) → mean loss."""


def make_train_step(
    definition: ModelDefinition,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    accumulate: int = 1,
    weight_fn: WeightFn = num_rows,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Returns the compiled step: (state, batch) → (next state, metrics); the state is donated.

    Dropout of step s uses ``fold_in(key(seed), s)``, so a resumed run draws what an uninterrupted
    one does.

    Args:
      definition: the model.
      loss_fn: (model, batch, rngs) → mean loss.
      optimizer: of optax.
      seed: of the dropout.
      accumulate: parts of the batch whose gradients are computed one after the other, see
        :func:`hopfield_attn.train.accumulate.accumulated`.
      weight_fn: batch → what its loss weighs in the mean over the parts.
    """

    @jax.jit(donate_argnums=0)
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_and_grads(params: PyTree, batch: Batch, key: Array) -> tuple[Scalar, PyTree]:
            def loss_of(params: PyTree) -> Scalar:
                return loss_fn(definition.bind(params), batch, nnx.Rngs(dropout=key))

            loss, grads = jax.value_and_grad(loss_of)(params)
            return loss, constrain_state(grads)

        compute = accumulated(loss_and_grads, weight_fn, num_parts=accumulate)
        loss, grads = compute(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        state = constrain_state(TrainState(state.step + 1, params, opt_state))
        return state, constrain_whole(metrics)

    return train_step


def make_predict_step(
    definition: ModelDefinition, predict_fn: Callable[[Any, Batch], dict[str, Array]]
) -> Callable[[PyTree, Batch], dict[str, Array]]:
    """Returns the compiled (params, batch) → outputs with the batch as their leading axis."""

    @jax.jit
    def predict_step(params: PyTree, batch: Batch) -> dict[str, Array]:
        return constrain_whole(predict_fn(definition.bind(params), batch))

    return predict_step
