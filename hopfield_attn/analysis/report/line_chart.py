"""Line charts as inline SVG: axes with units, direct labels, dashes that differ in grey too."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hopfield_attn.analysis.report.markup import Markup, element, join, scrolling

# The hues of Okabe & Ito, darkened so that the labels can be read on white (4.5 to 1).
COLORS = ("#0068a3", "#b34a00", "#00775a", "#a34c80", "#1d7aad", "#8f6200")
# One less than colours, so that thirty curves differ; what is close in colour differs in dashes.
DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 2")
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 160, 14, 46
_LINE = 14
_MAX_POINTS = 400
_LARGEST = 1e100


class Line(NamedTuple):
    """A labelled curve: x and y of equal length; points that no axis can hold are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(
    lines: Sequence[Line], *, x_label: str, y_label: str, title: str, level: Line | None = None
) -> Markup:
    """Draws curves with the label of each at its end.

    Args:
      lines: the curves.
      x_label: with the unit.
      y_label: with the unit.
      title: the message, above the chart.
      level: a horizontal line, the first value of its y; ``None``: none.

    Returns:
      A figure; a note where there is nothing to draw.
    """
    kept = [_thin(line) for line in lines]
    kept = [line for line in kept if line.x]
    if not kept:
        return element("p", f"{title}: nothing to draw.", class_="note")
    levels = list(level.y[:1]) if level is not None else []
    x_ticks = ticks(min(min(k.x) for k in kept), max(max(k.x) for k in kept))
    y_ticks = ticks(min(*levels, *(min(k.y) for k in kept), math.inf),
                    max(*levels, *(max(k.y) for k in kept), -math.inf))  # fmt: skip
    to_x = _scale(x_ticks, _LEFT, _WIDTH - _RIGHT)
    to_y = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    parts = _axes(x_ticks, y_ticks, to_x, to_y, x_label, y_label)
    ends = []
    for k, line in enumerate(kept):
        color, dash = COLORS[k % len(COLORS)], DASHES[k % len(DASHES)]
        points = " ".join(
            f"{to_x(a):.1f},{to_y(b):.1f}" for a, b in zip(line.x, line.y, strict=True)
        )
        style = {"stroke": color, "stroke_dasharray": dash, "fill": "none", "stroke_width": "2"}
        parts.append(element("polyline", points=points, **style))
        if len(line.x) == 1:
            parts.append(element("circle", cx=to_x(line.x[0]), cy=to_y(line.y[0]), r=3, fill=color))
        ends.append((to_y(line.y[-1]), line.label, color))
    if level is not None:
        height = to_y(level.y[0])
        where = {"x1": _LEFT, "x2": _WIDTH - _RIGHT, "y1": height, "y2": height}
        parts.append(element("line", **where, stroke="#777", stroke_dasharray="2 4"))
        ends.append((height, level.label, "#555"))
    parts += _end_labels(ends)
    picture = element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title,
        style=f"min-width:{0.8 * _WIDTH:.0f}px",
    )  # fmt: skip
    return element("figure", element("figcaption", title), scrolling(picture))


def ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers from below ``low`` to above ``high``.

    Example:
      >>> ticks(0.3, 4.2)
      [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    if high - low <= 1e-12 * max(1.0, abs(low), abs(high)):
        low, high = low - max(abs(low) * 0.1, 1e-6), high + max(abs(high) * 0.1, 1e-6)
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(k * step, digits) for k in range(first, last + 1)]


def _thin(line: Line) -> Line:
    pairs = [
        (float(a), float(b))
        for a, b in zip(line.x, line.y, strict=True)
        if a is not None and b is not None and abs(a) < _LARGEST and abs(b) < _LARGEST
    ]
    every = max(1, math.ceil(len(pairs) / _MAX_POINTS))
    # The last point stays: the label stands beside it.
    pairs = pairs[:-1:every] + pairs[-1:]
    return Line(line.label, [a for a, _ in pairs], [b for _, b in pairs])


def _scale(marks: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = marks[0], marks[-1]
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
    x_label: str,
    y_label: str,
) -> list[Markup]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for tick in y_ticks:
        y = to_y(tick)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", _tick(tick), x=left - 6, y=y + 4, text_anchor="end"))
    for tick in x_ticks:
        x = to_x(tick)
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(element("text", _tick(tick), x=x, y=bottom + 18, text_anchor="middle"))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    middle = (left + right) / 2
    parts.append(element("text", x_label, x=middle, y=_HEIGHT - 8, text_anchor="middle"))
    turn = f"translate(14 {(_TOP + bottom) / 2}) rotate(-90)"
    return [*parts, element("text", y_label, transform=turn, text_anchor="middle")]


def _end_labels(ends: list[tuple[float, str, str]]) -> list[Markup]:
    """Labels at the ends of the curves, moved apart where they would overlap."""
    ends = sorted(ends)
    parts = []
    for y, (_, label, color) in zip(_apart([end[0] for end in ends]), ends, strict=True):
        shown = label if len(label) <= 24 else label[:23] + "…"
        text = join([shown, element("title", label)])
        parts.append(element("text", text, x=_WIDTH - _RIGHT + 8, y=y + 4, fill=color))
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights at least a line apart, in order; none below the axis, where its numbers stand."""
    found: list[float] = []
    for y in heights:
        found.append(max(y, found[-1] + _LINE) if found else y)
    lowest: float = _HEIGHT - _BOTTOM
    for k in reversed(range(len(found))):
        found[k] = min(found[k], lowest)
        lowest = found[k] - _LINE
    return found


def _tick(value: float) -> str:
    if abs(value) >= 1e4:
        return f"{value / 1000:,.6g}k".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")
