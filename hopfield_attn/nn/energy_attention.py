"""Multi-head attention whose heads descend the attention energy, as a flax.nnx module."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from hopfield_attn.checks import check_at_least, check_choice, check_count
from hopfield_attn.energies.attention import COUPLINGS
from hopfield_attn.energies.nonlinearities import (
    WITHOUT_ALPHA,
    Nonlinearity,
    make_nonlinearity,
)
from hopfield_attn.energies.spline import default_spline_values
from hopfield_attn.nn.heads import HeadGroup, parse_heads
from hopfield_attn.ops.arguments import weights_and_values
from hopfield_attn.ops.autodiff import AttentionDescent
from hopfield_attn.ops.heads import check_number_or_auto
from hopfield_attn.ops.nonlinear_attention import (
    IMPLEMENTATIONS,
    attention_descent,
    nonlinear_attention,
)
from hopfield_attn.ops.partition import BATCH, CONTEXT, TENSOR, constrain
from hopfield_attn.ops.standard import standard_attention
from hopfield_attn.ops.weights import check_dropout_rate
from hopfield_attn.solvers.gradient_modes import GradientMode, as_gradient_mode
from hopfield_attn.typing import Array, Bool, DTypeLike, Float


class HeadProblem(NamedTuple):
    """The energies of a group of heads.

    Attributes:
      group: the heads.
      weights: A, (b, heads, n, m).
      values: y, (b, heads, m, d).
      options: nonlinearity (one a head), coupling, lam, num_steps, step_size and gain.
    """

    group: HeadGroup
    weights: Array
    values: Array
    options: dict[str, Any]


Projected = tuple[Array, Array, Array]
"""Queries, keys and values, each (b, length, heads, d)."""


class EnergyAttention(nnx.Module):
    """Multi-head attention with a non-linearity for each head.

    Queries, keys and values are projected as in Vaswani attention. Identity heads are one pass of
    standard attention; the others take ``num_steps`` gradient steps on the attention energy (M1)
    from x₀ = A y. The outputs are concatenated in the order of the heads and projected back.

    ``alpha`` holds one strength for every head, the identity heads too (theirs stays 0 and gets no
    gradient): so the parameters have the same names and shapes for every mix of heads, and the
    weights of a linear layer load into a non-linear one, which at α = 0 computes the same. Spline
    heads alone need more, ``spline_values``.

    Attributes:
      query, key, value, out: the projections (``nnx.Linear``), width → width.
      alpha: strengths α, shape (num_heads,), float32.
      spline_values: values of every head's spline at its knots, (num_heads, K), float32; rows of
        other families get no gradient. Only in a layer with a spline head.
      heads: their specification, as given.
      groups: the runs of heads that share a family.

    Example:
      >>> layer = EnergyAttention(
      ...     16, 4, heads="identity:2,quadratic:2", num_steps=2, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 16))).shape, layer.alpha.shape
      ((2, 5, 16), (4,))
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        heads: str = "identity",
        coupling: str = "pooled",
        lam: float | str = 1.0,
        num_steps: int = 1,
        step_size: float | str | None = None,
        gain: float | None = None,
        alpha_init: float = 0.0,
        dropout_rate: float = 0.0,
        gradient_mode: str | GradientMode = "unrolled",
        implementation: str | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the parameters.

        Args:
          width: width of the inputs and outputs; divisible by ``num_heads``.
          num_heads: number of heads h; each has width d = width / h.
          heads: families and counts, ``"identity:8,quadratic:4"``, or one family for all.
          coupling: "pooled", "pairwise" or "elementwise".
          lam: λ ≥ 0, or "auto".
          num_steps: T, gradient steps of the non-linear heads.
          step_size: η, or "auto"; ``None`` is 1/(1+λ).
          gain: s, the scale of u; ``None`` is 1/d.
          alpha_init: α of every non-linear head at the start; 0 starts as standard attention.
          dropout_rate: attention dropout, drawn once before the steps.
          gradient_mode: how the steps are differentiated, see :func:`hopfield_attn.descend`.
          implementation: of :func:`hopfield_attn.nonlinear_attention`.
          dtype: computation dtype of the projections; parameters are float32.
          rngs: source of the initial parameters (stream ``params``).

        Raises:
          ValueError: if the width is not divisible, ``heads`` does not fit, for an unknown
            coupling, implementation or gradient mode, and for numbers out of range.
          TypeError: for counts that are no integers.
        """
        check_count(1, width=width, num_heads=num_heads)
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads; got {width} and {num_heads}")
        check_choice("coupling", coupling, COUPLINGS)
        if implementation is not None:
            check_choice("implementation", implementation, IMPLEMENTATIONS)
        check_count(0, num_steps=num_steps)
        check_number_or_auto(0, lam=lam)
        check_number_or_auto(0, exclusive=True, step_size=step_size)
        check_at_least(0, exclusive=True, gain=gain)
        as_gradient_mode(gradient_mode)
        check_dropout_rate(dropout_rate)
        self.num_heads = num_heads
        self.heads = heads
        self.groups = parse_heads(heads, num_heads=num_heads)
        self.coupling = coupling
        self.lam = lam
        self.num_steps = num_steps
        self.step_size = step_size
        self.gain = gain
        self.dropout_rate = dropout_rate
        self.gradient_mode = gradient_mode
        self.implementation = implementation
        self.query = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.key = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.value = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        alpha = jnp.zeros((num_heads,), jnp.float32)
        for group in self.groups:
            if group.family not in WITHOUT_ALPHA:
                alpha = alpha.at[group.heads].set(alpha_init)
        self.alpha = nnx.Param(alpha)
        if any(group.family == "spline" for group in self.groups):
            values = jnp.asarray(default_spline_values(), jnp.float32)
            self.spline_values = nnx.Param(jnp.tile(values, (num_heads, 1)))

    def __call__(
        self,
        inputs: Float[Array, "b n width"],
        context: Float[Array, "b m width"] | None = None,
        *,
        mask: Bool[Array, "b n"] | None = None,
        context_mask: Bool[Array, "b m"] | None = None,
        is_causal: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b n width"]:
        """Attends from ``inputs`` to ``context`` (``None``: to itself).

        Args:
          inputs: (b, n, width): where the queries come from.
          context: (b, m, width): where keys and values come from.
          mask: (b, n), True for the real tokens of ``inputs``.
          context_mask: (b, m), True for the real tokens of ``context``; without a context, ``mask``
            serves.
          is_causal: token i attends to tokens 0, …, i. Not with the pooled coupling.
          rngs: with it attention dropout runs (stream ``dropout``), without it nothing is random.

        Returns:
          (b, n, width).
        """
        projected = self._project(inputs, context)
        options = self._mask_options(context, mask, context_mask, is_causal)
        outputs = []
        for group in self.groups:
            if rngs is not None and self.dropout_rate:
                options |= {"dropout_rate": self.dropout_rate, "dropout_key": rngs.dropout()}
            outputs.append(self._attend(group, projected, options))
        joined = rearrange(jnp.concatenate(outputs, axis=2), "b n h d -> b n (h d)")
        return self.out(constrain(joined, BATCH, CONTEXT, TENSOR))

    def descents(
        self,
        inputs: Float[Array, "b n width"],
        context: Float[Array, "b m width"] | None = None,
        *,
        mask: Bool[Array, "b n"] | None = None,
        context_mask: Bool[Array, "b m"] | None = None,
        is_causal: bool = False,
    ) -> list[tuple[HeadGroup, AttentionDescent]]:
        """The trajectories of the non-linear heads: energies, residuals and status of each.

        Args:
          inputs: as in the call.
          context: as in the call.
          mask: as in the call.
          context_mask: as in the call.
          is_causal: as in the call.

        Returns:
          One (group, :class:`hopfield_attn.AttentionDescent`) for each group of non-linear heads,
          with leading axes (b, heads of the group).
        """
        projected = self._project(inputs, context)
        options = self._mask_options(context, mask, context_mask, is_causal)
        found = []
        for group in self.groups:
            if group.family != "identity":
                query, key, value = _select(group, projected)
                solve = self._solve(group)
                found.append((group, attention_descent(query, key, value, **solve, **options)))
        return found

    def problems(
        self,
        inputs: Float[Array, "b n width"],
        context: Float[Array, "b m width"] | None = None,
        *,
        mask: Bool[Array, "b n"] | None = None,
        context_mask: Bool[Array, "b m"] | None = None,
        is_causal: bool = False,
    ) -> list[HeadProblem]:
        """What each group of heads minimises, the identity heads too; arguments as in the call.

        Returns:
          One :class:`HeadProblem` a group, for :mod:`hopfield_attn.analysis.diagnostics`.
        """
        projected = self._project(inputs, context)
        options = self._mask_options(context, mask, context_mask, is_causal)
        return [
            HeadProblem(
                group,
                *weights_and_values(*_select(group, projected), **options),
                self._solve(group),
            )
            for group in self.groups
        ]

    def nonlinearity(self, group: HeadGroup) -> Nonlinearity:
        """F of a group of heads, with one α (and one spline) a head."""
        values = self.spline_values[group.heads] if group.family == "spline" else None
        return make_nonlinearity(group.family, self.alpha[group.heads], values)

    def _project(self, inputs: Array, context: Array | None) -> Projected:
        source = inputs if context is None else context
        projections = self.query(inputs), self.key(source), self.value(source)
        query, key, value = (
            rearrange(a, "b n (h d) -> b n h d", h=self.num_heads) for a in projections
        )
        return query, key, value

    def _mask_options(
        self, context: Array | None, mask: Array | None, context_mask: Array | None, causal: bool
    ) -> dict[str, Any]:
        if context is None and context_mask is not None:
            raise ValueError("context_mask is of a context, and none was given; mask is of inputs")
        key_mask = mask if context is None else context_mask
        return {"query_mask": mask, "key_mask": key_mask, "is_causal": causal}

    def _attend(self, group: HeadGroup, projected: Projected, options: dict[str, Any]) -> Array:
        query, key, value = _select(group, projected)
        if group.family == "identity":
            return standard_attention(query, key, value, **options)
        return nonlinear_attention(
            query,
            key,
            value,
            **self._solve(group),
            **options,
            gradient_mode=self.gradient_mode,
            implementation=self.implementation,
        )

    def _solve(self, group: HeadGroup) -> dict[str, Any]:
        """What ``nonlinear_attention`` needs to know of a group of heads."""
        return {
            "nonlinearity": self.nonlinearity(group),
            "coupling": self.coupling,
            "lam": self.lam,
            "num_steps": self.num_steps,
            "step_size": self.step_size,
            "gain": self.gain,
        }


def _select(group: HeadGroup, projected: Projected) -> Projected:
    query, key, value = (a[:, :, group.heads] for a in projected)
    # Queries may be split by position; every query needs all keys.
    query = constrain(query, BATCH, CONTEXT, TENSOR, None)
    key, value = (constrain(a, BATCH, None, TENSOR, None) for a in (key, value))
    return query, key, value
