"""The phase diagram of a head: how many wells over the strength α and the tie λ."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hopfield_attn.analysis.head_wells import reduced_head, start_states
from hopfield_attn.analysis.wells import Ends, as_partial, cluster, descend_all
from hopfield_attn.energies.attention import attention_energy, check_head, default_gain
from hopfield_attn.energies.nonlinearities import make_nonlinearity
from hopfield_attn.energies.regimes import regime
from hopfield_attn.solvers.equilibrium import CONVERGED, DIVERGED
from hopfield_attn.typing import Array, Float, ScalarLike, Values, Weights

UNBOUNDED = 0
NOT_CONVERGED = -1
_COLORS = ("#e9e9e9", "#ffffff", "#fdeaae", "#f3b44a", "#c1660e", "#7a2a06")
_NAMES = ("unbounded", "1 well", "2", "3–4", "5–8", "more")
_EDGES = (-1.5, 0.5, 1.5, 2.5, 4.5, 8.5, 1e9)
"""Counts grow darker, so that the picture also reads in grey; unbounded cells are hatched."""


class Phases(NamedTuple):
    """How many wells were found for each α and λ.

    Attributes:
      family: of F.
      alphas: (a,).
      lams: (l,).
      counts: wells, (a, l): 0 where starts fall without end, −1 where none came to rest.
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
    family: str,
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
      values: y, (m, d_v).
      family: a key of ``nonlinearities.FAMILIES`` whose F'' is bounded, such as "log_cosh".
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
      ValueError: for a family whose F'' is unbounded, which has no certified step.

    Example:
      >>> found = phase_diagram(jnp.ones((1, 1)), jnp.ones((1, 1)), family="log_cosh",
      ...                       alphas=np.array([0.5, 6.0]), lams=np.array([0.0]),
      ...                       coupling="pooled", num_starts=32)
      >>> found.counts.tolist(), found.certified.round(3).tolist()
      ([[1], [2]], [-0.5, 5.0])
    """
    s = default_gain(values.shape[-1]) if gain is None else gain
    for lam in lams:
        check_head(values, weights, coupling=coupling, lam=float(lam), gain=s)
    if not make_nonlinearity(family, 1.0).is_bounded:
        raise ValueError(
            f"family must be one with a bounded F'', such as 'log_cosh'; got {family!r}"
        )
    A, y = reduced_head(weights, values, coupling=coupling, query=query)
    starts = start_states(A, y, coupling=coupling, num_starts=num_starts, spread=spread, seed=seed)
    options: dict[str, Any] = {"coupling": coupling, "gain": s}

    def solve(cell: tuple[Array, Array]) -> Ends:
        alpha, lam = cell
        F = make_nonlinearity(family, alpha)
        eta = regime(y, A, nonlinearity=F, lam=lam, **options).step_size

        def energy_fn(z: Array) -> Array:
            return attention_energy(z, y, A, nonlinearity=F, lam=lam, **options)

        return descend_all(as_partial(energy_fn), starts, step_size=eta, max_steps=max_steps)

    grid = np.meshgrid(alphas, lams, indexing="ij")
    cells = tuple(jnp.asarray(a.ravel(), y.dtype) for a in grid)
    run: Callable[[Any], Ends] = jax.jit(lambda cells: jax.lax.map(solve, cells, batch_size=16))
    ends = jax.tree.map(np.asarray, run(cells))
    counts = [_count(jax.tree.map(lambda a, k=k: a[k], ends)) for k in range(len(cells[0]))]
    largest, opposite = _largest_interactions(A, y, coupling)
    edge = []
    for alpha in alphas:
        low, high = map(float, make_nonlinearity(family, float(alpha)).curvature_range)
        softening = max(0.0, high * largest, -low * opposite)
        edge.append(float(s) * softening - 1.0)
    return Phases(family, alphas, lams, np.array(counts).reshape(grid[0].shape), np.array(edge))


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


def _count(ends: Ends) -> int:
    if np.any(ends.status == DIVERGED):
        return UNBOUNDED
    kept = np.asarray(ends.status) == CONVERGED
    _, firsts = cluster(np.asarray(ends.x), np.asarray(ends.energy), kept, separation=2e-2)
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
        counts = np.where(found.counts == NOT_CONVERGED, np.nan, found.counts).T
        mesh = axes.pcolormesh(
            found.alphas, found.lams, counts, cmap=ListedColormap(_COLORS), norm=norm,
        )  # fmt: skip
        if np.any(found.counts == UNBOUNDED):
            mask = np.ma.masked_where(counts != UNBOUNDED, counts)
            clear = ListedColormap([(0.0, 0.0, 0.0, 0.0)])
            axes.pcolor(found.alphas, found.lams, mask, hatch="////", cmap=clear)
        axes.plot(found.alphas, found.certified, color="#1b1b1b", linewidth=2)
        _label_boundary(axes, found)
        if own is not None:
            _mark(axes, own)
        bar = figure.colorbar(mesh, ax=axes, ticks=[-0.5, 1, 2, 3.5, 6.5, 5e8], label="wells found")
        bar.ax.set_yticklabels(_NAMES)
        axes.set(
            xlabel=f"strength α of {found.family}", ylabel="tie λ",
            ylim=(found.lams.min(), found.lams.max()),
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


def _label_boundary(axes: Any, found: Phases) -> None:
    low, high = found.lams.min(), found.lams.max()
    inside = np.flatnonzero((found.certified > low) & (found.certified < high))
    if len(inside):
        k = inside[3 * len(inside) // 4]
        side = _inner_side(axes, found.alphas[k])
        text = axes.annotate(
            "1 + λ = s α λmax(G)\nabove: one well, proved",
            (found.alphas[k], found.certified[k]),
            xytext=(7 if side == "left" else -7, 0),
            textcoords="offset points",
            va="center",
            ha=side,
            fontsize=7.5,
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
