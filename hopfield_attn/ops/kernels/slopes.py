"""F', F'' and ∂F'/∂α of a non-linearity inside a kernel, where α is a tile of shape (1, 1)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.energies.nonlinearities import FORMULAS
from hopfield_attn.energies.nonlinearity import Nonlinearity
from hopfield_attn.typing import Array, Float

# Closed forms: autodiff of F would carry its series and its dead terms through every tile, and
# not every back end has all of their functions.
DERIVATIVES: dict[str, Callable[[Array, Any], Array]] = {
    "identity": lambda u, _: jnp.ones_like(u),
    "quadratic": lambda u, a: 1 + a * u,
    "cubic": lambda u, a: 1 + a * u * u,
    "exponential": lambda u, a: jnp.exp(a * u),
    "log_cosh": lambda u, a: 1 + a * jnp.tanh(u),
    "square": lambda u, _: 2 * u,
    "exp": lambda u, _: jnp.exp(u),
}
"""Family name → F'(u, α)."""


def slope(F: Nonlinearity, u: Float[Array, "r c"], alpha: Any) -> Float[Array, "r c"]:
    """F'(u) with the strength ``alpha``, (1, 1) or ``None``."""
    formula = FORMULAS.get(F.name)
    # A user's function may have the name of a family.
    if formula is not None and formula.fn is F.fn:
        return DERIVATIVES[F.name](u, alpha)
    return dataclasses.replace(F, alpha=alpha).derivative(u)


def bend(F: Nonlinearity, u: Float[Array, "r c"], alpha: Any) -> Float[Array, "r c"]:
    """F''(u)."""
    return jax.jvp(lambda u: slope(F, u, alpha), (u,), (jnp.ones_like(u),))[1]


def slope_by_alpha(
    F: Nonlinearity, u: Float[Array, "r c"], alpha: Float[Array, "1 1"]
) -> Float[Array, "r c"]:
    """∂F'(u)/∂α."""
    return jax.jvp(lambda a: slope(F, u, a), (alpha,), (jnp.ones_like(alpha),))[1]


def check_kernel_nonlinearity(F: Nonlinearity, num_heads: int) -> None:
    """Raises unless F can be evaluated inside a kernel.

    Args:
      F: its α is ``None`` or (g,).
      num_heads: g, batch times heads.

    Raises:
      ValueError: for a spline, a function that closes over arrays, and another shape of α.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> check_kernel_nonlinearity(nonlinearities.square(), 2)
    """
    hint = "use implementation='blockwise'"
    if F.values is not None:
        raise ValueError(
            "kernels evaluate F inside the kernel; splines need their table of values there; "
            + hint
        )
    if F.alpha is not None and jnp.shape(F.alpha) != (num_heads,):
        raise ValueError(f"alpha must have shape ({num_heads},); got {jnp.shape(F.alpha)}")
    tile = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    alphas = () if F.alpha is None else (tile,)
    traced = jax.make_jaxpr(lambda u, *a: slope(F, u, a[0] if a else None))(tile, *alphas)
    if traced.consts:
        raise ValueError(
            f"kernels evaluate F inside the kernel; {F.name!r} closes over arrays, which cannot "
            f"go there; {hint}"
        )
