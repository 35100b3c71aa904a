"""The back ends of the kernels and the block sizes that fit them."""

from typing import NamedTuple

from hopfield_attn.checks import check_choice
from hopfield_attn.ops.platform import target_platform

PLATFORMS = ("tpu", "gpu", "interpret", "interpret-gpu")
"""Mosaic, Triton, and the interpreter running the program of either."""


class Blocks(NamedTuple):
    """How a back end cuts its arrays.

    Attributes:
      fixed: longest block of the rows that a program keeps.
      swept: longest block of the rows that it runs over.
      unit: a block is a multiple of this.
      is_power: whether every side of a block, the features too, must be a power of two.
    """

    fixed: int
    swept: int
    unit: int
    is_power: bool


# A lane of a TPU's vector unit is 128 wide; Triton's products start at 16 and its tensors have
# powers of two as sides. The interpreter takes small blocks, so that tests meet several.
BLOCKS = {
    "tpu": Blocks(fixed=256, swept=512, unit=128, is_power=False),
    "gpu": Blocks(fixed=64, swept=32, unit=16, is_power=True),
    "interpret": Blocks(fixed=16, swept=32, unit=8, is_power=False),
    "interpret-gpu": Blocks(fixed=32, swept=16, unit=16, is_power=True),
}


_ROW_BUDGET = 2**15
"""Numbers in the rows of a block, all arrays together."""


def default_platform() -> str:
    """The platform that is compiled for: "tpu", "gpu", or else "interpret".

    Example:
      >>> default_platform() in PLATFORMS
      True
    """
    return {"cpu": "interpret"}.get(target_platform(), target_platform())


def is_triton(platform: str) -> bool:
    """Whether the program is Triton's: a loop in the kernel, not in the grid."""
    check_choice("platform", platform, PLATFORMS)
    return platform.endswith("gpu")


def narrowed(blocks: Blocks, width: int) -> Blocks:
    """Shorter blocks where rows are wide, so that a Triton program fits shared memory.

    Compiled for an H100 (227 KiB), 64 rows with six or more arrays of width 128 do not fit.

    Args:
      blocks: of the platform.
      width: features of one row, of all operands and accumulators together.

    Example:
      >>> narrowed(BLOCKS["gpu"], 512).fixed, narrowed(BLOCKS["gpu"], 768).fixed
      (64, 32)
    """
    if not blocks.is_power:
        return blocks
    longest = max(blocks.unit, power_of_two(_ROW_BUDGET // width + 1) // 2)
    return blocks._replace(fixed=min(blocks.fixed, longest), swept=min(blocks.swept, longest))


def block_length(length: int, longest: int, blocks: Blocks) -> int:
    """The block that covers ``length`` rows in as few blocks as ``longest`` allows.

    Example:
      >>> block_length(2049, 512, BLOCKS["tpu"]), block_length(20, 64, BLOCKS["gpu"])
      (512, 32)
    """
    if blocks.is_power:
        return min(longest, max(blocks.unit, power_of_two(length)))
    num_blocks = -(-length // longest)
    return round_up(-(-length // num_blocks), blocks.unit)


def round_up(length: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is not below ``length``."""
    return -(-length // unit) * unit


def power_of_two(length: int) -> int:
    """The smallest power of two that is not below ``length``."""
    return 1 << max(length - 1, 0).bit_length()
