"""Which implementation ``implementation=None`` takes.

A linear F is one attention, by blocks where A has no room. Otherwise, on the CPU that the constants
were measured on:

* pooled, few keys: "dual", which replaces the 2T products of n·m·d operations by one of n·m² and T
  of m², and so pays where m/d_v is small against T;
* pooled with one or two steps of many keys: "remat", which makes A again in the reverse pass. That
  costs fewer bytes than to keep A of all heads, and at so few steps hardly more operations;
* elementwise, and pairwise with very many keys: "blockwise", which needs A once in each direction
  for all steps anyway;
* else A is kept ("primal") while there is room for it, and beyond it made again ("blockwise").

Where two were best in one direction each, the one that is faster forward and backward was taken.
The constants are of two cores of two CPUs, jax 0.10, float32; on GPU and TPU nothing was measured.
"""

from hopfield_attn.ops.partition import CONTEXT, MESH_AXES, mesh_sizes, num_parts
from hopfield_attn.ops.problem import Call, DescentOptions

MAX_KEPT_CELLS = 2**29
"""Weights of a call on one device from which on A is not kept: 2 GiB of float32."""
DUAL_KEYS = ((128, 2), (256, 3), (512, 6), (1024, 8))
"""(m, T): up to m keys "dual" is the fastest from T steps on."""
MIN_REMAT_KEYS, MAX_REMAT_STEPS = 512, 2
"""Keys from which, and steps up to which, "remat" is the fastest for the pooled coupling."""
MIN_PAIRWISE_KEYS = 2048
"""Keys from which "blockwise" is the fastest for the pairwise coupling."""


def choose_implementation(call: Call, options: DescentOptions) -> str:
    """The implementation that the cost model takes to be the fastest.

    Args:
      call: the arrays; only their shapes are looked at.
      options: T, coupling, dropout and whether λ or η is "auto".
    """
    if call.nonlinearity.is_linear:
        return "standard"
    m, T, is_pooled = call.key.shape[1], options.num_steps, options.coupling == "pooled"
    keeps_weights = options.needs_weights or must_keep_weights(options)
    has_room = has_room_for_weights(call)
    is_short = is_pooled and any(m <= keys and steps <= T for keys, steps in DUAL_KEYS)
    if is_short and (keeps_weights or has_room):
        return "dual"
    if keeps_weights:
        return "primal"
    if is_pooled:
        is_remade = m >= MIN_REMAT_KEYS and T <= MAX_REMAT_STEPS
        kept = "remat" if is_remade else "primal"
    else:
        is_kept = options.coupling == "pairwise" and m < MIN_PAIRWISE_KEYS
        kept = "primal" if is_kept else "blockwise"
    return kept if has_room else "blockwise"


def must_keep_weights(options: DescentOptions) -> bool:
    """Whether A cannot be made again by blocks: weights are dropped, or devices split sequences."""
    # Blocks of rows are cut from whole sequences: where devices split them, A is split as well.
    return options.dropout_rate > 0 or num_parts(CONTEXT, mesh_sizes()) > 1


def has_room_for_weights(call: Call) -> bool:
    """Whether the weights of a call on one device are fewer than :data:`MAX_KEPT_CELLS`."""
    (b, n, h, _), m = call.query.shape, call.key.shape[1]
    return b * h * n * m // num_parts(MESH_AXES, mesh_sizes()) < MAX_KEPT_CELLS
