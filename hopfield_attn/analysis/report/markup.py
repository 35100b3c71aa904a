"""HTML of tables, pictures and embedded data; the only place where text becomes markup."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any


class Markup(str):
    """HTML that is safe to put into a page as it is; any other text is escaped first.

    Example:
      >>> escape("a < b"), escape(Markup("<b>bold</b>"))
      ('a &lt; b', '<b>bold</b>')
    """


def escape(value: Any) -> Markup:
    """Text as HTML; :class:`Markup` passes through."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def join(parts: Sequence[Any]) -> Markup:
    """The parts one after another, each escaped unless it is :class:`Markup`."""
    return Markup("".join(escape(part) for part in parts))


def element(tag: str, *content: Any, **attributes: Any) -> Markup:
    """One element; ``class_`` is ``class``, and other underscores are hyphens.

    Example:
      >>> element("a", "<x>", class_="big", data_step=3)
      '<a class="big" data-step="3">&lt;x&gt;</a>'
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{tag}{named}>{join(content)}</{tag}>")


def table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table that scrolls where the screen is narrow; cells that are numbers align right."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    inner = element("table", element("thead", head), element("tbody", *body))
    return scrolling(inner)


def scrolling(content: Markup) -> Markup:
    """A part that scrolls sideways where the screen is too narrow for it to be read."""
    return element("div", content, class_="scroll", tabindex="0")


def number(value: Any) -> str:
    """A number in four significant digits, a count with thousands separators, a dash for none.

    Example:
      >>> number(0.123456), number(1234567), number(None), number(float("inf"))
      ('0.1235', '1,234,567', '–', '∞')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return text.replace("-", "−")


def png_figure(data: bytes, *, caption: str) -> Markup:
    """A picture inside the page, with its caption as its description."""
    source = Markup("data:image/png;base64," + base64.b64encode(data).decode("ascii"))
    image = Markup(f'<img src="{source}" alt="{escape(caption)}">')
    return element("figure", image, element("figcaption", caption))


def json_data(value: Mapping[str, Any]) -> Markup:
    r"""Data for the page's script; ``<`` is written so that no text can end the element.

    Example:
      >>> print(json_data({"t": "</script>"}))
      <script type="application/json">{"t": "\u003c/script>"}</script>
    """
    text = json.dumps(value, allow_nan=False).replace("<", "\\u003c")
    return Markup(f'<script type="application/json">{text}</script>')


def _cell(value: Any) -> Markup:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number or value is None:
        return element("td", number(value), class_="number")
    return element("td", value)
