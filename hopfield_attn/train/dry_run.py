"""What a run would take: parameters, operations and memory of its step, without any data."""

import math
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

from hopfield_attn.ops.partition import BATCH
from hopfield_attn.train.config_checks import check_config
from hopfield_attn.train.flops import step_flops
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.pretrained import adopt_pretrained
from hopfield_attn.train.sharding import leaf_spec, make_mesh
from hopfield_attn.train.state import init_state, split_model
from hopfield_attn.train.step import make_train_step
from hopfield_attn.train.tasks import make_blueprint
from hopfield_attn.typing import PyTree


class Estimate(NamedTuple):
    """What a training step takes.

    Attributes:
      num_parameters: trained numbers.
      mesh: axis → devices.
      model_flops: operations of a step on all devices, by :mod:`hopfield_attn.train.flops`.
      compiled_flops: of a step on one device, as the compiler counts: a loop counts once.
      state_bytes: parameters, optimizer state and batch on a device.
      temporary_bytes: what the step needs besides.
    """

    num_parameters: int
    mesh: dict[str, int]
    model_flops: int
    compiled_flops: float
    state_bytes: int
    temporary_bytes: int


def dry_run(config: Any, *, console: Console | None = None) -> Estimate:
    """Compiles the training step of ``config`` for the devices there are, and says what it takes.

    A tokenizer that is yet to be trained is taken to have ``data.vocab_size`` ids.

    Args:
      config: a training config.
      console: where to print; ``None`` is the terminal.

    Raises:
      ValueError: if the config is not usable.
    """
    adopt_pretrained(config)
    check_config(config)
    estimate = estimate_step(config)
    console = console or Console()
    for line in describe(estimate):
        console.print(line, highlight=False)
    return estimate


def estimate_step(config: Any) -> Estimate:
    """Compiles the step from shapes alone; arguments as of :func:`dry_run`."""
    mesh = make_mesh(config.mesh.to_dict())
    blueprint = make_blueprint(config)
    model = nnx.eval_shape(lambda: blueprint.make_model(config.model.to_dict(), config.seed))
    definition, params = split_model(model)
    optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=config.train.num_steps)
    # Compiled functions can be lowered; the type of a step does not say so.
    step: Any = make_train_step(
        definition,
        blueprint.loss_fn,
        optimizer,
        accumulate=config.train.accumulate,
        weight_fn=blueprint.weight_fn,
    )
    state = jax.eval_shape(lambda params: init_state(params, optimizer), params)
    split = NamedSharding(mesh, PartitionSpec(BATCH))
    batch = {
        name: jax.ShapeDtypeStruct((config.train.batch_size, *row.shape), row.dtype, sharding=split)
        for name, row in blueprint.rows.items()
    }
    with jax.set_mesh(mesh):
        compiled = step.lower(_placed(state, mesh), batch).compile()
    *sequences, length = blueprint.rows["tokens"].shape
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Estimate(
        num_parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        mesh=dict(mesh.shape),
        model_flops=step_flops(config, length=length, num_sequences=math.prod(sequences)),
        compiled_flops=float(costs.get("flops", math.nan)),
        state_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
    )


def describe(estimate: Estimate) -> list[str]:
    """The lines that are printed."""
    mib = 2**20
    total = estimate.state_bytes + estimate.temporary_bytes
    return [
        f"parameters       {estimate.num_parameters:,}",
        f"devices          {' × '.join(f'{n} {axis}' for axis, n in estimate.mesh.items())}",
        f"operations       {estimate.model_flops:.3e} a step, all devices, by the model's count",
        f"                 {estimate.compiled_flops:.3e} a step and device, by the compiler's, "
        "which counts a loop once",
        f"memory a device  {total / mib:,.1f} MiB: {estimate.state_bytes / mib:,.1f} of state and "
        f"batch, {estimate.temporary_bytes / mib:,.1f} for the step",
        "No data was read and no folder made.",
    ]


def _placed(state: PyTree, mesh: Mesh) -> PyTree:
    def place(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, leaf_spec(path, leaf.shape, dict(mesh.shape)))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(place, state)
