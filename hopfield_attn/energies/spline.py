"""Natural cubic splines on fixed knots, linear outside: the shape of a learned non-linearity."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from hopfield_attn.checks import check_rank, check_shape
from hopfield_attn.energies.nonlinearity import CurvatureRange, Nonlinearity
from hopfield_attn.typing import Array, Float, ScalarLike

DEFAULT_KNOTS = tuple(float(knot) for knot in np.linspace(-4.0, 4.0, 9))
"""Nine knots over the range that s·u has with the default gain."""


# In TF32 or bfloat16 passes s'' would jump at the knots, and its bounds would not hold.
_matmul = functools.partial(jnp.matmul, precision="highest")


@dataclasses.dataclass(frozen=True)
class NaturalSpline:
    """The cubic spline s with s(t_k) = v_k at the knots, s'' = 0 at both ends, linear outside.

    On [t_k, t_{k+1}] of length h, with w = (t_{k+1} − u)/h and r = 1 − w,

        s(u) = w v_k + r v_{k+1} + ((w³ − w) M_k + (r³ − r) M_{k+1}) h²/6,

    where M = s''(t) is a linear map of the values v. s'' is piecewise linear and 0 outside, so its
    extremes are among M and 0: curvature bounds are exact.

    Attributes:
      knots: increasing, at least three. Static: equal knots are one compiled program.

    Raises:
      ValueError: if the knots are too few or do not increase.

    Example:
      >>> spline = NaturalSpline((-1.0, 0.0, 1.0))
      >>> spline(jnp.array([-1.0, 0.0, 2.0]), jnp.array([1.0, 0.0, 1.0])).round(4)
      Array([1. , 0. , 2.5], dtype=float32)
    """

    knots: tuple[float, ...] = DEFAULT_KNOTS

    def __post_init__(self) -> None:
        """Checks the knots."""
        # Hashable, whatever sequence it was.
        object.__setattr__(self, "knots", tuple(float(knot) for knot in self.knots))
        if len(self.knots) < 3 or not np.all(np.diff(self.knots) > 0):
            raise ValueError(f"knots must be at least three increasing numbers; got {self.knots}")

    def __call__(self, u: Float[Array, "..."], values: Float[Array, "K"]) -> Float[Array, "..."]:
        """Returns s(u), elementwise."""
        check_rank(1, "K", values=values)
        knots = jnp.asarray(self.knots, u.dtype)
        values = values.astype(u.dtype)
        curvatures = self.curvatures(values)
        # Not clipped, which would halve the derivative at an end; and far outside, where the line
        # is taken, the powers of w would overflow and make the line's derivative NaN.
        inside = jnp.where((u < knots[0]) | (u > knots[-1]), knots[0], u)
        # With a handful of knots, comparing with all of them is faster than a binary search.
        k = jnp.searchsorted(knots, inside, side="right", method="compare_all") - 1
        k = jnp.clip(k, 0, len(self.knots) - 2)
        length = knots[k + 1] - knots[k]
        w = (knots[k + 1] - inside) / length
        r = 1 - w
        bend = (w**3 - w) * curvatures[k] + (r**3 - r) * curvatures[k + 1]
        cubic = w * values[k] + r * values[k + 1] + bend * length**2 / 6
        return jnp.where(
            u < knots[0],
            self._line(u, values, 0),
            jnp.where(u > knots[-1], self._line(u, values, -1), cubic),
        )

    def curvatures(self, values: Float[Array, "K"]) -> Float[Array, "K"]:
        """M = s''(t) at the knots."""
        return _matmul(jnp.asarray(_curvature_map(self.knots), values.dtype), values)

    def _line(self, u: Array, values: Array, end: int) -> Array:
        """The tangent at the first (0) or the last (−1) knot."""
        slopes = _matmul(jnp.asarray(_end_slope_map(self.knots)[end], values.dtype), values)
        return values[end] + slopes * (u - self.knots[end])


def spline(
    alpha: ScalarLike = 0.0,
    values: Float[Array, "*heads K"] | None = None,
    *,
    knots: tuple[float, ...] = DEFAULT_KNOTS,
) -> Nonlinearity:
    """F(u) = u + α s(u), s the natural cubic spline through ``values`` at ``knots``.

    Linear outside the knots; sup F'' = max α s'' over the knots, exactly.

    Args:
      alpha: strength α, any sign; 0 is the identity.
      values: s at the knots, (K,), or (h, K) with one spline a head; learned like α. ``None`` is
        u²/2: the spline then starts as a quadratic F, and α has a gradient at 0.
      knots: increasing numbers, at least three; static.

    Raises:
      ValueError: if the knots do not increase, or there is not one value a knot.

    Example:
      >>> F = spline(0.5)
      >>> float(F(2.0)), bool(F.max_curvature < 0.7)
      (3.0, True)
    """
    shape = NaturalSpline(knots)
    if values is None:
        values = jnp.asarray(default_spline_values(knots), float)
    check_shape("values", values, (*jnp.shape(values)[:-1], len(knots)), "..., one a knot")
    return Nonlinearity(
        "spline", _SplineFn(shape), _SplineCurvature(shape), "linear", alpha, values
    )


def default_spline_values(knots: tuple[float, ...] = DEFAULT_KNOTS) -> np.ndarray:
    """The values of u²/2 at the knots, which a learned spline starts from."""
    return 0.5 * np.square(knots)


def fit_spline(
    fn: Callable[[Any], Any], *, knots: tuple[float, ...] = DEFAULT_KNOTS
) -> Nonlinearity:
    """The spline with α = 1 that equals ``fn`` at the knots: s(u) = fn(u) − u there.

    Between knots a distance h apart the error is O(h⁴), near the ends O(h²) unless the second
    derivative of ``fn`` is 0 there; outside, the spline goes on as its tangent.

    Args:
      fn: any scalar function, of JAX or not: it is called with one number at a time.
      knots: where to meet it.

    Example:
      >>> F, u = fit_spline(jnp.tanh), jnp.array([-1.0, 2.0])
      >>> bool(jnp.allclose(F(u), jnp.tanh(u)))
      True
    """
    shape = [fn(knot) - knot for knot in np.asarray(knots)]
    return spline(1.0, jnp.asarray(shape, float), knots=knots)


@dataclasses.dataclass(frozen=True)
class _SplineFn:
    """F(u, α, values). Equal for equal knots."""

    shape: NaturalSpline

    def __call__(self, u: Array, alpha: Array, values: Array) -> Array:
        return u + alpha * self.shape(u, values)


@dataclasses.dataclass(frozen=True)
class _SplineCurvature:
    """(inf F'', sup F''): the extremes of α s'' at the knots, and 0 outside them."""

    shape: NaturalSpline

    def __call__(self, alpha: Any, values: Array) -> CurvatureRange:
        bends = alpha * self.shape.curvatures(jnp.asarray(values))
        return jnp.minimum(jnp.min(bends), 0.0), jnp.maximum(jnp.max(bends), 0.0)


@functools.cache
def _curvature_map(knots: tuple[float, ...]) -> np.ndarray:
    """The K × K matrix from values to second derivatives of the natural spline."""
    steps = np.diff(knots)
    size = len(knots)
    left, right = np.eye(size), np.zeros((size, size))
    for k in range(1, size - 1):
        before, after = steps[k - 1], steps[k]
        left[k, k - 1 : k + 2] = before / 6, (before + after) / 3, after / 6
        right[k, k - 1 : k + 2] = 1 / before, -1 / before - 1 / after, 1 / after
    return np.linalg.solve(left, right)


@functools.cache
def _end_slope_map(knots: tuple[float, ...]) -> np.ndarray:
    """The 2 × K matrix from values to the slopes at the first and the last knot."""
    steps, curvature, identity = np.diff(knots), _curvature_map(knots), np.eye(len(knots))
    first = (identity[1] - identity[0]) / steps[0] - curvature[1] * steps[0] / 6
    last = (identity[-1] - identity[-2]) / steps[-1] + curvature[-2] * steps[-1] / 6
    return np.stack([first, last])
