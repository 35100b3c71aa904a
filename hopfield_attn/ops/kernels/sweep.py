"""A sweep: every block of rows of one side meets every block of the other, and A stays on chip.

A program keeps a *fixed* block (queries, say), runs over all *swept* blocks (keys) and carries
accumulators from one to the next. All kernels are sweeps that differ in what a tile adds. The back
ends differ here and nowhere else: on TPU the swept blocks are the last dimension of the grid and
the accumulators live in VMEM scratch; Triton has no such scratch, so there the loop is in the
kernel and the accumulators are its carry.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as plgpu

from hopfield_attn.ops.kernels.operands import (
    Carry,
    Operand,
    View,
    block_spec,
    pad,
    pad_width,
)
from hopfield_attn.ops.kernels.platform import (
    BLOCKS,
    block_length,
    is_triton,
    narrowed,
    round_up,
)
from hopfield_attn.typing import Array

MAX_VMEM = 96 * 2**20
"""Bytes of a TPU core's fast memory that a kernel may ask for (v5e, v5p and v6e have 128 MiB)."""


Tile = Callable[..., Sequence[Array]]
"""(carries, fixed views, swept views, first fixed row, first swept row) → carries."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep with its block lengths chosen; hashable parts only."""

    tile: Tile
    finish: Callable[..., Sequence[Array]]
    is_needed: Callable[..., Any] | None
    carries: tuple[Carry, ...]
    axes: tuple[tuple[int | None, ...], tuple[int | None, ...], tuple[int | None, ...]]
    block: int
    swept_block: int
    num_swept: int
    dtype: Any

    def needs(self, first: Any, start: Any) -> Any:
        """Whether the tile adds something; ``None``: always."""
        if self.is_needed is None:
            return None
        return self.is_needed(first, first + self.block - 1, start, start + self.swept_block - 1)

    def start(self) -> list[Array]:
        """Accumulators before the first tile."""
        return [jnp.full((self.block, c.width), c.fill, self.dtype) for c in self.carries]

    def views(self, refs: Sequence[Any], *, part: int, span: Any, is_triton: bool) -> list[View]:
        """Views of the fixed (0) or swept (1) operands."""
        return [View(r, a, span, is_triton) for r, a in zip(refs, self.axes[part], strict=True)]


def sweep(
    tile: Tile,
    *,
    fixed: Sequence[Operand],
    swept: Sequence[Operand],
    carries: Sequence[Carry],
    outputs: Sequence[int | None],
    platform: str,
    finish: Callable[..., Sequence[Array]] = lambda carries, fixed: carries,
    is_needed: Callable[..., Any] | None = None,
    name: str,
) -> list[Array]:
    """Runs ``tile`` on every pair of a fixed and a swept block and ``finish`` on the result.

    Args:
      tile: adds one tile to the accumulators.
      fixed: operands of the side that a program keeps; the first one is a matrix.
      swept: operands of the side that it runs over; the first one is a matrix.
      carries: the accumulators.
      outputs: the width of each output, (g, N, width); ``None`` is one number a row, (g, N).
      platform: one of ``PLATFORMS``.
      finish: (carries, fixed views) → one (block, width or 1) array an output.
      is_needed: (first and last fixed row, first and last swept row) → whether the tile adds
        anything; ``None``: every tile does.
      name: of the kernel, for profiles.

    Returns:
      The outputs, in the accumulators' dtype: that of the inputs, float32 at least.

    Raises:
      ValueError: for an unknown platform, float64 outside the interpreter, or if the blocks do
        not fit a TPU's fast memory.
    """
    triton = is_triton(platform)
    widths = [o.array.shape[-1] for o in (*fixed, *swept) if o.axis == -2]
    blocks = narrowed(BLOCKS[platform], sum(widths) + sum(carry.width for carry in carries))
    length, swept_length = fixed[0].array.shape[-2], swept[0].array.shape[-2]
    dtype = functools.reduce(jnp.promote_types, (o.array.dtype for o in (*fixed, *swept)))
    dtype = jnp.promote_types(dtype, jnp.float32)
    if dtype != jnp.float32 and platform in ("tpu", "gpu"):
        raise ValueError(f"kernels compute in float32 on {platform}; got inputs of {dtype}")
    block = block_length(length, blocks.fixed, blocks)
    swept_block = block_length(swept_length, blocks.swept, blocks)
    fixed = [pad(operand, block, blocks) for operand in fixed]
    swept = [pad(operand, swept_block, blocks) for operand in swept]
    plan = Plan(
        tile,
        finish,
        is_needed,
        tuple(Carry(pad_width(c.width, blocks), c.fill) for c in carries),
        (
            tuple(o.axis for o in fixed),
            tuple(o.axis for o in swept),
            tuple(-1 if width is None else -2 for width in outputs),
        ),
        block,
        swept_block,
        swept[0].array.shape[-2] // swept_block,
        dtype,
    )
    g, padded = fixed[0].array.shape[0], fixed[0].array.shape[-2]
    shapes = [
        (g, 1, padded) if width is None else (g, padded, pad_width(width, blocks))
        for width in outputs
    ]
    call = _triton_call if triton else _mosaic_call
    results = call(plan, fixed, swept, shapes, platform, name)
    return [
        array[:, 0, :length] if width is None else array[:, :length, :width]
        for array, width in zip(results, outputs, strict=True)
    ]


def _mosaic_call(
    plan: Plan,
    fixed: Sequence[Operand],
    swept: Sequence[Operand],
    shapes: Sequence[tuple[int, ...]],
    platform: str,
    name: str,
) -> Sequence[Array]:
    """The sweep with the swept blocks in the grid; their copies overlap with the arithmetic."""
    operands = [(o, plan.block, lambda i, j: i) for o in fixed]
    operands += [(o, plan.swept_block, lambda i, j: j) for o in swept]
    in_specs = [block_spec(o.array.shape, o.axis, b, at) for o, b, at in operands]
    out_specs = [
        block_spec(shape, axis, plan.block, lambda i, j: i)
        for shape, axis in zip(shapes, plan.axes[2], strict=True)
    ]
    scratch = [(plan.block, carry.width) for carry in plan.carries]
    dtypes = [*(o.array.dtype for o, *_ in operands), *(plan.dtype for _ in shapes)]
    copied = [
        (spec.block_shape, dtype)
        for spec, dtype in zip([*in_specs, *out_specs], dtypes, strict=True)
    ]
    return pl.pallas_call(
        functools.partial(_mosaic_kernel, plan, len(fixed), len(swept)),
        out_shape=[jax.ShapeDtypeStruct(shape, plan.dtype) for shape in shapes],
        grid=(shapes[0][0], fixed[0].array.shape[-2] // plan.block, plan.num_swept),
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=[pltpu.VMEM(shape, plan.dtype) for shape in scratch],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"),
            vmem_limit_bytes=vmem_limit(
                copied, [(s, plan.dtype) for s in scratch], plan.block * plan.swept_block
            ),
        ),
        interpret=platform != "tpu",
        name=name,
    )(*(o.array for o, *_ in operands))


def _mosaic_kernel(plan: Plan, num_fixed: int, num_swept: int, *refs: Any) -> None:
    ends = (num_fixed, num_fixed + num_swept, num_fixed + num_swept + len(plan.axes[2]))
    outs, scratch = refs[ends[1] : ends[2]], refs[ends[2] :]
    fixed = plan.views(refs[: ends[0]], part=0, span=slice(None), is_triton=False)
    swept = plan.views(refs[ends[0] : ends[1]], part=1, span=slice(None), is_triton=False)
    i, j = pl.program_id(1), pl.program_id(2)
    first, first_swept = i * plan.block, j * plan.swept_block

    @pl.when(j == 0)
    def _() -> None:
        for ref, value in zip(scratch, plan.start(), strict=True):
            ref[...] = value

    def add() -> None:
        carries = plan.tile([ref[...] for ref in scratch], fixed, swept, first, first_swept)
        for ref, value in zip(scratch, carries, strict=True):
            ref[...] = value

    needed = plan.needs(first, first_swept)
    add() if needed is None else pl.when(needed)(add)

    @pl.when(j == plan.num_swept - 1)
    def _() -> None:
        results = plan.finish([ref[...] for ref in scratch], fixed)
        for ref, axis, value in zip(outs, plan.axes[2], results, strict=True):
            ref[...] = value.T if axis == -1 else value


def vmem_limit(copied: Sequence[Any], scratch: Sequence[Any], tile: int) -> int:
    """Bytes of fast memory to ask for: blocks (copied twice, to overlap), scratch and tiles.

    Raises:
      ValueError: if that is more than ``MAX_VMEM``.
    """

    def size(shape: Sequence[int | None], dtype: Any) -> int:
        *stack, rows, lanes = (1 if side is None else side for side in shape)
        number = round_up(rows, 8) * round_up(lanes, 128)
        return functools.reduce(lambda a, b: a * b, stack, number) * jnp.dtype(dtype).itemsize

    # A dozen tiles: the compiler keeps several of them, and the passes of float32 products.
    needed = 2 * sum(size(*c) for c in copied) + sum(size(*s) for s in scratch) + 12 * 4 * tile
    if needed > MAX_VMEM:
        raise ValueError(
            f"the kernel's blocks need {needed / 2**20:.0f} MiB of the TPU's fast memory, more "
            f"than {MAX_VMEM / 2**20:.0f}: shorten the stack (fewer steps), narrow the heads, or "
            "use implementation='blockwise'"
        )
    return max(32 * 2**20, needed + needed // 4)


def _triton_call(
    plan: Plan,
    fixed: Sequence[Operand],
    swept: Sequence[Operand],
    shapes: Sequence[tuple[int, ...]],
    platform: str,
    name: str,
) -> Sequence[Array]:
    """The sweep with the loop over swept blocks inside the kernel."""
    return pl.pallas_call(
        functools.partial(_triton_kernel, plan, len(fixed), len(swept)),
        out_shape=[jax.ShapeDtypeStruct(shape, plan.dtype) for shape in shapes],
        grid=(shapes[0][0], fixed[0].array.shape[-2] // plan.block),
        in_specs=[
            *(block_spec(o.array.shape, o.axis, plan.block, lambda i: i) for o in fixed),
            *(block_spec(o.array.shape, o.axis, None, lambda i: 0) for o in swept),
        ],
        out_specs=[
            block_spec(shape, axis, plan.block, lambda i: i)
            for shape, axis in zip(shapes, plan.axes[2], strict=True)
        ],
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        interpret=platform != "gpu",
        name=name,
    )(*(o.array for o in (*fixed, *swept)))


def _triton_kernel(plan: Plan, num_fixed: int, num_swept: int, *refs: Any) -> None:
    ends = (num_fixed, num_fixed + num_swept)
    fixed = plan.views(refs[: ends[0]], part=0, span=slice(None), is_triton=True)
    first = pl.program_id(1) * plan.block

    def add(j: Any, carries: Sequence[Array]) -> Sequence[Array]:
        start = j * plan.swept_block
        span = pl.ds(start, plan.swept_block)
        swept = plan.views(refs[ends[0] : ends[1]], part=1, span=span, is_triton=True)

        def tile(carries: Sequence[Array]) -> Sequence[Array]:
            return list(plan.tile(carries, fixed, swept, first, start))

        needed = plan.needs(first, start)
        return tile(carries) if needed is None else jax.lax.cond(needed, tile, list, carries)

    carries = jax.lax.fori_loop(0, plan.num_swept, add, plan.start())
    results = plan.finish(carries, fixed)
    for ref, axis, value in zip(refs[ends[1] :], plan.axes[2], results, strict=True):
        if axis == -1:
            ref[0, :] = value[:, 0]
        else:
            ref[:, :] = value
