"""Context wells: where descents from many starts end, how many such places there are, how deep."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from hopfield_attn.checks import check_at_least, check_rank
from hopfield_attn.solvers.equilibrium import CONVERGED, OUTCOME_NAMES, equilibrium
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.solvers.spectrum import hessian_spectrum
from hopfield_attn.typing import Array, EnergyFn, Float, Int, ScalarLike

SADDLE = len(OUTCOME_NAMES)
STATUS_NAMES = (*OUTCOME_NAMES, "saddle")
"""Meaning of ``Wells.statuses``: index → name; "diverged" is a start from which E falls forever."""

NO_WELL = -1
"""``Wells.well_of_start`` of a start that ends in no well."""

_SEGMENT_POINTS = 65


class Wells(NamedTuple):
    """The minima that a set of starts leads to, the lowest first; arrays of NumPy, never NaN.

    Attributes:
      states: the minima, (k, …).
      energies: E there, (k,), in nats/β.
      depths: how far E must rise to leave a well along the straight line to another one, for the
        lowest such line, (k,): an upper bound of the true barrier, exact in one dimension; inf
        where the well is the only one.
      basins: share of all starts that end in each well, (k,).
      spectra: eigenvalues of the Hessian at each, ascending, (k, values).
      well_of_start: index of the well, or :data:`NO_WELL`, (starts,).
      statuses: what became of each start, an index into :data:`STATUS_NAMES`, (starts,).
      ends: where each start ended, (starts, …).
    """

    states: np.ndarray
    energies: np.ndarray
    depths: np.ndarray
    basins: np.ndarray
    spectra: np.ndarray
    well_of_start: np.ndarray
    statuses: np.ndarray
    ends: np.ndarray

    @property
    def num_wells(self) -> int:
        """Number of wells that were found: no fewer exist, perhaps more."""
        return len(self.energies)

    def share(self, status: str) -> float:
        """Share of the starts with a status of :data:`STATUS_NAMES`."""
        return float(np.mean(self.statuses == STATUS_NAMES.index(status)))


class Ends(NamedTuple):
    """Where descents ended: states (starts, …), their energies, residuals and statuses."""

    x: Float[Array, "starts ..."]
    energy: Float[Array, "starts"]
    residual: Float[Array, "starts"]
    status: Int[Array, "starts"]


def find_wells(
    energy_fn: EnergyFn,
    starts: Float[Array, "starts ..."],
    *,
    step_size: ScalarLike,
    max_steps: int = 5000,
    tolerance: float | None = None,
    separation: float = 1e-2,
    backtracking: bool = False,
) -> Wells:
    """Descends from every start to a stationary point and groups the ends into wells.

    Two ends are one well where ‖x − x'‖ ≤ separation · max(1, ‖x‖). A stationary point whose
    Hessian has a clearly negative eigenvalue is a saddle and no well.

    Args:
      energy_fn: E: one state, an array → scalar.
      starts: the starts, one a row; of half precision they descend in float32.
      step_size: η of gradient descent: 1/(Lipschitz bound of ∇E) cannot miss.
      max_steps: for each start.
      tolerance: of ‖∇E‖, relative to max(1, ‖x‖); ``None`` is √eps of the dtype.
      separation: below it two ends are one.
      backtracking: halve steps that let the energy rise.

    Returns:
      :class:`Wells`. An energy without a minimum gives none of them, and statuses that say so.

    Raises:
      ValueError: for numbers out of range, no starts, or an energy that is no scalar.

    Example:
      >>> double_well = lambda x: jnp.sum((x**2 - 1.0) ** 2)
      >>> found = find_wells(double_well, jnp.array([[-2.0], [0.1], [0.0], [0.7]]), step_size=0.02)
      >>> found.num_wells, sorted(found.basins.tolist()), STATUS_NAMES[found.statuses[2]]
      (2, [0.25, 0.5], 'saddle')
      >>> [f"{depth:.2f}" for depth in found.depths]
      ['1.00', '1.00']
    """
    check_at_least(0, exclusive=True, separation=separation)
    if not np.shape(starts) or len(starts) == 0:
        raise ValueError(f"starts must have a row for each start; got shape {np.shape(starts)}")
    limits: dict[str, Any] = {
        "max_steps": max_steps,
        "tolerance": tolerance,
        "backtracking": backtracking,
    }
    energy_fn = as_partial(energy_fn)
    starts = at_least_float32(jnp.asarray(starts))
    ends = descend_all(energy_fn, starts, step_size=step_size, **limits)
    return group_ends(energy_fn, ends, separation=separation)


def as_partial(energy_fn: EnergyFn) -> Partial:
    """An energy that can be an argument of a compiled function.

    A ``Partial`` of arrays is one already: energies that differ in their arrays alone are then
    compiled once.
    """
    return energy_fn if isinstance(energy_fn, Partial) else Partial(energy_fn)


@functools.partial(jax.jit, static_argnames=("max_steps", "tolerance", "backtracking"))
def descend_all(
    energy_fn: Partial,
    starts: Array,
    *,
    step_size: ScalarLike,
    max_steps: int,
    tolerance: float | None = None,
    backtracking: bool = False,
) -> Ends:
    """The first half of :func:`find_wells`; ``jit`` and ``vmap`` go over it."""
    if tolerance is None:
        tolerance = float(jnp.finfo(starts.dtype).eps) ** 0.5
    solve = jax.vmap(
        lambda x0: equilibrium(
            energy_fn,
            x0,
            rule=optax.sgd(step_size),
            tolerance=tolerance,
            max_steps=max_steps,
            backtracking=backtracking,
            gradient_mode="one_step",
        )
    )
    found = solve(starts)
    return Ends(found.x, found.energy, found.residual, found.status)


def group_ends(energy_fn: Partial, ends: Ends, *, separation: float) -> Wells:
    """The second half of :func:`find_wells`: the ends of descents → wells."""
    states, energies = np.asarray(ends.x), np.asarray(ends.energy)
    statuses = np.array(ends.status)
    labels, firsts = cluster(states, energies, statuses == CONVERGED, separation=separation)
    spectra = [spectrum_at(energy_fn, states[k]) for k in firsts]
    kept = [k for k, values in enumerate(spectra) if is_minimum(values)]
    statuses[(labels != NO_WELL) & ~np.isin(labels, kept)] = SADDLE
    well_of_start = np.full(len(labels), NO_WELL)
    for new, old in enumerate(kept):
        well_of_start[labels == old] = new
    rows = [firsts[k] for k in kept]
    return Wells(
        states=states[rows],
        energies=energies[rows],
        depths=_depths(energy_fn, states[rows], energies[rows]),
        basins=np.array([np.mean(well_of_start == k) for k in range(len(kept))]),
        spectra=np.array([spectra[k] for k in kept]).reshape(len(kept), states[0].size),
        well_of_start=well_of_start,
        statuses=statuses,
        ends=states,
    )


def cluster(
    states: np.ndarray, energies: np.ndarray, is_kept: np.ndarray, *, separation: float
) -> tuple[np.ndarray, list[int]]:
    """(cluster of each state, or −1 where it is not kept; the lowest member of each cluster).

    Clusters are numbered from the lowest energy up.

    Example:
      >>> cluster(np.array([[1.0], [5.0], [1.001]]), np.array([0.0, -1.0, 0.0]),
      ...         np.array([True, True, True]), separation=0.01)
      (array([1, 0, 1]), [1, 0])
    """
    check_rank(1, "starts", energies=energies, is_kept=is_kept)
    # Ends of energies without a minimum may be as large as their dtype holds, or not finite.
    flat = states.reshape(len(states), -1).astype(np.float64)
    sizes = np.maximum(1.0, np.linalg.norm(flat, axis=1))
    labels, firsts = np.full(len(flat), NO_WELL), list[int]()
    for k in np.argsort(energies, kind="stable"):
        if not is_kept[k] or labels[k] != NO_WELL:
            continue
        is_open = np.flatnonzero(is_kept & (labels == NO_WELL))
        distances = np.linalg.norm(flat[is_open] - flat[k], axis=1)
        labels[is_open[distances <= separation * sizes[k]]] = len(firsts)
        firsts.append(int(k))
    return labels, firsts


def spectrum_at(energy_fn: Partial, state: np.ndarray) -> np.ndarray:
    """All eigenvalues of the Hessian at a state, ascending."""
    return np.asarray(_spectrum(energy_fn, state))


def is_minimum(spectrum: np.ndarray) -> bool:
    """Whether a stationary point with this spectrum is a well: no value is clearly negative."""
    return bool(spectrum[0] >= -1e-3 * max(1.0, np.abs(spectrum).max()))


@jax.jit
def _spectrum(energy_fn: Partial, x: Array) -> Array:
    return hessian_spectrum(energy_fn, x)


@jax.jit
def _highest(energy_fn: Partial, a: Array, b: Array) -> Array:
    """The largest energy on the straight line from a to b."""
    shares = jnp.linspace(0.0, 1.0, _SEGMENT_POINTS, dtype=a.dtype)
    return jnp.max(jax.vmap(lambda t: energy_fn((1 - t) * a + t * b))(shares))


def _depths(energy_fn: Partial, states: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Barrier to the other wells along straight lines, the lowest of them."""
    tops = np.full((len(states), len(states)), np.inf)
    for a in range(len(states)):
        for b in range(a):
            tops[a, b] = tops[b, a] = float(_highest(energy_fn, states[a], states[b]))
    lowest = tops.min(axis=1, initial=np.inf)
    return np.maximum(lowest - energies, 0.0)
