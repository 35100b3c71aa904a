"""The mesh of a run, and where parameters, optimizer state and batches lie on it.

The axes are those of :mod:`hopfield_attn.ops.partition`.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hopfield_attn.checks import check_count
from hopfield_attn.ops.partition import (
    BATCH,
    CONTEXT,
    DATA,
    FSDP,
    MESH_AXES,
    TENSOR,
    mesh_sizes,
    num_parts,
)
from hopfield_attn.train.state import TrainState, init_state
from hopfield_attn.typing import PyTree

REST = -1
"""Size of the axis "data" that takes the devices which the other axes leave."""
SPLIT_COLUMNS = ("query", "key", "value", "mlp_in")
"""Layers whose outputs are split over "tensor": heads, and the hidden width."""


def layout_sizes(layout: Mapping[str, int], *, num_devices: int) -> dict[str, int]:
    """Axis → devices along it.

    Args:
      layout: sizes of the axes; "data" may be −1.
      num_devices: devices there are.

    Raises:
      TypeError: for a size that is no int.
      ValueError: if the sizes do not multiply to the number of devices.

    Example:
      >>> layout_sizes({"data": -1, "fsdp": 2, "tensor": 2, "context": 1}, num_devices=8)
      {'data': 2, 'fsdp': 2, 'tensor': 2, 'context': 1}
    """
    sizes = {axis: layout[axis] for axis in MESH_AXES}
    check_count(1, **{f"mesh.{axis}": sizes[axis] for axis in (FSDP, TENSOR, CONTEXT)})
    others = math.prod(sizes[axis] for axis in (FSDP, TENSOR, CONTEXT))
    if sizes[DATA] == REST:
        sizes[DATA] = num_devices // others
    check_count(0, **{"mesh.data": sizes[DATA]})
    if sizes[DATA] * others != num_devices:
        raise ValueError(
            f"mesh.fsdp × mesh.tensor × mesh.context = {others} and mesh.data={layout[DATA]} do "
            f"not fit the number of devices, {num_devices}; mesh.data=-1 takes the rest"
        )
    return sizes


def make_mesh(layout: Mapping[str, int] | None = None) -> Mesh:
    """The mesh of all devices, of all processes.

    Args:
      layout: sizes of the axes; ``None``: all devices split the batch.

    Raises:
      ValueError: as :func:`layout_sizes`.

    Example:
      >>> make_mesh().axis_names
      ('data', 'fsdp', 'tensor', 'context')
    """
    layout = layout or dict.fromkeys(MESH_AXES, 1) | {DATA: REST}
    sizes = layout_sizes(layout, num_devices=jax.device_count())
    return jax.make_mesh(
        tuple(sizes.values()), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES)
    )


def round_up(batch_size: int, mesh: Mesh) -> int:
    """The least number of examples ≥ ``batch_size`` that splits evenly over ``mesh``."""
    parts = num_parts(BATCH, dict(mesh.shape))
    return -(-batch_size // parts) * parts


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts a global batch on the devices, split along its leading axis.

    Every process has the whole batch and puts its own rows only, so the global batch is the same
    for any number of processes.
    """
    sharding = NamedSharding(mesh, PartitionSpec(BATCH))
    return jax.tree.map(lambda array: _put(array, sharding), batch)


def shard_state(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts parameters, or a state with parameters, on the devices, split by :func:`leaf_spec`."""
    sizes = dict(mesh.shape)

    def put(path: Any, leaf: Any) -> Any:
        return _put(leaf, NamedSharding(mesh, leaf_spec(path, np.shape(leaf), sizes)))

    return jax.tree_util.tree_map_with_path(put, tree)


def first_state(params: PyTree, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """The state before the first update, on the devices of ``mesh``.

    The optimizer begins from parameters that are split, so no device ever has its state whole.
    """
    return shard_state(init_state(shard_state(params, mesh), optimizer), mesh)


def constrain_state(tree: PyTree) -> PyTree:
    """The same split inside a compiled function, on the mesh in use; without one does nothing."""
    sizes = mesh_sizes()
    if not sizes:
        return tree

    def constrain(path: Any, leaf: Any) -> Any:
        return jax.lax.with_sharding_constraint(leaf, leaf_spec(path, leaf.shape, sizes))

    return jax.tree_util.tree_map_with_path(constrain, tree)


def constrain_whole(tree: PyTree) -> PyTree:
    """Every array whole on every device, inside a compiled function, on the mesh in use."""
    if not mesh_sizes():
        return tree
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec()), tree)


def leaf_spec(path: Any, shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    """How a parameter is split, or what the optimizer keeps of it.

    Projections to heads and into the hidden width by column, those back by row, over "tensor";
    the longest axis that is left and divides over "fsdp". What does not divide is whole everywhere.

    Args:
      path: of the leaf; its last two names say which parameter it is.
      shape: of the leaf.
      sizes: axis → devices.

    Example:
      >>> path = [jax.tree_util.DictKey(name) for name in ("attention", "query", "kernel")]
      >>> tuple(leaf_spec(path, (64, 128), {"data": 1, "fsdp": 2, "tensor": 2, "context": 1}))
      ('fsdp', 'tensor')
    """
    names = [str(getattr(key, "key", key)) for key in path][-3:]
    axes: list[str | None] = [None] * len(shape)
    split = _tensor_axis(names, len(shape))
    if split is not None and sizes[TENSOR] > 1 and shape[split] % sizes[TENSOR] == 0:
        axes[split] = TENSOR
    free = [
        axis
        for axis, size in enumerate(shape)
        if axes[axis] is None and size % sizes[FSDP] == 0 and size >= sizes[FSDP]
    ]
    if names[-1] == "embedding":
        # Rows are looked up: split by column, the result would have to be put together again.
        free = [axis for axis in free if axis == 0]
    # α and the splines are a few numbers, which every device wants whole.
    if free and sizes[FSDP] > 1 and names[-1] not in ("alpha", "spline_values"):
        axes[max(free, key=lambda axis: shape[axis])] = FSDP
    # jit writes no None at the end; with one, the second step would be compiled anew.
    while axes and axes[-1] is None:
        axes.pop()
    return PartitionSpec(*axes)


def _tensor_axis(names: list[str], num_axes: int) -> int | None:
    *parents, last = names
    if last not in ("kernel", "bias") or not parents:
        return None
    if parents[-1] in SPLIT_COLUMNS:
        return num_axes - 1
    # A classifier has a layer "out" too, which is not one of attention.
    is_row_split = parents[-1] == "mlp_out" or parents[-2:] == ["attention", "out"]
    return 0 if is_row_split and last == "kernel" else None


def _put(array: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
