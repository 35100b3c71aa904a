"""Vaswani attention for identity and linear heads: one pass, no iteration."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.energies.nonlinearities import identity
from hopfield_attn.ops.cost_model import has_room_for_weights, must_keep_weights
from hopfield_attn.ops.heads import default_step_size
from hopfield_attn.ops.matrix_free import Source
from hopfield_attn.ops.modes import descend_in_mode
from hopfield_attn.ops.platform import target_platform
from hopfield_attn.ops.pooled import attention
from hopfield_attn.ops.problem import Call, DescentOptions, HeadInputs, per_head, weights_of
from hopfield_attn.ops.row_blocks import matrix_free
from hopfield_attn.ops.weights import zero_masked
from hopfield_attn.solvers.gradient_modes import as_gradient_mode
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedOutput,
    BatchedQuery,
    BatchedValue,
    KeyMask,
    QueryMask,
    ScalarLike,
    State,
)

MAX_CUDNN_WIDTH = 128
"""Widest head of cuDNN's flash attention."""


def standard(call: Call, options: DescentOptions) -> BatchedOutput:
    """x_T of a linear F, F'(u) = a: A y times a number, for every coupling.

    x_T = [c* + ρᵀ (1 − c*)] A y,  c* = (a + λ)/(1 + λ),  ρ = 1 − η(1+λ); with F(u) = u it is A y.

    Args:
      call: the arrays; F is known to be linear.
      options: T, λ, η, gradient mode.

    Raises:
      ValueError: for an F that is not known to be linear.
    """
    F = call.nonlinearity
    if not F.is_linear:
        raise ValueError(
            "implementation='standard' is for the identity and for an F that was stated to be "
            f"linear, curvature_range=(0, 0); got F {F.name!r}"
        )
    attended = _attend(call, options)
    # A linear F never costs convexity: "auto" λ is 0, and the "auto" step that of the identity.
    lam: Any = 0.0 if isinstance(options.lam, str) else options.lam
    step_size: Any = options.step_size
    if step_size is None or isinstance(step_size, str):
        step_size = default_step_size(lam)
    return descend_in_mode(
        _closed_form,
        lambda arguments: functools.partial(_gradient, *arguments),
        (attended, F.derivative(jnp.zeros((), attended.dtype)), lam, step_size),
        num_steps=options.num_steps,
        step_size=lambda arguments: arguments[3],
        gradient_mode=options.gradient_mode,
    )


def _closed_form(arguments: tuple[Array, Array, Any, Any], num_steps: int) -> Array:
    attended, slope, lam, step_size = arguments
    limit = (slope + lam) / (1 + lam)
    return (limit + (1 - step_size * (1 + lam)) ** num_steps * (1 - limit)) * attended


def _gradient(
    attended: Array, slope: Array, lam: ScalarLike, step_size: ScalarLike, x: Array
) -> Array:
    return (1 + lam) * x - (slope + lam) * attended


def standard_attention(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
) -> BatchedOutput:
    """Computes x = A y: an identity head of any T and λ (M3), with the library's masks.

    ``jax.nn.dot_product_attention`` gives the mean of the values to a query without keys; here it
    gets zeros, as :func:`hopfield_attn.nonlinear_attention` has it. On a GPU cuDNN's flash
    attention computes it where it applies: bfloat16 or float16, no dropout, width ≤ 128.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k).
      value: (b, m, h, d_v).
      query_mask: (b, n) bool, True for real tokens.
      key_mask: (b, m) bool, True for real tokens.
      is_causal: query i sees keys 0, …, i.
      dropout_rate: attention dropout; needs ``dropout_key``.
      dropout_key: PRNG key of the dropout.

    Returns:
      (b, n, h, d_v) in the dtype of ``query``; computed in float32 at least.

    Example:
      >>> x = jnp.ones((1, 3, 2, 4))
      >>> standard_attention(x, x, x).shape
      (1, 3, 2, 4)
    """
    call = Call(query, key, value, identity(), query_mask, key_mask, dropout_key)
    options = DescentOptions(
        coupling="pooled",
        lam=0.0,
        num_steps=0,
        step_size=None,
        gain=None,
        is_causal=is_causal,
        dropout_rate=dropout_rate,
        gradient_mode=as_gradient_mode("unrolled"),
    )
    return _attend(call, options).astype(query.dtype)


def _attend(call: Call, options: DescentOptions) -> Array:
    if target_platform() == "gpu" and _cudnn_applies(call, options):
        return fused_attention(call, is_causal=options.is_causal, implementation="cudnn")
    if has_room_for_weights(call) or must_keep_weights(options):
        return per_head(_attend_head)(call, options)
    return per_head(_attend_in_blocks)(call, options)


def _attend_in_blocks(inputs: HeadInputs, options: DescentOptions) -> State:
    source = Source(inputs.query, inputs.key, inputs.query_mask, inputs.key_mask)
    return attention(matrix_free(options.is_causal), source, inputs.value)


def _attend_head(inputs: HeadInputs, options: DescentOptions) -> State:
    return weights_of(inputs, options) @ inputs.value


def _cudnn_applies(call: Call, options: DescentOptions) -> bool:
    (_, n, _, width), m = call.query.shape, call.key.shape[1]
    return (
        call.query.dtype == call.key.dtype == call.value.dtype
        and call.query.dtype in (jnp.bfloat16, jnp.float16)
        # A mask is an added bias there, whose derivative wants even lengths.
        and (call.key_mask is None or n % 2 == m % 2 == 0)
        and call.value.shape[-1] == width
        and width % 8 == 0
        and width <= MAX_CUDNN_WIDTH
        and not options.dropout_rate
    )


def fused_attention(call: Call, *, is_causal: bool, implementation: str) -> BatchedOutput:
    """A y by ``jax.nn.dot_product_attention``; rows of queries that are masked or see no key are 0.

    Args:
      call: the arrays.
      is_causal: query i sees keys 0, …, i.
      implementation: "cudnn" or "xla".
    """
    query, key, value, _, query_mask, key_mask, _ = call
    query, mask, sees = zero_masked(query, query_mask), None, None
    if key_mask is not None:
        # Whole, as cuDNN broadcasts no queries.
        shape = (len(key_mask), 1, query.shape[1], key.shape[1])
        mask = jnp.broadcast_to(key_mask[:, None, None, :], shape)
        key, value = (zero_masked(array, key_mask) for array in (key, value))
        sees = jnp.any(key_mask, axis=1, keepdims=True)
        if is_causal:
            first = jnp.argmax(key_mask, axis=1, keepdims=True)
            sees = sees & (jnp.arange(query.shape[1])[None] >= first)
    options: dict[str, Any] = {"is_causal": is_causal, "implementation": implementation}
    x = jax.nn.dot_product_attention(query, key, value, mask=mask, **options)
    for alive in (sees, query_mask):
        x = x if alive is None else jnp.where(alive[:, :, None, None], x, 0)
    return x
