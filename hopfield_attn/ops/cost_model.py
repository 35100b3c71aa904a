"""Which implementation ``implementation=None`` takes.

A linear F is one attention. Otherwise A is kept ("primal") while there is room for it, and beyond
it is made again block by block ("blockwise"). The dual path replaces the 2T products of n·m·d
operations by one of n·m² and T of m², so it pays where m/d_v is small against T. The constants are
of two CPU cores, jax 0.10, float32, forward and backward; on GPU and TPU nothing was measured.
"""

from hopfield_attn.ops.problem import Call, DescentOptions

MAX_KEPT_CELLS = 2**29
"""Weights of a call beyond which A is not kept: 2 GiB of float32."""
MAX_DUAL_KEYS = 256
"""Keys up to which one G costs less than the products of three steps and their reverse."""


def choose_implementation(call: Call, options: DescentOptions) -> str:
    """The implementation that the cost model takes to be the fastest.

    Args:
      call: the arrays; only their shapes are looked at.
      options: T, coupling, dropout and whether λ or η is "auto".
    """
    if call.nonlinearity.is_linear:
        return "standard"
    (b, n, h, _), m = call.query.shape, call.key.shape[1]
    if b * h * n * m > MAX_KEPT_CELLS and not options.dropout_rate and not options.needs_weights:
        return "blockwise"
    if options.coupling == "pooled" and m <= MAX_DUAL_KEYS and options.num_steps >= 2:
        return "dual"
    return "primal"
