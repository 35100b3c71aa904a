"""Inputs and outputs of a kernel: how they are padded, cut into blocks and read inside."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl

from hopfield_attn.ops.kernels.platform import Blocks, power_of_two, round_up
from hopfield_attn.typing import Array, Float


class Operand(NamedTuple):
    """An input or output, (g, …, N, d) or (g, …, 1, N); ``axis`` is that of N, ``None``: no N."""

    array: Any
    axis: int | None
    fill: float = 0.0


def matrix(array: Float[Array, "g *stack N d"]) -> Operand:
    """Rows: (g, N, d), or a stack of K such matrices."""
    return Operand(array, -2)


def vector(array: Float[Array, "g *stack N"], fill: float = 0.0) -> Operand:
    """One number a row: (g, N), or a stack of K; padding gets ``fill``."""
    # Vectors turn into columns, which Mosaic does for 32-bit numbers; they are small anyway.
    dtype = jnp.promote_types(array.dtype, jnp.float32)
    return Operand(array.astype(dtype)[..., None, :], -1, fill)


def scalar(array: Float[Array, " g"]) -> Operand:
    """One number a head."""
    return Operand(array[:, None, None], None)


class Carry(NamedTuple):
    """An accumulator: (block, width), starting at ``fill``."""

    width: int
    fill: float = 0.0


@dataclasses.dataclass(frozen=True)
class View:
    """The current block of an operand, inside a kernel.

    Attributes:
      ref: the reference that Pallas gave.
      axis: of the operand.
      span: the rows of the block within ``ref``; all of them where the grid cuts blocks.
      is_triton: vectors turn into columns differently.
    """

    ref: Any
    axis: int | None
    span: Any
    is_triton: bool

    def __call__(self, *k: Any) -> Array:
        """(block, d) of a matrix, (1, block) of a vector; the k-th of a stack."""
        if self.axis is None:
            return self.ref[:, :]
        return self.ref[(*k, *((self.span, slice(None))[:: 1 if self.axis == -2 else -1]))]

    def column(self, *k: Any) -> Array:
        """(block, 1) of a vector."""
        return self.ref[(*k, 0, self.span)][:, None] if self.is_triton else self(*k).T


def pad_width(width: int, blocks: Blocks) -> int:
    """The number of features in a block; an accumulator of width 1 stays a column."""
    return max(16, power_of_two(width)) if blocks.is_power and width > 1 else width


def pad(operand: Operand, block: int, blocks: Blocks) -> Operand:
    """Pads N to whole blocks, and the features where they must be a power of two."""
    array, axis, fill = operand
    if axis is None:
        return operand
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, round_up(array.shape[axis], block) - array.shape[axis])
    if axis == -2 and blocks.is_power:
        widths[-1] = (0, max(16, power_of_two(array.shape[-1])) - array.shape[-1])
    if any(after for _, after in widths):
        array = jnp.pad(array, widths, constant_values=fill)
    return Operand(array, axis, fill)


def block_spec(
    shape: Sequence[int], axis: int | None, block: int | None, position: Callable[..., Any]
) -> pl.BlockSpec:
    """Cuts ``axis`` into blocks; ``position`` maps grid indices after the first to the block.

    ``block=None`` keeps the whole axis in view.
    """
    sizes: list[int | None] = [None, *shape[1:]]
    if axis is not None and block is not None:
        sizes[axis] = block

    def index(head: Any, *grid: Any) -> tuple[Any, ...]:
        # Not a plain 0, which is 64 bits wide under x64: Mosaic takes 32 only.
        at: list[Any] = [head] + [jnp.int32(0)] * (len(shape) - 1)
        if axis is not None and block is not None:
            at[axis] = position(*grid)
        return tuple(at)

    return pl.BlockSpec(tuple(sizes), index)
