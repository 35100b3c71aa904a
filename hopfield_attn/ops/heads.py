"""One head at a time: λ and step by name or number, and a solver over a batch of heads."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_at_least
from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.energies.regimes import auto_lam, auto_step_size
from hopfield_attn.typing import Array, BatchedWeights, EnergyFn, Float, ScalarLike

AUTO = "auto"


class Head(NamedTuple):
    """The energy of one head as a function of its state, and the numbers it is solved with.

    Attributes:
      energy_fn: x (n, d_v) → E.
      start: x₀ = A y.
      lam: λ, as given or as chosen.
      step_size: η, as given or as chosen.
    """

    energy_fn: EnergyFn
    start: Array
    lam: Array
    step_size: Array


def make_head(
    weights: Float[Array, "n m"],
    value: Float[Array, "m dv"],
    nonlinearity: Nonlinearity,
    *,
    coupling: str,
    lam: ScalarLike | str,
    step_size: ScalarLike | str | None,
    gain: ScalarLike | None,
) -> Head:
    """Binds the energy (M1) of one head.

    Args:
      weights: A.
      value: y.
      nonlinearity: F of this head.
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ, or "auto" for the smallest one that certifies convexity.
      step_size: η; ``None`` for 1/(1+λ), "auto" for the certified step.
      gain: s, or ``None`` for 1/d_v.
    """
    options: dict[str, Any] = {"nonlinearity": nonlinearity, "coupling": coupling, "gain": gain}
    if isinstance(lam, str):
        lam = auto_lam(value, weights, **options)
    if isinstance(step_size, str):
        step_size = auto_step_size(value, weights, lam=lam, **options)
    elif step_size is None:
        step_size = default_step_size(lam)
    energy_fn = functools.partial(attention_energy, y=value, weights=weights, lam=lam, **options)
    lam, step_size = (jnp.asarray(number, weights.dtype) for number in (lam, step_size))
    return Head(energy_fn, weights @ value, lam, step_size)


def over_heads(
    solve: Callable[[Array, Array, Nonlinearity], Any],
    weights: BatchedWeights,
    value: Float[Array, "b h m dv"],
    nonlinearity: Nonlinearity,
) -> Any:
    """``solve(A, y, F)`` for every head of every example: leading axes (b, h) on every result."""
    per_head = nonlinearity.per_head(weights.shape[1])
    return jax.vmap(jax.vmap(solve), in_axes=(0, 0, None))(weights, value, per_head)


def default_step_size(lam: ScalarLike) -> ScalarLike:
    """η = 1/(1+λ): one step of an identity head lands on A y from any start (M3).

    Example:
      >>> default_step_size(1.0)
      0.5
    """
    return 1.0 / (1.0 + lam)


def check_number_or_auto(minimum: float, *, exclusive: bool = False, **numbers: Any) -> None:
    """Raises ``ValueError`` unless each is a number above ``minimum``, ``None``, or "auto"."""
    for name, number in numbers.items():
        if isinstance(number, str):
            if number != AUTO:
                raise ValueError(f"{name} must be a number or {AUTO!r}; got {number!r}")
        else:
            check_at_least(minimum, exclusive=exclusive, **{name: number})
