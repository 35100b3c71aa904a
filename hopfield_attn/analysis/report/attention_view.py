"""Effective attention of a head beside plain attention, with a slider over the steps."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from hopfield_attn.analysis.effective_attention import AttentionMeasures, attention_measures
from hopfield_attn.analysis.head_trace import HeadTrace
from hopfield_attn.analysis.report.markup import Markup, element, json_data, number
from hopfield_attn.analysis.source_mass import source_mass
from hopfield_attn.energies.regimes import REGIME_NAMES

_CELL, _LABELS = 16, 84
_BLUE = (0, 62, 117)
_ORANGE = (176, 74, 0)
_VISIBLE = -0.005
"""A share of the largest weight below which a cell counts as negative."""


class Queries(NamedTuple):
    """Rows with known sources.

    Attributes:
      positions: (q,), the rows.
      sources: (q, n), True at the columns that they should look at.
    """

    positions: np.ndarray
    sources: np.ndarray

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(row, column) of every source."""
        return [(int(self.positions[q]), int(j)) for q, j in np.argwhere(self.sources)]


def attention_view(trace: HeadTrace, *, name: str, queries: Queries | None = None) -> Markup:
    """Matrices over the tokens: plain attention A, W_t with x_t = W_t y, and their difference.

    Darker is larger; a negative weight is orange and has a stroke through it, so that it shows in
    grey as well. The last step is drawn in the page; the slider needs scripts.

    Args:
      trace: of a pooled or pairwise head.
      name: of the view in the page, unlike any other's.
      queries: rows with known sources, which get an outline.

    Returns:
      A section, with the steps up to the first that is not finite; of an elementwise head, which
      has no such matrix, a note.
    """
    matrices = np.asarray(trace.found.attention)
    is_finite = np.isfinite(matrices).all(axis=(1, 2))
    num_finite = len(matrices) if is_finite.all() else int(np.argmin(is_finite))
    if trace.options["coupling"] == "elementwise":
        reason = "scales every feature on its own, and no matrix over tokens gives its output"
        return element("p", f"{trace.name}: an elementwise head {reason}.", class_="note")
    if not num_finite:
        return element("p", f"{trace.name}: its attention is not finite.", class_="note")
    diverged = "" if num_finite == len(matrices) else f", not finite from step {num_finite} on"
    matrices = matrices[:num_finite]
    measures = [attention_measures(w, trace.weights) for w in trace.found.attention[:num_finite]]
    last = num_finite - 1
    lines = [_describe(k, measures[k], trace, queries) for k in range(len(matrices))]
    outlined = queries.cells if queries else []
    changes = matrices - matrices[:1]
    largest, largest_change = (float(np.abs(a).max()) or 1.0 for a in (matrices, changes))
    shown = [
        ("plain attention A", matrices[:1], largest),
        ("effective W", matrices, largest),
        ("W − A", changes, largest_change),
    ]
    views = [
        element(
            "figure",
            element("figcaption", f"{caption}, darkest at {number(scale)}"),
            _matrix(stack[-1], trace.tokens, scale, outlined, caption=caption),
        )
        for caption, stack, scale in shown
    ]
    data = {"lines": lines, "views": [_cells(stack, scale) for *_, stack, scale in shown[1:]]}
    slider = element(
        "label",
        "step t ",
        Markup(f'<input type="range" min="0" max="{last}" value="{last}" step="1">'),
        element("output", str(last)),
    )
    return element(
        "section",
        element("h3", _heading(trace) + diverged),
        slider,
        element("div", *views, class_="views"),
        element("p", lines[last], class_="measures"),
        json_data(data),
        class_="attention",
        id=name,
    )


def _heading(trace: HeadTrace) -> str:
    if trace.nonlinearity.alpha is None:
        return trace.name
    return f"{trace.name}, α = {number(trace.alpha)}"


def _cells(matrices: np.ndarray, largest: float) -> list[dict[str, list]]:
    """Colour, sign and value of every cell at every step."""
    return [
        {
            "colors": [cell_color(value / largest) for value in step.ravel().tolist()],
            "signs": [int(value < _VISIBLE * largest) for value in step.ravel().tolist()],
            "values": [_hint(value) for value in step.ravel().tolist()],
        }
        for step in matrices
    ]


def _hint(value: float) -> str:
    return f"{value:+.4f}"


def cell_color(share: float) -> str:
    """White to blue for weights from 0 to 1, white to orange for negative ones.

    Example:
      >>> cell_color(0.0), cell_color(1.0), cell_color(-1.0)
      ('#ffffff', '#003e75', '#b04a00')
    """
    end = _BLUE if share >= 0 else _ORANGE
    weight = min(1.0, abs(share)) ** 0.7
    return "#" + "".join(f"{round(255 + (value - 255) * weight):02x}" for value in end)


def _describe(
    step: int, measures: AttentionMeasures, trace: HeadTrace, queries: Queries | None
) -> str:
    found = trace.found
    sums = np.asarray(measures.row_sums)
    parts = [
        f"step {step}: energy {number(float(found.energies[step]))} nats/β",
        f"residual {number(float(found.residuals[step]))}",
        f"mean entropy {number(float(np.mean(measures.entropy)))} nats",
        f"row sums {number(float(sums.min()))} to {number(float(sums.max()))}",
        f"rank {int(measures.rank)}, stable rank {number(float(measures.stable_rank))}",
        f"distance to plain attention {float(measures.distance):.1%}",
    ]
    if float(measures.negative) > 0:
        parts.append(f"{float(measures.negative):.1%} of the weight is negative")
    if queries is not None and np.any(queries.sources):
        mass = source_mass(
            found.attention[step][None, None],
            jnp.asarray(queries.positions)[None],
            jnp.asarray(queries.sources)[None],
        )
        parts.append(
            f"{float(mass.heads[0]):.1%} of the queries' weight is at their sources "
            f"({float(mass.uniform):.1%} if all tokens had the same)"
        )
    regime = REGIME_NAMES[int(found.regime.status)]
    certified = "certified" if bool(found.regime.is_certified) else "not certified"
    return "; ".join([*parts, f"regime {regime} ({certified})"]) + "."


def _matrix(
    matrix: np.ndarray,
    tokens: Sequence[str],
    largest: float,
    outlined: Sequence[tuple[int, int]],
    *,
    caption: str,
) -> Markup:
    rows, columns = matrix.shape
    parts = []
    for i, j in np.ndindex(rows, columns):
        x, y = _LABELS + j * _CELL, _LABELS + i * _CELL
        value = float(matrix[i, j])
        color = cell_color(value / largest)
        hint = element("title", f"{tokens[i]} → {tokens[j]}: {_hint(value)}")
        parts.append(element("rect", hint, x=x, y=y, width=_CELL, height=_CELL, fill=color))
    strokes = [
        element(
            "line", x1=_LABELS + j * _CELL + 3, x2=_LABELS + (j + 1) * _CELL - 3,
            y1=_LABELS + (i + 0.5) * _CELL, y2=_LABELS + (i + 0.5) * _CELL,
            class_="minus" if matrix[i, j] < _VISIBLE * largest else "minus hidden",
        )
        for i, j in np.ndindex(rows, columns)
    ]  # fmt: skip
    # No rect: the script counts those. White below black shows on dark cells as well as on light.
    for i, j in outlined:
        side = _CELL - 3
        square = f"M{_LABELS + j * _CELL + 1.5} {_LABELS + i * _CELL + 1.5}h{side}v{side}h-{side}z"
        parts += [element("path", d=square, class_=name) for name in ("casing", "source")]
    for k, token in enumerate(tokens):
        short = token if len(token) <= 10 else token[:9] + "…"
        middle = _LABELS + (k + 0.7) * _CELL
        parts.append(element("text", short, x=_LABELS - 5, y=middle, text_anchor="end"))
        parts.append(
            element("text", short, transform=f"translate({middle} {_LABELS - 5}) rotate(-90)")
        )
    size = _LABELS + max(rows, columns) * _CELL + 2
    described = f"{caption} over {rows} tokens; rows look at columns"
    return element("svg", *parts, *strokes, viewBox=f"0 0 {size} {size}", role="img",
                   aria_label=described)  # fmt: skip
