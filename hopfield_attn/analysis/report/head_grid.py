"""A number for every head of every layer, as a grid of shaded cells."""

from collections.abc import Sequence
from typing import NamedTuple

from hopfield_attn.analysis.report.markup import Markup, element, scrolling

_CELL, _ROW, _LEFT, _TOP = 62, 36, 70, 26


class HeadValue(NamedTuple):
    """The value of a head; layer and head are counted from 1."""

    layer: int
    head: int
    family: str
    value: float


def head_grid(values: Sequence[HeadValue], *, title: str) -> Markup:
    """Draws one cell a head: its value, its family, and a shade that grows with |value|.

    Args:
      values: the heads, in any order; heads that are missing stay empty.
      title: the message, above the grid.
    """
    if not values:
        return element("p", "Every head is an identity head: plain attention.", class_="note")
    layers = sorted({value.layer for value in values})
    num_heads = max(value.head for value in values)
    largest = max(abs(value.value) for value in values) or 1.0
    parts = []
    for head in range(1, num_heads + 1):
        x = _LEFT + (head - 0.5) * _CELL
        parts.append(element("text", f"head {head}", x=x, y=16, text_anchor="middle"))
    for layer in layers:
        y = _TOP + layers.index(layer) * _ROW + 22
        parts.append(element("text", f"layer {layer}", x=_LEFT - 8, y=y, text_anchor="end"))
    for value in values:
        x, y = _LEFT + (value.head - 1) * _CELL, _TOP + layers.index(value.layer) * _ROW
        share = abs(value.value) / largest
        box = {"x": x + 1, "y": y + 1, "width": _CELL - 2, "height": _ROW - 2, "rx": 3}
        color = "#0072b2" if value.value < 0 else "#d55e00"
        parts.append(element("rect", **box, fill=color, fill_opacity=f"{0.06 + 0.55 * share:.3f}"))
        middle = {"x": x + _CELL / 2, "text_anchor": "middle"}
        number = f"{value.value:+.3f}".replace("-", "−")
        parts.append(element("text", number, y=y + 16, **middle, class_="strong"))
        parts.append(element("text", value.family[:9], y=y + 29, **middle, class_="small"))
    width, height = _LEFT + num_heads * _CELL + 4, _TOP + len(layers) * _ROW + 4
    picture = element(
        "svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=title,
        style=f"max-width:{width}px;min-width:{0.8 * width:.0f}px",
    )  # fmt: skip
    return element("figure", element("figcaption", title), scrolling(picture))
