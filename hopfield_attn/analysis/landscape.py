"""An energy over the plane: contours, stored patterns, and descents into their wells."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

DESCENT_COLOR = "#c1440e"
POINT_COLOR = "#1b1b1b"
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def draw_landscape(
    path: Path | BytesIO,
    energy_fn: Callable[[Any], Any],
    *,
    extent: tuple[float, float, float, float],
    points: np.ndarray | None = None,
    point_labels: Sequence[str] = (),
    paths: np.ndarray | None = None,
    floor: float = 0.0,
    title: str = "",
    labels: tuple[str, str] = ("x₁", "x₂"),
    size: tuple[float, float] = (3.6, 3.2),
) -> None:
    """Draws an energy over the plane, with descents and the stored patterns.

    Args:
      path: the PNG file, or an open one.
      energy_fn: a state (2,) → scalar; points where it is not finite stay white.
      extent: (left, right, bottom, top) of the plane.
      points: (m, 2) stored patterns, drawn as crosses.
      point_labels: text beside each of them; none: no text.
      paths: (descents, T+1, 2): each from its start, a hollow dot, to its end, a full one.
      floor: share of the plane below the lowest colour, for energies without a minimum.
      title: above the picture.
      labels: of the two axes.
      size: width and height in inches.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained", dpi=130)
        axes = figure.subplots()
        _draw_contours(figure, axes, energy_fn, extent, floor)
        if paths is not None:
            for trail in paths:
                axes.plot(*trail.T, color=DESCENT_COLOR, linewidth=1.1, marker=".", markersize=3)
                axes.plot(*trail[0], "o", color=DESCENT_COLOR, mfc="white", markersize=5)
                axes.plot(*trail[-1], "o", color=DESCENT_COLOR, markersize=5)
        if points is not None:
            axes.plot(*points.T, "x", color=POINT_COLOR, markersize=8, markeredgewidth=1.8)
        if points is not None and point_labels:
            write_labels(axes, point_labels, points, extent)
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=extent[:2], ylim=extent[2:])
        axes.set_aspect("equal")
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="png")


def write_labels(
    axes: Axes,
    labels: Sequence[str],
    points: np.ndarray,
    extent: tuple[float, float, float, float],
) -> None:
    """Beside its point: above, or below where a point that has its text is close."""
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    reach = np.array([0.12 * width, 0.06 * height])
    for k, label in enumerate(labels):
        is_close = np.any(np.all(np.abs(points[:k] - points[k]) < reach, axis=1))
        offset = (7, -11) if is_close else (7, 5)
        text = axes.annotate(
            label, tuple(points[k]), xytext=offset, textcoords="offset points", fontsize=8
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _draw_contours(
    figure: Figure,
    axes: Axes,
    energy_fn: Callable[[Any], Any],
    extent: tuple[float, float, float, float],
    floor: float,
) -> None:
    first, second = np.linspace(*extent[:2], 121), np.linspace(*extent[2:], 121)
    grid = np.stack(np.meshgrid(first, second), axis=-1)
    flat = jax.jit(jax.vmap(energy_fn))(jnp.asarray(grid.reshape(-1, 2)))
    energies = np.asarray(flat, float).reshape(grid.shape[:2])
    energies = np.ma.masked_invalid(energies)
    if energies.count() == 0 or np.ptp(energies.compressed()) == 0:
        flat = "is the same everywhere here" if energies.count() else "is nowhere finite here"
        axes.text(0.5, 0.5, f"the energy {flat}", transform=axes.transAxes, ha="center")
        return
    # A deep corner (an energy without a minimum) must not use up the colours.
    low, high = (float(np.quantile(energies.compressed(), q)) for q in (floor, 0.9))
    # Levels crowd near the bottom, where the wells are.
    extend = "both" if floor else "max"
    high = high if high > low else float(energies.max())
    levels = low + (high - low) * np.linspace(0, 1, 14) ** 1.6
    filled = axes.contourf(first, second, energies, levels=levels, cmap="cividis", extend=extend)
    axes.contour(first, second, energies, levels=levels, colors="white", linewidths=0.4)
    figure.colorbar(filled, ax=axes, label="energy (nats/β)", format="%.4g")
