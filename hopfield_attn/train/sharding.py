"""Data parallelism: one mesh axis over the devices, batches split along it, the state copied."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hopfield_attn.typing import PyTree

DATA_AXIS = "data"


def make_mesh(*, batch_size: int) -> Mesh:
    """A mesh with all devices on the axis "data".

    Args:
      batch_size: global batch size, split evenly over the devices.

    Raises:
      ValueError: if the batch does not split evenly.

    Example:
      >>> make_mesh(batch_size=8 * jax.device_count()).axis_names
      ('data',)
    """
    num_devices = jax.device_count()
    if batch_size % num_devices:
        raise ValueError(
            f"train.batch_size must be a multiple of the number of devices, {num_devices}; "
            f"got {batch_size}"
        )
    return jax.make_mesh((num_devices,), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts a global batch on the devices, split along its leading axis."""
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(DATA_AXIS)))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a copy of every array of ``tree`` on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
