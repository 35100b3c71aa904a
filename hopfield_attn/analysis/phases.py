"""The phase diagram of a head: how many wells over the strength α and the tie λ."""

import dataclasses
import itertools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.tree_util import Partial
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hopfield_attn.analysis.head_wells import head_energy, reduced_head, start_states
from hopfield_attn.analysis.wells import Ends, cluster, descend_all, is_minimum, spectrum_at
from hopfield_attn.energies.attention import check_head, default_gain
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.energies.regimes import regime
from hopfield_attn.solvers.equilibrium import CONVERGED, DIVERGED
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import Array, Float, ScalarLike, Values, Weights

UNBOUNDED = 0
NOT_CONVERGED = -1
_COLORS = ("#9db8d3", "#e9e9e9", "#ffffff", "#fdeaae", "#f3b44a", "#c1660e", "#7a2a06")
_NAMES = ("not at rest", "unbounded", "1 well", "2", "3–4", "5–8", "more")
_EDGES = (-1.5, -0.5, 0.5, 1.5, 2.5, 4.5, 8.5, 1e9)
_HATCHES = {NOT_CONVERGED: "....", UNBOUNDED: "////"}
"""Counts grow darker, so that the picture also reads in grey; cells without a count are hatched."""


class Phases(NamedTuple):
    """How many wells were found for each α and λ.

    Attributes:
      family: of F.
      alphas: (a,).
      lams: (l,).
      counts: wells, (a, l): 0 where starts fall without end, −1 where none came to rest in a well.
      certified: λ that certifies convexity for each α, (a,): 1 + λ = s · sup F''₊ · λ_max(G), with
        the eigenvalue itself and not a bound; below 0 every λ does.
    """

    family: str
    alphas: np.ndarray
    lams: np.ndarray
    counts: np.ndarray
    certified: np.ndarray


def phase_diagram(
    weights: Weights,
    values: Values,
    *,
    nonlinearity: Nonlinearity,
    alphas: Float[np.ndarray, "a"],
    lams: Float[np.ndarray, "l"],
    coupling: str,
    gain: ScalarLike | None = None,
    query: int | None = None,
    num_starts: int = 32,
    spread: float = 2.0,
    seed: int = 0,
    max_steps: int = 2000,
) -> Phases:
    """Counts the wells of one head over a grid of α and λ; arguments as of ``head_wells``.

    Args:
      weights: A, (n, m).
      values: y, (m, d_v); half precision is searched in float32.
      nonlinearity: F with a strength and a bounded F'', such as ``log_cosh()``; a spline with its
        values. Its own α is left aside.
      alphas: strengths α.
      lams: λ ≥ 0.
      coupling: "pooled", "pairwise" or "elementwise".
      gain: s; ``None`` is 1/d_v.
      query: for "pairwise" and "elementwise".
      num_starts: for each cell; the same starts everywhere.
      spread: of the starts.
      seed: of the starts.
      max_steps: for each start.

    Raises:
      ValueError: for an F without a strength, or with an unbounded F'', which has no certified
        step.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> found = phase_diagram(jnp.ones((1, 1)), jnp.ones((1, 1)), coupling="pooled",
      ...                       nonlinearity=nonlinearities.log_cosh(),
      ...                       alphas=np.array([0.5, 6.0]), lams=np.array([0.0]))
      >>> found.counts.tolist(), found.certified.round(3).tolist()
      ([[1], [2]], [-0.5, 5.0])
    """
    s = default_gain(values.shape[-1]) if gain is None else gain
    for lam in lams:
        check_head(values, weights, coupling=coupling, lam=float(lam), gain=s)
    name = nonlinearity.name
    if nonlinearity.alpha is None or not _with_alpha(nonlinearity, 1.0).is_bounded:
        raise ValueError(
            "nonlinearity must have a strength α and a bounded F'', as 'log_cosh', 'quadratic' and "
            f"'spline' have; got {name!r}"
        )
    weights, values = at_least_float32((weights, values))
    A, y = reduced_head(weights, values, coupling=coupling, query=query)
    starts = start_states(A, y, coupling=coupling, num_starts=num_starts, spread=spread, seed=seed)

    def energy_at(alpha: Array, lam: Array) -> Partial:
        F = _with_alpha(nonlinearity, alpha)
        return head_energy(A, y, F, coupling=coupling, lam=lam, gain=s)

    def solve(cell: tuple[Array, Array]) -> Ends:
        alpha, lam = cell
        F = _with_alpha(nonlinearity, alpha)
        eta = regime(y, A, nonlinearity=F, coupling=coupling, lam=lam, gain=s).step_size
        return descend_all(energy_at(alpha, lam), starts, step_size=eta, max_steps=max_steps)

    grid = np.meshgrid(alphas, lams, indexing="ij")
    cells = tuple(jnp.asarray(a.ravel(), y.dtype) for a in grid)
    run: Callable[[Any], Ends] = jax.jit(lambda cells: jax.lax.map(solve, cells, batch_size=16))
    ends = jax.tree.map(np.asarray, run(cells))
    counts = [
        _count(jax.tree.map(lambda a, k=k: a[k], ends), energy_at(cells[0][k], cells[1][k]))
        for k in range(len(cells[0]))
    ]
    largest, opposite = _largest_interactions(A, y, coupling)
    edge = []
    for alpha in alphas:
        low, high = map(float, _with_alpha(nonlinearity, float(alpha)).curvature_range)
        softening = max(0.0, high * largest, -low * opposite)
        edge.append(float(s) * softening - 1.0)
    return Phases(name, alphas, lams, np.array(counts).reshape(grid[0].shape), np.array(edge))


def _with_alpha(nonlinearity: Nonlinearity, alpha: ScalarLike) -> Nonlinearity:
    return dataclasses.replace(nonlinearity, alpha=alpha)


def _largest_interactions(weights: Array, values: Array, coupling: str) -> tuple[float, float]:
    """λ_max of what F'' = 1 and F'' = −1 take off 1 + λ in the Hessian, by s, in float64.

    Pooled and pairwise heads gain convexity where F'' < 0.
    """
    A, y = (np.asarray(array, np.float64) for array in (weights, values))
    if coupling == "elementwise":
        attended = A @ y
        return float(attended.max()), float(-attended.min())
    if coupling == "pooled":
        matrices = ((A.T @ A) * (y @ y.T))[None]
    else:
        matrices = np.einsum("nm,md,me->nde", A, y, y)
    return float(np.linalg.eigvalsh(matrices)[:, -1].max()), 0.0


def _count(ends: Ends, energy_fn: Partial) -> int:
    if np.any(ends.status == DIVERGED):
        return UNBOUNDED
    states, kept = np.asarray(ends.x), np.asarray(ends.status) == CONVERGED
    _, firsts = cluster(states, np.asarray(ends.energy), kept, separation=2e-2)
    # With one place alone there is nothing to tell apart: an energy that is bounded has a minimum.
    if len(firsts) > 1:
        firsts = [k for k in firsts if is_minimum(spectrum_at(energy_fn, states[k]))]
    return len(firsts) or NOT_CONVERGED


def draw_phases(
    path: Path | BytesIO, found: Phases, *, title: str, own: tuple[float, float] | None = None
) -> None:
    """Draws the counts over α and λ, and over them the certificate's boundary.

    Args:
      path: the PNG file, or an open one.
      found: of :func:`phase_diagram`.
      title: the message, above the picture.
      own: (α, λ) of the head itself, marked where it is given.
    """
    with matplotlib.rc_context({"font.size": 9, "hatch.color": "0.55"}):
        figure = Figure(figsize=(5.6, 4.0), layout="constrained", dpi=130)
        axes = figure.subplots()
        norm = BoundaryNorm(_EDGES, len(_COLORS))
        counts = found.counts.T
        mesh = axes.pcolormesh(
            found.alphas, found.lams, counts, cmap=ListedColormap(_COLORS), norm=norm,
        )  # fmt: skip
        for value, hatch in _HATCHES.items():
            if np.any(counts == value):
                mask = np.ma.masked_where(counts != value, counts)
                clear = ListedColormap([(0.0, 0.0, 0.0, 0.0)])
                axes.pcolor(found.alphas, found.lams, mask, hatch=hatch, cmap=clear)
        (line,) = axes.plot(found.alphas, found.certified, color="#1b1b1b", linewidth=2)
        if len(found.lams) > 1:
            axes.set_ylim(found.lams.min(), found.lams.max())
        if own is not None:
            _mark(axes, own)
        middles = [(low + high) / 2 for low, high in itertools.pairwise(_EDGES)]
        bar = figure.colorbar(mesh, ax=axes, ticks=middles, label="wells found")
        bar.ax.set_yticklabels(_NAMES)
        axes.set(xlabel=f"strength α of {found.family}", ylabel="tie λ")
        low, high = axes.get_ylim()
        if np.any((found.certified > low) & (found.certified < high)):
            # Not beside the line, where there may be no room on the side that it speaks of.
            figure.legend(
                [line], ["above this line one well is proved"], loc="outside lower center",
                frameon=False,
            )  # fmt: skip
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="png")


def _mark(axes: Any, own: tuple[float, float]) -> None:
    axes.plot(*own, "o", color="#1d5fa8", markersize=7, markeredgecolor="white", zorder=5)
    side = _inner_side(axes, own[0])
    text = axes.annotate(
        f"this head, α = {own[0]:.2g}", own, xytext=(0, 9), textcoords="offset points", ha=side,
        fontsize=7.5, color="#1d5fa8",
    )  # fmt: skip
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _inner_side(axes: Any, x: float) -> str:
    """How to align a text at ``x`` so that it stays inside the axes."""
    left, right = axes.get_xlim()
    return "left" if x < (left + right) / 2 else "right"
