"""The picture of a run and its linear baseline: two loss curves, and the energy of a head."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hopfield_attn.analysis.energies import HeadEnergies

NONLINEAR_COLOR = "#c1440e"
LINEAR_COLOR = "#33658a"
_SMOOTHING = 10
"""Logged steps in the moving mean of a loss curve."""


def draw_comparison(
    path: Path,
    *,
    nonlinear: list[dict[str, Any]],
    linear: list[dict[str, Any]],
    labels: tuple[str, str],
    baseline_loss: float | None,
    head_energies: list[HeadEnergies],
) -> None:
    """Draws loss over steps for two runs, and energy over the T steps of trained heads.

    Args:
      path: the PNG file.
      nonlinear: logged rows of the non-linear run (``metrics.jsonl``).
      linear: logged rows of the linear run.
      labels: legend of the two curves.
      baseline_loss: loss of a model that counts only, drawn as a line; ``None``: no line.
      head_energies: of :func:`hopfield_attn.analysis.energies.head_energies`.
    """
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=150)
        losses, energies = figure.subplots(1, 2)
        _draw_losses(losses, (nonlinear, linear), labels, baseline_loss)
        _draw_energies(energies, head_energies)
        figure.savefig(path)


def _draw_losses(
    axes: Axes,
    runs: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    labels: tuple[str, str],
    baseline_loss: float | None,
) -> None:
    # The linear curve goes on top of the other one, dashed, so that both show where they agree.
    styles: tuple[dict[str, Any], ...] = (
        {"color": NONLINEAR_COLOR},
        {"color": LINEAR_COLOR, "linestyle": (0, (4, 2))},
    )
    for rows, label, style in zip(runs, labels, styles, strict=True):
        # Steps that were skipped have no loss.
        rows = [row for row in rows if row["loss"] is not None]
        steps = np.array([row["step"] for row in rows])
        values = np.array([row["loss"] for row in rows])
        axes.plot(steps, values, alpha=0.2, linewidth=0.8, color=style["color"])
        axes.plot(steps, _moving_mean(values), label=label, linewidth=1.8, **style)
    if baseline_loss is not None:
        axes.axhline(baseline_loss, color="0.5", linewidth=1, linestyle=":")
        axes.annotate(
            "unigram",
            (1, baseline_loss),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="0.4",
            fontsize=9,
        )
    axes.set(xlabel="training step", ylabel="training loss (nats)", title="Training loss")
    axes.legend(frameon=False)


def _draw_energies(axes: Axes, heads: list[HeadEnergies]) -> None:
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, max(len(heads), 1)))
    for head, color in zip(heads, colors, strict=False):
        steps = np.arange(len(head.energies))
        label = (
            f"layer {head.layer + 1}, head {head.head + 1}: {head.family}, α = {head.alpha:+.2f}"
        )
        drop = head.energies - head.energies[0]
        axes.plot(steps, drop, marker="o", markersize=4, color=color, label=label)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set(
        xlabel="step t of the head (0: plain attention)",
        ylabel="E(x_t) − E(x_0)  (nats/β)",
        title="Energy inside the trained heads, mean over held-out rows",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if heads:
        axes.legend(frameon=False, fontsize=8)


def _moving_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the last few values; shorter at the start."""
    sums = np.cumsum(values)
    shifted = np.concatenate([np.zeros(min(_SMOOTHING, len(values))), sums[:-_SMOOTHING]])
    counts = np.minimum(np.arange(1, len(values) + 1), _SMOOTHING)
    return (sums - shifted) / counts
