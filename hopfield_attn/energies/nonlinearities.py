"""The non-linearities F(u; α) that sit inside the attention energy.

Every family with a strength α is the identity at α = 0, exactly: in value and in every derivative,
the ones with respect to α included. So a trained linear encoder converted to non-linear heads with
α = 0 computes what it did before, and training moves α from there. ``square`` and ``exp`` are the
pure forms of Farooq (2025) and have no strength.

A family is a row of :data:`FORMULAS` and the documented function that makes it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from hopfield_attn.checks import check_choice
from hopfield_attn.energies.nonlinearity import CurvatureRange, Nonlinearity, as_nonlinearity
from hopfield_attn.energies.spline import fit_spline, spline
from hopfield_attn.typing import Array, Float, ScalarLike

__all__ = [
    "FAMILIES",
    "FORMULAS",
    "Nonlinearity",
    "as_nonlinearity",
    "cubic",
    "exp",
    "exponential",
    "fit_spline",
    "identity",
    "log_cosh",
    "make_nonlinearity",
    "quadratic",
    "spline",
    "square",
]

_SERIES_RADIUS = 0.5
_NUM_SERIES_TERMS, _NUM_SERIES_TERMS_FLOAT64 = 11, 20
"""0.5^11/12! is 1e-12 and 0.5^20/21! is 2e-26: exact, with room for three derivatives."""


def _expm1_over(z: Array) -> Array:
    """(e^z − 1)/z with the limit 1 at 0, smooth for autodiff of any order."""
    near = jnp.abs(z) < _SERIES_RADIUS
    series = jnp.ones_like(z)
    small = jnp.where(near, z, 0.0)
    is_float64 = jnp.result_type(z) == jnp.float64
    for k in range(_NUM_SERIES_TERMS_FLOAT64 if is_float64 else _NUM_SERIES_TERMS, 1, -1):
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


def _log_cosh_curvature(alpha: Any) -> CurvatureRange:
    return jnp.minimum(alpha, 0.0), jnp.maximum(alpha, 0.0)


class Formula(NamedTuple):
    """F(u, α), α → (inf F'', sup F''), and how F grows.

    Module-level objects: a function made anew at each call would make ``jax.jit`` compile again.
    """

    fn: Callable[..., Array]
    curvature_fn: Callable[..., CurvatureRange]
    growth: str


FORMULAS: dict[str, Formula] = {
    "identity": Formula(lambda u, _: u, lambda _: (0.0, 0.0), "linear"),
    "quadratic": Formula(lambda u, a: u + 0.5 * a * u * u, lambda a: (a, a), "quadratic"),
    "cubic": Formula(lambda u, a: u + a * u * u * u / 3, _cubic_curvature, "faster"),
    "exponential": Formula(lambda u, a: u * _expm1_over(a * u), _exponential_curvature, "faster"),
    "log_cosh": Formula(lambda u, a: u + a * _log_cosh(u), _log_cosh_curvature, "linear"),
    "square": Formula(lambda u, _: u * u, lambda _: (2.0, 2.0), "quadratic"),
    "exp": Formula(lambda u, _: jnp.exp(u), lambda _: (0.0, jnp.inf), "faster"),
}
"""Family name → its formula; that of :func:`spline` depends on its knots."""


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
    "spline": spline,
    "square": square,
    "exp": exp,
}
"""Family name → the function that makes it."""

WITHOUT_ALPHA = ("identity", "square", "exp")
"""Families that take no strength."""


def make_nonlinearity(
    name: str, alpha: ScalarLike = 0.0, values: Float[Array, "*heads K"] | None = None
) -> Nonlinearity:
    """Returns the named family with strength α; α is left aside where a family has none.

    Args:
      name: a key of :data:`FAMILIES`.
      alpha: strength α: a scalar, or an array with one entry a head.
      values: of a spline; left aside by the other families.

    Raises:
      ValueError: for an unknown name; the message lists the known ones.

    Example:
      >>> make_nonlinearity("quadratic", 0.1).name
      'quadratic'
    """
    check_choice("nonlinearity", name, FAMILIES)
    if name == "spline":
        return spline(alpha, values)
    return FAMILIES[name]() if name in WITHOUT_ALPHA else FAMILIES[name](alpha)
