"""The section of a report on what the non-linear heads did while the model was trained."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hopfield_attn.analysis.report.line_chart import Line, line_chart
from hopfield_attn.analysis.report.markup import Markup, join, table
from hopfield_attn.analysis.report.page import Section

_CHARTS = {
    "energy_drop": ("E(x_0) − E(x_T), nats/β", "Energy that the steps take away"),
    "attention_distance": ("‖x_T − A y‖ / ‖A y‖", "Distance to plain attention"),
    "unconverged": ("share of sequences and heads", "Not at a minimum after T steps"),
    "abs_alpha": ("mean |α|", "Strength of the non-linearities"),
}
"""Figure of a layer → unit, title."""


def energy_sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Curves of the figures of :mod:`hopfield_attn.train.energies`, one a layer.

    Args:
      rows: the logged rows of a run.

    Returns:
      One section; none for a run that measured no energies.
    """
    measured = [row for row in rows if _layers(row)]
    if not measured:
        return []
    layers = sorted({layer for row in measured for layer in _layers(row)})
    content = _curves(measured, layers) if len(measured) > 1 else _figures(measured[0], layers)
    num_bad = sum(row.get(f"layer_{k}/non_finite", 0) for row in measured for k in layers)
    lead = "Means over the non-linear heads of a layer and one batch of held-out sequences. "
    lead += (
        "Pairs (sequence, head) with an energy that is not finite, over all measurements: "
        f"{num_bad}; they count as not at a minimum, and are in no other mean."
    )
    return [Section("Energies while training", lead, content)]


def _curves(rows: Sequence[Mapping[str, Any]], layers: Sequence[int]) -> Markup:
    charts = [
        line_chart(
            [_line(rows, layer, name) for layer in layers],
            x_label="update", y_label=unit, title=title,
        )
        for name, (unit, title) in _CHARTS.items()
    ]  # fmt: skip
    return join(charts)


def _figures(row: Mapping[str, Any], layers: Sequence[int]) -> Markup:
    """A table: a curve of one measurement would be a point."""
    header = [f"update {row['step']}", *(f"{title}: {unit}" for unit, title in _CHARTS.values())]
    return table(
        header,
        [[f"layer {k}", *(row.get(f"layer_{k}/{name}") for name in _CHARTS)] for k in layers],
    )


def _layers(row: Mapping[str, Any]) -> list[int]:
    found = (re.fullmatch(r"layer_(\d+)/non_finite", name) for name in row)
    return [int(match[1]) for match in found if match]


def _line(rows: Sequence[Mapping[str, Any]], layer: int, name: str) -> Line:
    key = f"layer_{layer}/{name}"
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return Line(f"layer {layer}", [x for x, _ in points], [y for _, y in points])
