"""One training step and one evaluation step: pure functions, compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx

from hopfield_attn.train.state import ModelDefinition, TrainState
from hopfield_attn.typing import Array, PyTree, Scalar

Batch = dict[str, Array]
LossFn = Callable[[Any, Batch, nnx.Rngs | None], Scalar]
"""(model, batch, rngs or None) → mean loss."""


def make_train_step(
    definition: ModelDefinition,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Returns the compiled step: (state, batch) → (next state, metrics); the state is donated.

    Dropout of step s uses ``fold_in(key(seed), s)``, so a resumed run draws what an uninterrupted
    one does.
    """

    @jax.jit(donate_argnums=0)
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_of(params: PyTree) -> Scalar:
            return loss_fn(definition.bind(params), batch, nnx.Rngs(dropout=key))

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def make_predict_step(
    definition: ModelDefinition, predict_fn: Callable[[Any, Batch], dict[str, Array]]
) -> Callable[[PyTree, Batch], dict[str, Array]]:
    """Returns the compiled (params, batch) → outputs with the batch as their leading axis."""

    @jax.jit
    def predict_step(params: PyTree, batch: Batch) -> dict[str, Array]:
        return predict_fn(definition.bind(params), batch)

    return predict_step
