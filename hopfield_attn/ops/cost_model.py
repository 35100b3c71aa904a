"""Which implementation ``implementation=None`` takes.

A linear F is one attention. Otherwise, on the CPU that the constants were measured on:

* pooled, few keys: "dual", which replaces the 2T products of n·m·d operations by one of n·m² and T
  of m², and so pays where m/d_v is small against T;
* pooled with one or two steps, and elementwise: "blockwise", which makes A again in the reverse
  pass. That costs fewer bytes than to keep A, and at so few steps hardly more operations;
* else A is kept ("primal") while there is room for it, and beyond it made again ("blockwise").

Where two were best in one direction each, the one that is faster forward and backward was taken.
The constants are of two CPU cores, jax 0.10, float32; on GPU and TPU nothing was measured.
"""

from hopfield_attn.ops.partition import CONTEXT, MESH_AXES, mesh_sizes, num_parts
from hopfield_attn.ops.problem import Call, DescentOptions

MAX_KEPT_CELLS = 2**29
"""Weights of a call on one device beyond which A is not kept: 2 GiB of float32."""
DUAL_KEYS = ((256, 2), (512, 6))
"""(m, T): up to m keys "dual" is the fastest from T steps on."""
MIN_BLOCKWISE_KEYS = 512
"""Keys from which "blockwise" is the fastest for one and two steps of the pooled coupling."""


def choose_implementation(call: Call, options: DescentOptions) -> str:
    """The implementation that the cost model takes to be the fastest.

    Args:
      call: the arrays; only their shapes are looked at.
      options: T, coupling, dropout and whether λ or η is "auto".
    """
    if call.nonlinearity.is_linear:
        return "standard"
    (b, n, h, _), m, T = call.query.shape, call.key.shape[1], options.num_steps
    is_pooled, sizes = options.coupling == "pooled", mesh_sizes()
    # Blocks of rows are cut from whole sequences: where devices split them, A is split as well.
    keeps_weights = (
        options.dropout_rate > 0 or options.needs_weights or num_parts(CONTEXT, sizes) > 1
    )
    has_room = b * h * n * m // num_parts(MESH_AXES, sizes) <= MAX_KEPT_CELLS
    is_short = is_pooled and any(m <= keys and steps <= T for keys, steps in DUAL_KEYS)
    if is_short and (keeps_weights or has_room):
        return "dual"
    if keeps_weights:
        return "primal"
    is_fast = options.coupling == "elementwise" or (
        is_pooled and T <= 2 and m >= MIN_BLOCKWISE_KEYS
    )
    return "blockwise" if is_fast or not has_room else "primal"
