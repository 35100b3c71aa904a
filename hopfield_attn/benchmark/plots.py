"""Pictures of a profile: ratios over n and over T, temporaries over n."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from hopfield_attn.benchmark.candidates import AUTO, BASELINES
from hopfield_attn.benchmark.cells import DIRECTIONS
from hopfield_attn.benchmark.summary import Row, central_length, central_steps, measured
from hopfield_attn.ops.nonlinear_attention import IMPLEMENTATIONS

PICTURES = ("ratio_over_length", "ratio_over_steps", "memory_over_length")
_PANEL_TITLES = {"forward": "forward", "forward_backward": "forward + backward"}
# Okabe and Ito's colours, told apart by colour-blind readers; the markers differ as well.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PLAIN_LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def pictures_of(rows: Sequence[Row]) -> list[str]:
    """The names in :data:`PICTURES` that :func:`draw_profile` draws of these rows."""
    found = measured(rows)
    if all(row["F"] is None for row in found):
        return []
    has_memory = any(row.get("temp_bytes") for row in found)
    # One point is no picture.
    num_values = {over: len({row[over] for row in found} - {None}) for over in ("n", "T")}
    return [
        name
        for name in PICTURES
        if (has_memory or not name.startswith("memory"))
        and num_values["T" if name.endswith("steps") else "n"] > 1
    ]


def draw_profile(folder: Path, rows: Sequence[Row], *, title: str, prefix: str = "") -> None:
    """Draws the pictures of the first F and the first coupling of a profile.

    Args:
      folder: where the PNG files go, named after :data:`PICTURES`.
      rows: of the results.
      title: the machine.
      prefix: before the names of the files.
    """
    found = measured(rows)
    ours = [row for row in found if row["F"] is not None]
    if not ours:
        return
    F, coupling = ours[0]["F"], ours[0]["coupling"]
    chosen = [r for r in found if r["F"] in (None, F) and r["coupling"] in (None, coupling)]
    T, n = central_steps(chosen), central_length(chosen)
    at_T = [row for row in chosen if row["T"] in (None, T)]
    at_n = [row for row in chosen if row["n"] == n]
    pictures: dict[str, dict[str, Any]] = {
        "ratio_over_length": {"rows": at_T, "over": "n"},
        "ratio_over_steps": {"rows": at_n, "over": "T"},
        "memory_over_length": {"rows": [r for r in at_T if r.get("temp_bytes")], "over": "n"},
    }
    for name in pictures_of(rows):
        is_ratio = name.startswith("ratio")
        at = f"n = {n}" if pictures[name]["over"] == "T" else f"T = {T}"
        _draw(
            folder / f"{prefix}{name}.png",
            **pictures[name],
            value_fn=_ratio if is_ratio else _mebibytes,
            ylabel="time / time of jax.nn attention" if is_ratio else "temporaries, MiB",
            title=f"{F} F, {coupling} coupling, {at}: {title}",
        )


def _ratio(row: Row) -> float:
    return float(row["ratio"])


def _mebibytes(row: Row) -> float:
    return float(row["temp_bytes"] / 2**20)


def _draw(
    path: Path,
    rows: Sequence[Row],
    *,
    over: str,
    value_fn: Callable[[Row], float],
    ylabel: str,
    title: str,
) -> None:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 3.9), layout="constrained", dpi=130)
        panels = figure.subplots(1, 2, sharey=True)
        # The choice is drawn last, over what it chose.
        order = [*BASELINES, *IMPLEMENTATIONS, AUTO]
        names = sorted({row["implementation"] for row in rows}, key=order.index)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            own = [row for row in rows if row["direction"] == direction]
            for name in names:
                points = [row for row in own if row["implementation"] == name]
                if points:
                    _draw_series(axes, points, over=over, value_fn=value_fn)
            _scale(axes, sorted({row[over] for row in own if row[over] is not None}), over)
            axes.set_title(_PANEL_TITLES[direction], fontsize=9)
        panels[0].set_ylabel(ylabel)
        handles = {h.get_label(): h for axes in panels for h in axes.get_lines()}
        handles = {label: h for label, h in handles.items() if not str(label).startswith("_")}
        figure.legend(
            list(handles.values()),
            list(map(str, handles)),
            loc="outside right center",
            frameon=False,
            fontsize=8,
        )
        figure.suptitle(title, fontsize=9)
        figure.savefig(path, format="png")


def _style(name: str) -> dict[str, Any]:
    """A line, a colour and a marker that an implementation has in every picture."""
    if name in BASELINES:
        line = _PLAIN_LINES[BASELINES.index(name)]
        return {"color": "0.45", "linestyle": line, "label": f"{name} (plain)"}
    if name == AUTO:
        # The choice lies on the line of what it chose: an open ring shows both.
        ring = {"marker": "o", "linestyle": "none", "fillstyle": "none", "markersize": 9}
        return {"color": "black", "label": name} | ring
    k = list(IMPLEMENTATIONS).index(name)
    return {"color": _COLORS[k], "marker": _MARKERS[k], "markersize": 4.5, "label": name}


def _draw_series(
    axes: Axes,
    rows: Sequence[Row],
    *,
    over: str,
    value_fn: Callable[[Row], float],
) -> None:
    style = _style(rows[0]["implementation"])
    if rows[0][over] is None:  # plain attention has no T: a level
        axes.axhline(value_fn(rows[0]), linewidth=1.2, **style)
        return
    ordered = sorted(rows, key=lambda row: row[over])
    axes.plot([r[over] for r in ordered], [value_fn(r) for r in ordered], linewidth=1.4, **style)


def _scale(axes: Axes, values: Sequence[int], over: str) -> None:
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    if over == "n":
        axes.set_xscale("log", base=2)
        axes.set_xlabel("sequence length n")
    else:
        axes.set_xlabel("steps T")
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.9", linewidth=0.6)
