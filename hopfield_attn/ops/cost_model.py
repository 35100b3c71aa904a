"""Which implementation ``implementation=None`` takes."""

from hopfield_attn.ops.problem import Call, DescentOptions

MAX_KEPT_CELLS = 2**30
"""Weights of all heads together beyond which A is not kept: 4 GiB of float32."""


def choose_implementation(call: Call, options: DescentOptions) -> str:
    """The fastest implementation by a cost model."""
    if call.nonlinearity.is_linear:
        return "standard"
    return "primal"
