"""How arrays lie on the devices of the mesh in use: split by example, head and position.

Without a mesh (``jax.set_mesh``), or on one device, everything here does nothing. The axes:

=========  ==============================================================
``data``   examples of a batch
``fsdp``   examples as well; parameters and optimizer state are split too
``tensor`` attention heads, and the hidden width of the feed-forward part
``context`` positions of the sequence: queries and token states
=========  ==============================================================
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from hopfield_attn.typing import Array, PyTree

DATA, FSDP, TENSOR, CONTEXT = MESH_AXES = ("data", "fsdp", "tensor", "context")
BATCH = (DATA, FSDP)
"""The axes that split the examples of a batch."""

Axes = str | tuple[str, ...] | None
"""Mesh axes that split one axis of an array; ``None``: it is whole everywhere."""


def mesh_sizes() -> dict[str, int]:
    """Axis → devices along it, of the mesh in use; empty on one device or without our axes.

    Example:
      >>> mesh_sizes()
      {}
    """
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    return sizes if sizes.keys() == set(MESH_AXES) and math.prod(sizes.values()) > 1 else {}


def num_parts(axes: Axes, sizes: dict[str, int]) -> int:
    """Parts into which ``axes`` split an axis of an array; 1 without a mesh.

    Example:
      >>> num_parts(BATCH, {"data": 2, "fsdp": 4, "tensor": 1, "context": 1})
      8
    """
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(sizes.get(name, 1) for name in names)


def constrain(x: Array, *axes: Axes) -> Array:
    """``x``, split over the devices along its axes.

    Args:
      x: any array.
      *axes: for every axis of ``x`` the mesh axes that split it.

    Raises:
      ValueError: an axis of ``x`` does not split evenly.

    Example:
      >>> constrain(jax.numpy.ones((2, 3)), BATCH, None).shape
      (2, 3)
    """
    sizes = mesh_sizes()
    if not sizes:
        return x
    for size, names in zip(x.shape, axes, strict=True):
        if size % num_parts(names, sizes):
            raise ValueError(
                f"an axis of {size} does not split evenly over the mesh axes {names}, which have "
                f"{num_parts(names, sizes)} devices; the array has shape {x.shape}"
            )
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def over_devices(solve: Callable[[PyTree], Any], heads: PyTree) -> Any:
    """``solve`` of all heads, every device doing its own examples and heads.

    Args:
      solve: a pytree of arrays with leading axes (b, h) → another one. It may be called with a
        part of both.
      heads: the arrays.
    """
    sizes = mesh_sizes()
    b, h = jax.tree.leaves(heads)[0].shape[:2]
    if not sizes or b % num_parts(BATCH, sizes) or h % num_parts(TENSOR, sizes):
        return solve(heads)
    spec = PartitionSpec(BATCH, TENSOR)
    # Nothing crosses devices inside, and scans in there start from constants, which the check of
    # varying values does not allow.
    return jax.shard_map(solve, in_specs=(spec,), out_specs=spec, check_vma=False)(heads)
