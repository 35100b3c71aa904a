"""The non-linearities F(u; α) that sit inside the attention energy.

Every family with a strength α is the identity at α = 0, exactly: in value and in every derivative,
the ones with respect to α included. So a trained linear encoder converted to non-linear heads with
α = 0 computes what it did before, and training moves α from there. ``square`` and ``exp`` are the
pure forms of Farooq (2025) and have no strength.

A family is a row of :data:`FORMULAS` and the documented function that makes it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_choice
from hopfield_attn.typing import Array, Float, Scalar, ScalarLike

CurvatureRange = tuple[Any, Any]
"""(inf F'', sup F'') over all u."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nonlinearity:
    """A scalar function F(u; α) with what is known of its second derivative.

    It is a pytree whose only leaf is α, so it passes through ``jax.jit``, ``jax.vmap`` (one α a
    head) and ``jax.grad`` (learned α) as an array does.

    Attributes:
      name: the family, a key of :data:`FAMILIES`, or the name of the user's function.
      fn: F(u, α), elementwise in u.
      curvature_fn: α → (inf F'', sup F''), or ``None`` when unknown.
      alpha: the strength α, a scalar or one number a head; ``None`` for a family without one.

    Example:
      >>> F = quadratic(0.5)
      >>> float(F(2.0)), float(F.derivative(2.0)), float(F.max_curvature)
      (3.0, 2.0, 0.5)
    """

    name: str = dataclasses.field(metadata={"static": True})
    fn: Callable[[Any, Any], Array] = dataclasses.field(metadata={"static": True})
    curvature_fn: Callable[[Any], CurvatureRange] | None = dataclasses.field(
        metadata={"static": True}
    )
    alpha: Any = None

    def __call__(self, u: Float[Array, "..."] | ScalarLike) -> Float[Array, "..."]:
        """Returns F(u), elementwise; α must be a scalar or broadcast against u."""
        u = jnp.asarray(u, jnp.result_type(u, float))
        # α follows the precision of u, so that a float32 head stays float32 under x64.
        return self.fn(u, None if self.alpha is None else jnp.asarray(self.alpha, u.dtype))

    def derivative(self, u: Float[Array, "..."] | ScalarLike) -> Float[Array, "..."]:
        """Returns F'(u), elementwise, by ``jax.grad`` of :meth:`__call__`."""
        u = jnp.asarray(u, jnp.result_type(u, float))
        return jax.jvp(self, (u,), (jnp.ones_like(u),))[1]

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
        return self.curvature_fn(self.alpha)

    @property
    def max_curvature(self) -> Scalar:
        """Sup F'': decides convexity (M8). Infinite where F'' is unbounded above."""
        return jnp.asarray(self.curvature_range[1], float)

    @property
    def max_abs_curvature(self) -> Scalar:
        """Sup |F''|: bounds the step of gradient descent (section 5 of the mathematics)."""
        low, high = self.curvature_range
        return jnp.maximum(jnp.abs(jnp.asarray(low, float)), jnp.abs(jnp.asarray(high, float)))


_SERIES_RADIUS = 0.5
_NUM_SERIES_TERMS = 20
"""0.5^20/21! is 2e-26: exact in float64 with room for the derivatives of the series."""


def _expm1_over(z: Array) -> Array:
    """(e^z − 1)/z with the limit 1 at 0, smooth for autodiff of any order."""
    near = jnp.abs(z) < _SERIES_RADIUS
    series = jnp.ones_like(z)
    small = jnp.where(near, z, 0.0)
    for k in range(_NUM_SERIES_TERMS, 1, -1):
        series = 1 + series * small / k
    far = jnp.where(near, 1.0, z)
    return jnp.where(near, series, jnp.expm1(far) / far)


def _log_cosh(u: Array) -> Array:
    """Log cosh u; logaddexp has smooth derivatives of every order, |u| + … loses F''(0)."""
    return jnp.logaddexp(u, -u) - jnp.log(2.0).astype(u.dtype)


def _exponential_curvature(alpha: Any) -> CurvatureRange:
    return jnp.where(alpha < 0, -jnp.inf, 0.0), jnp.where(alpha > 0, jnp.inf, 0.0)


def _cubic_curvature(alpha: Any) -> CurvatureRange:
    bound = jnp.where(alpha == 0, 0.0, jnp.inf)
    return -bound, bound


class Formula(NamedTuple):
    """F(u, α) and α → (inf F'', sup F'').

    Module-level objects: a function made anew at each call would make ``jax.jit`` compile again.
    """

    fn: Callable[[Any, Any], Array]
    curvature_fn: Callable[[Any], CurvatureRange]


FORMULAS: dict[str, Formula] = {
    "identity": Formula(lambda u, _: u, lambda _: (0.0, 0.0)),
    "quadratic": Formula(lambda u, a: u + 0.5 * a * u * u, lambda a: (a, a)),
    "cubic": Formula(lambda u, a: u + a * u * u * u / 3, _cubic_curvature),
    "exponential": Formula(lambda u, a: u * _expm1_over(a * u), _exponential_curvature),
    "log_cosh": Formula(
        lambda u, a: u + a * _log_cosh(u), lambda a: (jnp.minimum(a, 0.0), jnp.maximum(a, 0.0))
    ),
    "square": Formula(lambda u, _: u * u, lambda _: (2.0, 2.0)),
    "exp": Formula(lambda u, _: jnp.exp(u), lambda _: (0.0, jnp.inf)),
}
"""Family name → its formula."""


def identity() -> Nonlinearity:
    """F(u) = u: the head is Vaswani attention. F'' = 0.

    Example:
      >>> float(identity()(3.0))
      3.0
    """
    return _make("identity")


def quadratic(alpha: ScalarLike = 0.0) -> Nonlinearity:
    """F(u) = u + αu²/2, F' = 1 + αu, F'' = α.

    Args:
      alpha: strength α, any sign; 0 is the identity.

    Example:
      >>> float(quadratic(0.5)(2.0))
      3.0
    """
    return _make("quadratic", alpha)


def cubic(alpha: ScalarLike = 0.0) -> Nonlinearity:
    """F(u) = u + αu³/3, F' = 1 + αu², F'' = 2αu: unbounded on both sides unless α = 0.

    Args:
      alpha: strength α, any sign; 0 is the identity.

    Example:
      >>> float(cubic(3.0)(2.0))
      10.0
    """
    return _make("cubic", alpha)


def exponential(alpha: ScalarLike = 0.0) -> Nonlinearity:
    """F(u) = (e^{αu} − 1)/α, F' = e^{αu}, F'' = α e^{αu}: unbounded on the side of α's sign.

    The limit u at α = 0 is exact, in value and in the derivatives with respect to u and α.

    Args:
      alpha: strength α, any sign; 0 is the identity.

    Example:
      >>> float(exponential(0.0)(2.0)), round(float(exponential(1.0)(1.0)), 4)
      (2.0, 1.7183)
    """
    return _make("exponential", alpha)


def log_cosh(alpha: ScalarLike = 0.0) -> Nonlinearity:
    """F(u) = u + α log cosh u, F' = 1 + α tanh u, F'' = α / cosh² u, between 0 and α.

    Args:
      alpha: strength α, any sign; 0 is the identity.

    Example:
      >>> float(log_cosh(0.7)(0.0)), float(log_cosh(0.7).max_curvature)
      (0.0, 0.699999988079071)
    """
    return _make("log_cosh", alpha)


def square() -> Nonlinearity:
    """F(u) = u², F' = 2u, F'' = 2 (Farooq 2025). No strength, and not the identity anywhere.

    Example:
      >>> float(square()(3.0))
      9.0
    """
    return _make("square")


def exp() -> Nonlinearity:
    """F(u) = F' = F'' = e^u (Farooq 2025). No strength; F'' has no upper bound.

    Example:
      >>> float(exp()(0.0))
      1.0
    """
    return _make("exp")


def _make(name: str, alpha: ScalarLike | None = None) -> Nonlinearity:
    return Nonlinearity(name, *FORMULAS[name], alpha=alpha)


FAMILIES: dict[str, Callable[..., Nonlinearity]] = {
    "identity": identity,
    "quadratic": quadratic,
    "cubic": cubic,
    "exponential": exponential,
    "log_cosh": log_cosh,
    "square": square,
    "exp": exp,
}
"""Family name → the function that makes it."""

WITHOUT_ALPHA = ("identity", "square", "exp")
"""Families that take no strength."""


def make_nonlinearity(name: str, alpha: ScalarLike = 0.0) -> Nonlinearity:
    """Returns the named family with strength α; α is left aside where a family has none.

    Args:
      name: a key of :data:`FAMILIES`.
      alpha: strength α: a scalar, or an array with one entry a head.

    Raises:
      ValueError: for an unknown name; the message lists the known ones.

    Example:
      >>> make_nonlinearity("quadratic", 0.1).name
      'quadratic'
    """
    check_choice("nonlinearity", name, FAMILIES)
    return FAMILIES[name]() if name in WITHOUT_ALPHA else FAMILIES[name](alpha)


def as_nonlinearity(
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    *,
    curvature_range: CurvatureRange | None = None,
) -> Nonlinearity:
    """Returns a :class:`Nonlinearity` for a user's own scalar function; passes one through.

    Args:
      nonlinearity: a :class:`Nonlinearity`, or F itself: a JAX function that works elementwise and
        can be differentiated twice.
      curvature_range: (inf F'', sup F'') where known. Without it nothing can be certified.

    Raises:
      TypeError: if it is neither.

    Example:
      >>> F = as_nonlinearity(jnp.sin, curvature_range=(-1.0, 1.0))
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
    user_fn = nonlinearity
    return Nonlinearity(
        getattr(user_fn, "__name__", type(user_fn).__name__),
        _IgnoreAlpha(user_fn),
        None if curvature_range is None else _Constant(tuple(curvature_range)),
    )


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
