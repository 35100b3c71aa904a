"""The type of a non-linearity F(u; α): a function, its parameters, and what is known of F''."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_choice
from hopfield_attn.typing import Array, Float, Scalar, ScalarLike

CurvatureRange = tuple[Any, Any]
"""(inf F'', sup F'') over all u."""

GROWTHS = ("linear", "quadratic", "faster")
"""How F grows as |u| → ∞: linear growth leaves the energy bounded below for every λ."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nonlinearity:
    """A scalar function F(u; α) with what is known of its second derivative.

    It is a pytree whose leaves are its parameters, so it passes through ``jax.jit``, ``jax.vmap``
    (one F a head) and ``jax.grad`` (learned F) as an array does.

    Attributes:
      name: the family, a key of ``nonlinearities.FAMILIES``, or the name of the user's function.
      fn: F(u, α), or F(u, α, values) for a spline, elementwise in u.
      curvature_fn: the parameters → (inf F'', sup F''), or ``None`` when unknown.
      growth: "linear", "quadratic" or "faster"; ``None`` when unknown.
      alpha: the strength α, a scalar or one number a head; ``None`` for a family without one.
      values: a spline's values at its knots, (K,) or one row a head; ``None`` for other families.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> F = nonlinearities.quadratic(0.5)
      >>> float(F(2.0)), float(F.derivative(2.0)), float(F.max_curvature)
      (3.0, 2.0, 0.5)
    """

    name: str = dataclasses.field(metadata={"static": True})
    fn: Callable[..., Array] = dataclasses.field(metadata={"static": True})
    curvature_fn: Callable[..., CurvatureRange] | None = dataclasses.field(
        metadata={"static": True}
    )
    growth: str | None = dataclasses.field(default=None, metadata={"static": True})
    alpha: Any = None
    values: Any = None

    def __call__(self, u: Float[Array, "..."] | ScalarLike) -> Float[Array, "..."]:
        """Returns F(u), elementwise; α must be a scalar or broadcast against u."""
        u = jnp.asarray(u, jnp.result_type(u, float))
        # Parameters follow the precision of u, so that a float32 head stays float32 under x64.
        alpha = None if self.alpha is None else jnp.asarray(self.alpha, u.dtype)
        return self.fn(u, alpha, *self._values())

    def derivative(self, u: Float[Array, "..."] | ScalarLike) -> Float[Array, "..."]:
        """Returns F'(u), elementwise, by ``jax.grad`` of :meth:`__call__`."""
        u = jnp.asarray(u, jnp.result_type(u, float))
        return jax.jvp(self, (u,), (jnp.ones_like(u),))[1]

    def second_derivative(self, u: Float[Array, "..."] | ScalarLike) -> Float[Array, "..."]:
        """Returns F''(u), elementwise."""
        u = jnp.asarray(u, jnp.result_type(u, float))
        return jax.jvp(self.derivative, (u,), (jnp.ones_like(u),))[1]

    @property
    def is_bounded(self) -> bool:
        """Whether F'' is known to be bounded, whatever the parameters."""
        return self.curvature_fn is not None and self.growth in ("linear", "quadratic")

    @property
    def is_linear(self) -> bool:
        """Whether F is known to be linear before anything is computed: F'' = 0, no parameters."""
        if self.curvature_fn is None or self.alpha is not None or self.values is not None:
            return False
        ends = self.curvature_fn(None)
        return not any(isinstance(end, jax.core.Tracer) or end != 0 for end in ends)

    @property
    def curvature_range(self) -> CurvatureRange:
        """(inf F'', sup F'') over all u.

        Raises:
          ValueError: if the function was given without a curvature bound.
        """
        if self.curvature_fn is None:
            raise ValueError(
                f"the curvature of {self.name!r} is not known; "
                "state it: as_nonlinearity(fn, curvature_range=(inf F'', sup F''))"
            )
        return self.curvature_fn(self.alpha, *self._values())

    @property
    def max_curvature(self) -> Scalar:
        """Sup F'': decides convexity (M8). Infinite where F'' is unbounded above."""
        return jnp.asarray(self.curvature_range[1], float)

    @property
    def max_abs_curvature(self) -> Scalar:
        """Sup |F''|: bounds the step of gradient descent (section 4 of docs/mathematics.md)."""
        low, high = self.curvature_range
        return jnp.maximum(jnp.abs(jnp.asarray(low, float)), jnp.abs(jnp.asarray(high, float)))

    def check_heads(self, num_heads: int) -> None:
        """Raises ``ValueError`` unless the parameters are shared, or one a head."""
        shape = () if self.alpha is None else jnp.shape(self.alpha)
        if shape not in ((), (num_heads,)):
            raise ValueError(
                "alpha must be a scalar or have one entry a head, "
                f"shape ({num_heads},); got {shape}"
            )
        if self.values is not None and jnp.shape(self.values)[:-1] not in ((), (num_heads,)):
            raise ValueError(
                "values must have shape (K,) or one row a head, "
                f"({num_heads}, K); got {jnp.shape(self.values)}"
            )

    def per_head(self, num_heads: int) -> "Nonlinearity":
        """The same F with a leading axis of heads on every parameter, to ``vmap`` over."""

        def spread(leaf: Any, shape: tuple[int, ...]) -> Any:
            if leaf is None:
                return None
            # α = 1 is a number like 1.0; an integer has no derivative.
            is_floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            leaf = jnp.asarray(leaf, None if is_floating else float)
            return jnp.broadcast_to(leaf, (num_heads, *shape))

        num_values = () if self.values is None else jnp.shape(self.values)[-1:]
        return dataclasses.replace(
            self, alpha=spread(self.alpha, ()), values=spread(self.values, num_values)
        )

    def _values(self) -> tuple[Any, ...]:
        return () if self.values is None else (self.values,)


def as_nonlinearity(
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    *,
    curvature_range: CurvatureRange | None = None,
    growth: str | None = None,
) -> Nonlinearity:
    """Returns a :class:`Nonlinearity` for a user's own scalar function; passes one through.

    Args:
      nonlinearity: a :class:`Nonlinearity`, or F itself: a JAX function that works elementwise and
        can be differentiated twice.
      curvature_range: (inf F'', sup F'') where known. Without it nothing can be certified.
      growth: "linear", "quadratic" or "faster" as |u| → ∞, where known ("faster": than u², on one
        side at least); ``None`` is "quadratic", the most there can be, where F'' is bounded.

    Raises:
      TypeError: if it is neither.
      ValueError: for an unknown growth, a "faster" one where F'' is bounded, and a curvature range
        whose ends are in the wrong order.

    Example:
      >>> F = as_nonlinearity(jnp.sin, curvature_range=(-1.0, 1.0), growth="linear")
      >>> F.name, float(F.max_abs_curvature)
      ('sin', 1.0)
    """
    if isinstance(nonlinearity, Nonlinearity):
        return nonlinearity
    if not callable(nonlinearity):
        raise TypeError(
            "nonlinearity must be a Nonlinearity (hopfield_attn.nonlinearities has the families) "
            f"or a scalar function F(u); got {nonlinearity!r}"
        )
    is_bounded = curvature_range is not None and _is_bounded(curvature_range)
    if growth is not None:
        check_choice("growth", growth, GROWTHS)
        if growth == "faster" and is_bounded:
            raise ValueError(
                "growth must be 'linear' or 'quadratic' where F'' is bounded; got 'faster' with "
                f"curvature_range={curvature_range}"
            )
    elif is_bounded:
        growth = "quadratic"
    user_fn = nonlinearity
    return Nonlinearity(
        getattr(user_fn, "__name__", type(user_fn).__name__),
        _IgnoreAlpha(user_fn),
        None if curvature_range is None else _Constant(tuple(curvature_range)),
        growth,
    )


def _is_bounded(curvature_range: CurvatureRange) -> bool:
    """Whether both ends are finite; ends that are traced have no number yet and count as such."""
    if any(isinstance(end, jax.core.Tracer) for end in curvature_range):
        return True
    low, high = (float(end) for end in curvature_range)
    # NaN fails too: every comparison with NaN is false.
    if not low <= high:
        raise ValueError(f"curvature_range must be (inf F'', sup F''); got {curvature_range}")
    return math.isfinite(low) and math.isfinite(high)


@dataclasses.dataclass(frozen=True)
class _IgnoreAlpha:
    """F(u) as F(u, α). Equal for equal F, so that jit does not compile the same F twice."""

    fn: Callable[[Any], Array]

    def __call__(self, u: Array, alpha: None) -> Array:
        return self.fn(u)


@dataclasses.dataclass(frozen=True)
class _Constant:
    """A curvature range that depends on nothing."""

    value: CurvatureRange

    def __call__(self, alpha: None) -> CurvatureRange:
        return self.value
