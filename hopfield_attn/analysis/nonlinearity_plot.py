"""F, F' and F'' of non-linearities, drawn over u."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hopfield_attn.energies.nonlinearities import Nonlinearity

_LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_NUM_POINTS = 241
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def draw_nonlinearity(
    path: Path,
    F: Nonlinearity | dict[str, Nonlinearity],
    *,
    u_range: tuple[float, float] = (-4.0, 4.0),
    title: str | None = None,
) -> None:
    """Draws F, F' and F'' over u, side by side.

    Args:
      path: the PNG file.
      F: a non-linearity, or several: label → F.
      u_range: the range of u.
      title: above the picture; ``None``: nothing.

    Raises:
      ValueError: if there is nothing to draw, or the range is empty.
    """
    families = {F.name: F} if isinstance(F, Nonlinearity) else F
    if not families:
        raise ValueError("F must be a non-linearity or a dict with at least one; got {}")
    if not u_range[0] < u_range[1]:
        raise ValueError(f"u_range must be (low, high) with low < high; got {u_range}")
    u = jnp.linspace(*u_range, _NUM_POINTS)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.4), layout="constrained", dpi=130)
        panels = figure.subplots(1, 3)
        colors = matplotlib.colormaps["cividis"](np.linspace(0.05, 0.8, max(len(families), 2)))
        for k, (label, family) in enumerate(families.items()):
            curves = family(u), family.derivative(u), family.second_derivative(u)
            style = {"color": colors[k], "linestyle": _LINE_STYLES[k % len(_LINE_STYLES)]}
            for axes, curve in zip(panels, curves, strict=True):
                axes.plot(u, curve, linewidth=1.6, label=label, **style)
        for axes, name in zip(panels, ("F(u)", "F'(u)", "F''(u)"), strict=True):
            axes.axhline(0, color="0.8", linewidth=0.7, zorder=0)
            axes.axvline(0, color="0.8", linewidth=0.7, zorder=0)
            axes.set(xlabel="u", ylabel=name)
        panels[0].legend(frameon=False, fontsize=8)
        if title is not None:
            figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="png")
