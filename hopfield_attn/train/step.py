"""One training step and one evaluation step: pure functions, compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from hopfield_attn.train.accumulate import Batch, WeightFn, accumulated, num_rows
from hopfield_attn.train.sharding import constrain_state, constrain_whole
from hopfield_attn.train.state import ModelDefinition, TrainState
from hopfield_attn.typing import Array, PyTree, Scalar, ScalarLike

LossFn = Callable[[Any, Batch, nnx.Rngs | None], Scalar]
"""(model, batch, rngs or None) → mean loss."""


def make_train_step(
    definition: ModelDefinition,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    weight_fn: WeightFn = num_rows,
    max_skipped_steps: int | None = 10,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Returns the compiled step: (state, batch, seed=0) → (next state, metrics); donates the state.

    Dropout of step s uses ``fold_in(key(seed), s)``, so a resumed run draws what an uninterrupted
    one does. The seed is an argument of the program instead of a part of it, so runs that differ in
    nothing else find each other's program in a compilation cache.

    A step whose loss or gradient norm is not finite is skipped: parameters and optimizer state stay
    as they are, bit by bit, and the step is counted. After ``max_skipped_steps`` in a row nothing
    is updated any more, so that the state is the same whenever the host looks.

    Args:
      definition: the model.
      loss_fn: (model, batch, rngs) → mean loss.
      optimizer: of optax.
      accumulate: parts of the batch whose gradients are computed one after the other, see
        :func:`hopfield_attn.train.accumulate.accumulated`.
      weight_fn: batch → what its loss weighs in the mean over the parts.
      max_skipped_steps: steps in a row without an update after which there is none any more;
        ``None``: no step is skipped, and one that is not finite is in the parameters for good.
    """

    @jax.jit(donate_argnums=0)
    def train_step(
        state: TrainState, batch: Batch, seed: ScalarLike = 0
    ) -> tuple[TrainState, dict[str, Array]]:
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
        norm = optax.tree.norm(grads)
        is_used = jnp.array(True)
        if max_skipped_steps is not None:
            is_used = jnp.isfinite(loss) & jnp.isfinite(norm)
            is_used &= state.skipped_in_a_row < max_skipped_steps
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(is_used, new, old),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        counts = {
            "skipped_steps": state.skipped_steps + ~is_used,
            "skipped_in_a_row": jnp.where(is_used, 0, state.skipped_in_a_row + 1),
        }
        state = constrain_state(TrainState(state.step + 1, params, opt_state, **counts))
        return state, constrain_whole({"loss": loss, "grad_norm": norm, **counts})

    return train_step


def make_predict_step(
    definition: ModelDefinition, predict_fn: Callable[[Any, Batch], dict[str, Array]]
) -> Callable[[PyTree, Batch], dict[str, Array]]:
    """Returns the compiled (params, batch) → outputs with the batch as their leading axis."""

    @jax.jit
    def predict_step(params: PyTree, batch: Batch) -> dict[str, Array]:
        return constrain_whole(predict_fn(definition.bind(params), batch))

    return predict_step
