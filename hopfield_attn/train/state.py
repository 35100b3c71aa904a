"""What a training run carries from step to step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from hopfield_attn.typing import PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
    """Parameters, optimizer state and step: everything a checkpoint holds.

    Dropout keys and batches are functions of (seed, step), so nothing else has to be saved.

    Attributes:
      step: number of batches used, int32.
      params: nested dict of arrays.
      opt_state: of the optax optimizer.
      skipped_steps: steps so far whose loss or gradient was not finite, so without an update.
      skipped_in_a_row: of them, those since the last update.
    """

    step: Any  # int32 (); also shapes and shardings, where JAX maps over a state
    params: PyTree
    opt_state: Any
    skipped_steps: Any = dataclasses.field(default_factory=lambda: jnp.zeros((), jnp.int32))
    skipped_in_a_row: Any = dataclasses.field(default_factory=lambda: jnp.zeros((), jnp.int32))


@dataclasses.dataclass(frozen=True)
class ModelDefinition:
    """A model without its parameters: ``bind(params)`` gives it back.

    Attributes:
      graphdef: structure of the module.
      rest: variables that are not trained.
    """

    graphdef: Any
    rest: PyTree

    def bind(self, params: PyTree) -> Any:
        """Returns the module with ``params`` (a nested dict, traced or not)."""
        return nnx.merge(self.graphdef, params, self.rest)


def split_model(model: nnx.Module) -> tuple[ModelDefinition, PyTree]:
    """Splits a module into its definition and a nested dict of parameters."""
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    params, rest = states
    return ModelDefinition(graphdef, nnx.to_pure_dict(rest)), nnx.to_pure_dict(params)


def init_state(params: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update; copies ``params``, because updates donate them."""
    params = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
