"""The descent of implementations that make A again: what blockwise, remat and the kernels share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from hopfield_attn.ops.modes import descend_in_mode
from hopfield_attn.ops.pooled import Products, attention, pooled_descent, pooled_gradient
from hopfield_attn.ops.primal import attended_formula, elementwise_descent
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, Steps, steps_of
from hopfield_attn.typing import Array, Bool, Float, State


class Source(NamedTuple):
    """What A is made of.

    Attributes:
      query: q/√d_k, (n, d_k).
      key: k, (m, d_k).
      query_mask: (n,) or ``None``.
      key_mask: (m,) or ``None``.
    """

    query: Float[Array, "n dk"]
    key: Float[Array, "m dk"]
    query_mask: Bool[Array, "n"] | None
    key_mask: Bool[Array, "m"] | None


class Coupling(NamedTuple):
    """How a coupling is solved.

    Attributes:
      solve: (source, y, steps, T) → x_T.
      make_gradient: (source, y, steps) → the map x → ∇E(x).
    """

    solve: Callable[..., Array]
    make_gradient: Callable[..., Callable[[Array], Array]]


def descend_matrix_free(
    inputs: HeadInputs,
    options: DescentOptions,
    *,
    name: str,
    products: Products,
    pairwise: Coupling | None = None,
) -> State:
    """x_T by products that make A again.

    Args:
      inputs: the arrays of the head; no dropout.
      options: T, λ and η as numbers, coupling, gradient mode.
      name: of the implementation, for messages.
      products: for the pooled coupling, and for the one attention of the elementwise coupling.
      pairwise: the pairwise coupling, which has no such products; ``None`` where it is not asked
        for.

    Raises:
      ValueError: for attention dropout, and where λ or η is "auto".
    """
    if inputs.keep is not None:
        raise ValueError(
            f"implementation={name!r} has no attention dropout: it makes the weights again; "
            "use dropout_rate=0 or implementation='primal'"
        )
    source = Source(inputs.query, inputs.key, inputs.query_mask, inputs.key_mask)
    couplings = {
        "pooled": _pooled(products),
        "pairwise": pairwise,
        "elementwise": _elementwise(products),
    }
    coupling = couplings[options.coupling]
    assert coupling is not None
    return descend_in_mode(
        lambda arguments, num_steps: coupling.solve(*arguments, num_steps=num_steps),
        lambda arguments: coupling.make_gradient(*arguments),
        (source, inputs.value, steps_of(inputs, options)),
        num_steps=options.num_steps,
        step_size=lambda arguments: arguments[2].step_size,
        gradient_mode=options.gradient_mode,
    )


def _pooled(products: Products) -> Coupling:
    return Coupling(
        functools.partial(pooled_descent, products), functools.partial(pooled_gradient, products)
    )


def _elementwise(products: Products) -> Coupling:
    def solve(source: Source, value: Array, steps: Steps, *, num_steps: int) -> Array:
        attended = attention(products, source, value)
        return elementwise_descent(attended, steps, num_steps=num_steps)

    def make_gradient(source: Source, value: Array, steps: Steps) -> Callable[[Array], Any]:
        return functools.partial(attended_formula, attention(products, source, value), steps)

    return Coupling(solve, make_gradient)
