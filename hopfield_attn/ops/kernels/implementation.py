"""The kernels as an implementation: pooled and elementwise by products, pairwise by steps."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.energies.nonlinearities import Nonlinearity, identity
from hopfield_attn.ops.kernels import pairwise, pooled
from hopfield_attn.ops.kernels.platform import default_platform
from hopfield_attn.ops.matrix_free import Coupling, Source, descend_matrix_free
from hopfield_attn.ops.modes import take_steps
from hopfield_attn.ops.pooled import Products, attention
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, Steps
from hopfield_attn.typing import Array, State


def kernels(inputs: HeadInputs, options: DescentOptions) -> State:
    """T gradient steps by Pallas kernels that never store A; on a CPU in the slow interpreter.

    Args:
      inputs: the arrays of the head; no dropout.
      options: T, λ and η as numbers, coupling, gradient mode.

    Raises:
      ValueError: for attention dropout, where λ or η is "auto", and in the pairwise coupling for
        an F that a kernel cannot evaluate.
    """
    setting = options.is_causal, default_platform()
    return descend_matrix_free(
        inputs, options, name="kernels", products=fused(*setting), pairwise=_pairwise(setting)
    )


Setting = tuple[bool, str]
"""(is_causal, platform)."""


def _pairwise(setting: Setting) -> Coupling:
    def make_gradient(
        source: Source, value: Array, steps: Steps, attended: Array | None = None
    ) -> Callable[[Array], Array]:
        if attended is None:
            attended = attention(fused(*setting), source, value)
        # Once for all steps; their reverse pass knows that it belongs to q and k.
        lse = fused(*setting).hold(jax.lax.stop_gradient(source))

        def gradient(x: Array) -> Array:
            pulled = _pull(setting, source, value, lse, steps.nonlinearity, steps.gain, x)
            return (1 + steps.lam) * x - pulled - steps.lam * attended

        return gradient

    def solve(source: Source, value: Array, steps: Steps, *, num_steps: int) -> Array:
        start = attention(fused(*setting), source, value)
        gradient = make_gradient(source, value, steps, start)
        return take_steps(gradient, start, num_steps=num_steps, step_size=steps.step_size)

    return Coupling(solve, make_gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pull(
    setting: Setting,
    source: Source,
    value: Array,
    lse: Array,
    F: Nonlinearity,
    gain: Array,
    x: Array,
) -> Array:
    """Σ_j A_ij F'(s ⟨x_i, y_j⟩) y_j, with the log-sum-exp as a function of q and k."""
    return _pull_forward(setting, source, value, lse, F, gain, x)[0]


def _pull_forward(
    setting: Setting,
    source: Source,
    value: Array,
    lse: Array,
    F: Nonlinearity,
    gain: Array,
    x: Array,
) -> tuple[Array, Any]:
    is_causal, platform = setting
    arrays = source.query, source.key, value, lse, source.key_mask, x, F
    led: Any = (*_lead(arrays), gain)
    pulled = pairwise.step(*led, is_causal=is_causal, platform=platform)
    return pulled[0], (arrays, gain)


def _pull_backward(setting: Setting, kept: Any, bar: Array) -> Any:
    is_causal, platform = setting
    (query, key, value, lse, key_mask, x, F), gain = kept
    arrays = *_lead((query, key, value, lse, key_mask, x, F)), gain, bar[None]
    found: Any = pairwise.step_pull_back(*arrays, is_causal=is_causal, platform=platform)
    x_bar, query_bar, key_bar, value_bar, alpha_bar = jax.tree.map(lambda a: a[0], found)
    F_bar = jax.tree.map(lambda alpha: alpha_bar.astype(alpha.dtype), F)
    # u = s x yᵀ: ⟨s, ∂s⟩ = ⟨x, ∂x⟩, because only the product s x enters.
    gain_bar = jnp.sum(x * x_bar) / gain
    return Source(query_bar, key_bar, None, None), value_bar, None, F_bar, gain_bar, x_bar


_pull.defvjp(_pull_forward, _pull_backward)


def _lead(arrays: Any) -> Any:
    """A leading axis of one head, which the kernels want."""
    return jax.tree.map(lambda a: a[None], arrays)


def _identity_step(source: Source, lse: Array, w: Array) -> Any:
    """The arguments of a pairwise step with F' = 1, which is A w: that kernel can be causal."""
    x = jnp.zeros((source.query.shape[0], w.shape[1]), w.dtype)
    arrays = source.query, source.key, w, lse, source.key_mask, x
    return *_lead(arrays), identity(), 1.0


@functools.cache
def fused(is_causal: bool, platform: str) -> Products:
    """The products by kernels: the source is a :class:`hopfield_attn.ops.matrix_free.Source`.

    Args:
      is_causal: query i sees keys 0, …, i; then without pairs, which only the pooled coupling has.
      platform: of :mod:`hopfield_attn.ops.kernels.platform`.
    """
    setting: dict[str, Any] = {"is_causal": is_causal, "platform": platform}

    def hold(source: Source) -> Array:
        query, key, query_mask, key_mask = _lead(source)
        return pooled.row_lse(
            query, key, key_mask, query_mask, is_causal=is_causal, platform=platform
        )[0]

    def attend(source: Source, lse: Array, w: Array) -> Array:
        if is_causal:
            return pairwise.step(*_identity_step(source, lse, w), **setting)[0]
        arrays = _lead((source.query, source.key, lse, source.key_mask, w))
        return pooled.attend(*arrays, platform=platform)[0]

    def pool(source: Source, lse: Array, value: Array, x: Array) -> Array:
        arrays = _lead((source.query, source.key, value, lse, source.key_mask, x))
        return pooled.pool(*arrays, platform=platform)[0]

    def gram(source: Source, lse: Array, value: Array, c: Array) -> tuple[Array, Array]:
        arrays = _lead((source.query, source.key, value, lse, source.key_mask, c))
        x, u = pooled.gram(*arrays, platform=platform)
        return x[0], u[0]

    def pull_back(source: Source, lse: Array, value: Array, last: Any, pairs: Any) -> Any:
        x_bar, r, _ = last
        if is_causal:
            arrays = *_identity_step(source, lse, r[:, None] * value), x_bar[None]
            found = pairwise.step_pull_back(*arrays, **setting)[1:4]
            query_bar, key_bar, value_bar = (array[0] for array in found)
            return Source(query_bar, key_bar, None, None), r[:, None] * value_bar
        lefts, rights = x_bar[None], r[None]
        if pairs is not None:
            a, b, z = pairs
            x = jax.lax.map(lambda c: attend(source, lse, c[:, None] * value), b)
            lefts = jnp.concatenate([lefts, z, x])
            rights = jnp.concatenate([rights, b, a])
        arrays = _lead((source.query, source.key, value, lse, source.key_mask, lefts, rights))
        found = pooled.pull_back(*arrays, platform=platform)
        query_bar, key_bar, value_bar = (array[0] for array in found)
        return Source(query_bar, key_bar, None, None), value_bar

    return Products(
        hold=hold,
        attend=attend,
        pool=pool,
        gram=lambda *arguments: gram(*arguments)[1],
        hold_reverse=lambda source, lse: lse,
        reverse_pool=lambda *arguments: (pool(*arguments), None),
        reverse_gram=lambda *arguments: gram(*arguments)[::-1],
        pull_back=pull_back,
    )
