"""One head at a time: λ and step by name or number, and a solver over a batch of heads."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_at_least, check_single
from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.energies.regimes import auto_lam, auto_step_size
from hopfield_attn.ops.partition import CONTEXT, mesh_sizes, num_parts, over_devices
from hopfield_attn.ops.platform import target_platform
from hopfield_attn.typing import Array, BatchedWeights, EnergyFn, Float, PyTree, ScalarLike

AUTO = "auto"
CPU_CELLS = 2**20
"""Attention weights that are worked on at a time on a CPU: 4 MiB of float32 stay in its cache."""
LARGE_HEAD = 2**16
"""Attention weights of a head that on a CPU is worked on alone: its products fill the cores."""


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
    lam, step_size = choose_numbers(weights, value, lam=lam, step_size=step_size, **options)
    energy_fn = functools.partial(attention_energy, y=value, weights=weights, lam=lam, **options)
    return Head(energy_fn, weights @ value, lam, step_size)


def choose_numbers(
    weights: Float[Array, "n m"],
    value: Float[Array, "m dv"],
    *,
    lam: ScalarLike | str,
    step_size: ScalarLike | str | None,
    **options: Any,
) -> tuple[Array, Array]:
    """(λ, η) of one head as arrays: as given, or as chosen; arguments as of :func:`make_head`."""
    if isinstance(lam, str):
        lam = auto_lam(value, weights, **options)
    if isinstance(step_size, str):
        step_size = auto_step_size(value, weights, lam=lam, **options)
    elif step_size is None:
        step_size = default_step_size(lam)
    return jnp.asarray(lam, weights.dtype), jnp.asarray(step_size, weights.dtype)


def over_heads(
    solve: Callable[[Array, Array, Nonlinearity], Any],
    weights: BatchedWeights,
    value: Float[Array, "b h m dv"],
    nonlinearity: Nonlinearity,
) -> Any:
    """``solve(A, y, F)`` for every head of every example: leading axes (b, h) on every result."""
    b, h, n, m = weights.shape
    heads = weights, value, repeat_heads(nonlinearity, b, h)
    return map_heads(lambda head: solve(*head), heads, cells=n * m)


def repeat_heads(nonlinearity: Nonlinearity, b: int, h: int) -> Nonlinearity:
    """F with leading axes (b, h) on every parameter."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[None], (b, *leaf.shape)), nonlinearity.per_head(h)
    )


def map_heads(solve: Callable[[Any], Any], heads: PyTree, *, cells: int) -> Any:
    """``solve`` of every head of every example.

    On a mesh every device does its own. All at once where queries are split over devices: sums over
    queries are then left to the compiler.

    Args:
      solve: a pytree of arrays of one head → a pytree of arrays.
      heads: the same with leading axes (b, h).
      cells: n·m of one head.

    Returns:
      What ``solve`` returns, with leading axes (b, h).
    """
    if num_parts(CONTEXT, mesh_sizes()) > 1:
        return jax.vmap(jax.vmap(solve))(heads)

    def solve_all(heads: PyTree) -> Any:
        b, h = jax.tree.leaves(heads)[0].shape[:2]
        merged = jax.tree.map(lambda leaf: leaf.reshape(b * h, *leaf.shape[2:]), heads)
        found = _map_merged(solve, merged, cells=cells)
        return jax.tree.map(lambda leaf: leaf.reshape(b, h, *leaf.shape[1:]), found)

    return over_devices(solve_all, heads)


def _map_merged(solve: Callable[[Any], Any], heads: PyTree, *, cells: int) -> Any:
    """``solve`` along one leading axis.

    All at once; but on a CPU as many at a time as keep their attention weights in the cache, which
    at n = 1024 halves the time.
    """
    num_heads = jax.tree.leaves(heads)[0].shape[0]
    budget = CPU_CELLS if cells < LARGE_HEAD else cells
    num_groups = -(-num_heads * cells // budget) if target_platform() == "cpu" else 1
    if num_groups <= 1:
        return jax.vmap(solve)(heads)
    size = -(-num_heads // min(num_groups, num_heads))
    # A batch of one is no matrix: XLA's CPU back end takes up to six times as long for it.
    return jax.lax.map(solve, heads, batch_size=None if size == 1 else size)


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
            check_single(**{name: number})
            check_at_least(minimum, exclusive=exclusive, **{name: number})
