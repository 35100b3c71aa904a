"""The context wells of one attention head, and which tokens each of them binds together."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from hopfield_attn.analysis.wells import Wells, descend_all, group_ends
from hopfield_attn.checks import check_at_least, check_count, check_shape
from hopfield_attn.energies.attention import attention_energy, check_head, default_gain
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.energies.regimes import Regime, interaction_arguments, regime
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import Array, EnergyFn, Float, ScalarLike, Values, Weights


class HeadWells(NamedTuple):
    """The wells of a head.

    Attributes:
      wells: in coordinates z with ‖z − z'‖ = ‖x − x'‖; see :func:`reduced_head`.
      gains: c of each well, (k, m): x = A diag(c) y (pooled); for a query, x = (A_i ⊙ c) y
        (pairwise), or x = c ⊙ (A y)_i with one a feature (elementwise). 1 is plain attention: above
        it the well binds a token, below it lets it go, below 0 it takes it with the other sign.
      energy_fn: z → E, the same energy as of x.
      starts: z of every start, (starts, …).
      regime: the certificate, known before iterating.
      step_size: η of the descents.
      backtracking: whether their steps are halved where E would rise: where no step is certified.
      coupling: its name.
    """

    wells: Wells
    gains: np.ndarray
    energy_fn: EnergyFn
    starts: np.ndarray
    regime: Regime
    step_size: float
    backtracking: bool
    coupling: str

    def bound(self, tokens: Sequence[str]) -> list[list[str]]:
        """The tokens that each well binds: those with a gain above 1, the largest first.

        Args:
          tokens: one a column of ``gains``.

        Raises:
          ValueError: if there are more or fewer, or the coupling is elementwise: its gains are of
            features.
        """
        if self.coupling == "elementwise":
            raise ValueError("an elementwise head has gains of features, and binds no token")
        check_shape("tokens", np.zeros(len(tokens)), (self.gains.shape[1],), "one a gain")
        order = np.argsort(-self.gains, axis=1, kind="stable")
        return [
            [tokens[j] for j in row if gains[j] > 1.0]
            for row, gains in zip(order, self.gains, strict=True)
        ]


def head_wells(
    weights: Weights,
    values: Values,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike | None = None,
    query: int | None = None,
    num_starts: int = 64,
    spread: float = 2.0,
    seed: int = 0,
    max_steps: int = 5000,
) -> HeadWells:
    """Descends from many starts and groups the ends: the minima of the energy (M1) of a head.

    Start 0 is plain attention, c = 1; the others have c = 1 + spread · ε, ε standard normal: basin
    sizes are shares of *these* starts. A pooled head is solved on at most m numbers. With the other
    couplings the rows of x do not meet: one query is looked at, and a head has as many wells as the
    product over its queries says.

    Args:
      weights: A, (n, m).
      values: y, (m, d_v); half precision is searched in float32.
      nonlinearity: F.
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0.
      gain: s; ``None`` is 1/d_v.
      query: index of the query, for "pairwise" and "elementwise"; ``None`` for "pooled".
      num_starts: ≥ 1.
      spread: > 0, how far the starts lie from plain attention.
      seed: of the starts.
      max_steps: for each start.

    Returns:
      :class:`HeadWells`; where the energy has no minimum, no wells, and starts that diverged.

    Raises:
      ValueError: for a ``query`` that the coupling does not take; and as
        :func:`hopfield_attn.attention_energy`.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> A, y, F = jnp.eye(2), 2.0 * jnp.eye(2), nonlinearities.log_cosh(4.0)
      >>> found = head_wells(A, y, nonlinearity=F, coupling="pooled", lam=0.0, gain=1.0)
      >>> found.wells.num_wells, sorted(found.bound(["left", "right"]))
      (4, [[], ['left'], ['left', 'right'], ['right']])
    """
    check_head(values, weights, coupling=coupling, lam=lam, gain=gain)
    check_count(1, num_starts=num_starts)
    check_at_least(0, exclusive=True, spread=spread)
    F = as_nonlinearity(nonlinearity)
    weights, values = at_least_float32((weights, values))
    s = default_gain(values.shape[-1]) if gain is None else gain
    weights, values = reduced_head(weights, values, coupling=coupling, query=query)
    certificate = regime(values, weights, nonlinearity=F, coupling=coupling, lam=lam, gain=s)
    starts = start_states(
        weights, values, coupling=coupling, num_starts=num_starts, spread=spread, seed=seed
    )
    step_size, backtracking = float(certificate.step_size), False
    if step_size == 0:  # none is certified: F'' has no lower bound
        step_size, backtracking = 1.0 / (1.0 + float(lam)), True

    energy_fn = head_energy(weights, values, F, coupling=coupling, lam=lam, gain=s)
    ends = descend_all(
        energy_fn, starts, step_size=step_size, max_steps=max_steps, backtracking=backtracking
    )
    wells = group_ends(energy_fn, ends, separation=1e-2)

    def gains_of(z: Array) -> Array:
        met = interaction_arguments(z, values, weights, coupling=coupling, gain=s)
        return (F.derivative(met.reshape(-1)) + lam) / (1.0 + lam)

    num_gains = values.shape[-1 if coupling == "elementwise" else 0]
    gains = np.array([np.asarray(gains_of(jnp.asarray(z))) for z in wells.states])
    gains = gains.reshape(-1, num_gains)
    return HeadWells(
        wells, gains, energy_fn, np.asarray(starts), certificate, step_size, backtracking, coupling
    )


def head_energy(
    weights: Weights,
    values: Values,
    nonlinearity: Nonlinearity,
    *,
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike,
) -> Partial:
    """The function z → E of a head; energies of heads of one shape and family are compiled once."""
    scalars = (jnp.asarray(number, values.dtype) for number in (lam, gain))
    return Partial(_energy_of(coupling), weights, values, nonlinearity, *scalars)


@functools.cache
def _energy_of(coupling: str) -> Callable[..., Array]:
    """One function a coupling, so that heads of one shape are compiled once."""

    def energy(
        A: Array, y: Array, F: Nonlinearity, lam: ScalarLike, gain: ScalarLike, z: Array
    ) -> Array:
        return attention_energy(z, y, A, nonlinearity=F, coupling=coupling, lam=lam, gain=gain)

    return energy


def reduced_head(
    weights: Weights, values: Values, *, coupling: str, query: int | None = None
) -> tuple[Float[Array, "1 m"], Float[Array, "m r"]]:
    """A head of one query with the same wells and the same energies.

    Pooled: every stationary point is x = A diag(c) y, and there E depends on c and on
    G = (Aᵀ A) ⊙ (y yᵀ) alone (M5). With G = B Bᵀ and z = Bᵀ c, ‖z‖ = ‖x‖ and u = B z: E(x) is the
    energy (M1) of one query with weights 1 and values B. So it is not written again here.
    Other couplings: the row of the query.

    Args:
      weights: A, (n, m).
      values: y, (m, d_v).
      coupling: the name.
      query: as of :func:`head_wells`.

    Returns:
      weights (1, m) and values: (m, rank of G) pooled, or y.

    Raises:
      ValueError: for a ``query`` that the coupling does not take.
    """
    n = weights.shape[0]
    if coupling != "pooled":
        if query is None or not 0 <= query < n:
            raise ValueError(
                f"coupling={coupling!r} has wells for each query on its own: query must be an "
                f"index in [0, {n}); got {query}"
            )
        return weights[query : query + 1], values
    if query is not None:
        raise ValueError(f"query must be None for coupling='pooled', which is one; got {query}")
    A, y = (np.asarray(array, np.float64) for array in (weights, values))
    gram = (A.T @ A) * (y @ y.T)
    sizes, vectors = np.linalg.eigh(gram)
    kept = sizes > 1e-14 * max(float(sizes[-1]), np.finfo(np.float64).tiny)
    kept[-1] = True
    roots = vectors[:, kept] * np.sqrt(np.maximum(sizes[kept], 0.0))
    return jnp.ones((1, len(gram)), weights.dtype), jnp.asarray(roots, values.dtype)


def start_states(
    weights: Weights, values: Values, *, coupling: str, num_starts: int, spread: float, seed: int
) -> Float[Array, "starts 1 dv"]:
    """The starts of :func:`head_wells` for a head of one query: start 0 is A y."""
    size = values.shape[-1 if coupling == "elementwise" else 0]
    noise = np.random.default_rng(seed).standard_normal((num_starts, size))
    noise[0] = 0.0
    gains = jnp.asarray(1.0 + spread * noise, values.dtype)
    if coupling == "elementwise":
        return (gains * (weights @ values))[:, None]
    return ((gains * weights) @ values)[:, None]
