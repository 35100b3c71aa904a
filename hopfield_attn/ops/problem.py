"""The descent of one head as the implementations see it: its arrays and its options."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from einops import rearrange

from hopfield_attn.energies.attention import default_gain
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.ops.heads import choose_numbers, map_heads, repeat_heads
from hopfield_attn.ops.weights import (
    draw_kept,
    drop_weights,
    head_weights,
    scaled_query_and_key,
    zero_masked,
)
from hopfield_attn.solvers.gradient_modes import GradientMode
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedQuery,
    BatchedValue,
    Bool,
    Float,
    KeyMask,
    QueryMask,
    ScalarLike,
)


class HeadInputs(NamedTuple):
    """The arrays of one head, or with a leading axis those of many.

    Attributes:
      query: q/√d_k, (n, d_k), zero where it is masked.
      key: k, (m, d_k), zero where it is masked.
      value: y, (m, d_v), zero where the key is masked.
      nonlinearity: F of this head.
      query_mask: (n,), True for real tokens; ``None``: all are.
      key_mask: (m,), as ``query_mask``.
      keep: (n, m), False where attention dropout takes a weight away; ``None``: no dropout.
    """

    query: Float[Array, "... n dk"]
    key: Float[Array, "... m dk"]
    value: Float[Array, "... m dv"]
    nonlinearity: Nonlinearity
    query_mask: Bool[Array, "... n"] | None
    key_mask: Bool[Array, "... m"] | None
    keep: Bool[Array, "... n m"] | None


@dataclasses.dataclass(frozen=True)
class DescentOptions:
    """What all heads of a call share; see :func:`hopfield_attn.nonlinear_attention`.

    Attributes:
      coupling: where F sits.
      lam: λ, or "auto".
      num_steps: T.
      step_size: η, "auto", or ``None`` for 1/(1+λ).
      gain: s, or ``None`` for 1/d_v.
      is_causal: query i sees keys 0, …, i.
      dropout_rate: of the weights that ``HeadInputs.keep`` keeps none of.
      gradient_mode: how the output is differentiated.
    """

    coupling: str
    lam: ScalarLike | str
    num_steps: int
    step_size: ScalarLike | str | None
    gain: ScalarLike | None
    is_causal: bool
    dropout_rate: float
    gradient_mode: GradientMode

    @property
    def needs_weights(self) -> bool:
        """Whether λ or η is chosen from A."""
        return isinstance(self.lam, str) or isinstance(self.step_size, str)


class Steps(NamedTuple):
    """F and the numbers of a gradient step; a pytree of arrays of shape ().

    Attributes:
      nonlinearity: F.
      lam: λ.
      step_size: η.
      gain: s.
    """

    nonlinearity: Nonlinearity
    lam: Array
    step_size: Array
    gain: Array


class Call(NamedTuple):
    """The arrays of a call of :func:`hopfield_attn.nonlinear_attention`, and F.

    Attributes:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k).
      value: (b, m, h, d_v).
      nonlinearity: F.
      query_mask: (b, n) or ``None``.
      key_mask: (b, m) or ``None``.
      dropout_key: a PRNG key or ``None``.
    """

    query: BatchedQuery
    key: BatchedKey
    value: BatchedValue
    nonlinearity: Nonlinearity
    query_mask: QueryMask | None
    key_mask: KeyMask | None
    dropout_key: Array | None


Implementation = Callable[[Call, DescentOptions], Array]
"""A call → x_T, (b, n, h, d_v), float32 at least unless it is computed by a library."""


def per_head(solve: Callable[[HeadInputs, DescentOptions], Array]) -> Implementation:
    """The implementation that does ``solve`` for every head, as many at a time as suits.

    Args:
      solve: the arrays of one head → x_T, (n, d_v).
    """

    @functools.wraps(solve)
    def implementation(call: Call, options: DescentOptions) -> Array:
        x = solve_heads(lambda inputs: solve(inputs, options), call, options)
        return rearrange(x, "b h n d -> b n h d")

    return implementation


def solve_heads(solve: Callable[[HeadInputs], Any], call: Call, options: DescentOptions) -> Any:
    """``solve`` for every head of every example: leading axes (b, h) on every result."""
    inputs = make_inputs(call, dropout_rate=options.dropout_rate)
    n, m = call.query.shape[1], call.key.shape[1]
    return map_heads(solve, inputs, cells=n * m)


def make_inputs(call: Call, *, dropout_rate: float) -> HeadInputs:
    """Heads first, (b, h, …) in every array, float32 at least, masked rows zero."""
    query, key, value, F, query_mask, key_mask, dropout_key = call
    (b, n, h, _), m = query.shape, key.shape[1]
    query, key = scaled_query_and_key(query, key, query_mask, key_mask)
    value = zero_masked(value, key_mask).astype(query.dtype)
    query, key, value = (rearrange(a, "b n h d -> b h n d") for a in (query, key, value))
    query_mask, key_mask = (
        None if mask is None else jnp.repeat(mask[:, None], h, axis=1)
        for mask in (query_mask, key_mask)
    )
    keep = None
    if dropout_rate:
        keep = draw_kept((b, h, n, m), rate=dropout_rate, key=dropout_key)
    return HeadInputs(query, key, value, repeat_heads(F, b, h), query_mask, key_mask, keep)


def check_is_pooled(options: DescentOptions, *, name: str) -> None:
    """Raises ``ValueError`` where the implementation ``name`` is asked for another coupling."""
    if options.coupling != "pooled":
        raise ValueError(
            f"implementation={name!r} is for coupling='pooled', the one whose states are "
            f"A diag(c) y; got coupling={options.coupling!r}"
        )


def weights_of(inputs: HeadInputs, options: DescentOptions) -> Float[Array, "n m"]:
    """A of one head, after dropout."""
    weights = head_weights(
        inputs.query,
        inputs.key,
        query_mask=inputs.query_mask,
        key_mask=inputs.key_mask,
        is_causal=options.is_causal,
    )
    if inputs.keep is None:
        return weights
    return drop_weights(weights, inputs.keep, rate=options.dropout_rate)


def steps_of(
    inputs: HeadInputs, options: DescentOptions, weights: Float[Array, "n m"] | None = None
) -> Steps:
    """The numbers of one head; "auto" needs ``weights``."""
    width, dtype = inputs.value.shape[-1], inputs.value.dtype
    gain = default_gain(width) if options.gain is None else options.gain
    if weights is None:
        if options.needs_weights:
            raise ValueError(
                "lam='auto' and step_size='auto' are computed from all attention weights, which "
                "this implementation does not keep; give numbers, or use implementation='primal'"
            )
        # The numbers do not depend on A; it only has to be there.
        weights = jnp.zeros((0, inputs.key.shape[0]), dtype)
    lam, step_size = choose_numbers(
        weights,
        inputs.value,
        lam=options.lam,
        step_size=options.step_size,
        nonlinearity=inputs.nonlinearity,
        coupling=options.coupling,
        gain=gain,
    )
    return Steps(inputs.nonlinearity, lam, step_size, jnp.asarray(gain, dtype))
