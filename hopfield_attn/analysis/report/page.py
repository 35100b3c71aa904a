"""The page of a report: its parts under headings, style and script inside, nothing fetched."""

from collections.abc import Sequence
from string import Template
from typing import NamedTuple

from hopfield_attn.analysis.report.markup import Markup, element, escape, join


class Section(NamedTuple):
    """A part of the report: its heading, a sentence that says what to see, and its content."""

    title: str
    lead: str
    content: Markup


def render_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """One HTML document, from parts that are escaped already.

    Args:
      title: of the document.
      lead: one or two sentences below it.
      sections: in order.

    Returns:
      HTML that fetches nothing; a content security policy forbids it.
    """
    names = [f"part-{k}" for k in range(len(sections))]
    links = [
        element("a", section.title, href=f"#{name}")
        for name, section in zip(names, sections, strict=True)
    ]
    body = [
        element(
            "section",
            element("h2", section.title),
            element("p", section.lead, class_="lead"),
            section.content,
            id=name,
        )
        for name, section in zip(names, sections, strict=True)
    ]
    return _PAGE.substitute(
        title=escape(title), lead=escape(lead), links=join(links), body=join(body),
        style=_STYLE, script=_SCRIPT,
    )  # fmt: skip


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><h1>$title</h1><p class="lead">$lead</p><nav aria-label="parts">$links</nav></header>
<main>$body</main>
<script>$script</script>
</body>
</html>
""")

_STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #555; --line: #ddd; --link: #005a9c }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 0 1rem 4rem; color: var(--ink);
  background: #fff; font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .5rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line);
  padding-top: 1rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem }
a { color: var(--link) }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem }
nav a { padding: .35rem 0 }
.lead, .note, .measures, figcaption { color: var(--soft) }
.note { border-left: 3px solid var(--line); padding-left: .75rem }
.measures { font-size: .9rem; min-height: 4.5em }
.scroll { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; font-size: .9rem }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top }
thead th { border-bottom: 2px solid #999 }
td span { white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0; min-width: 0 }
figcaption { font-size: .95rem }
svg, img { display: block; width: 100%; height: auto }
img { max-width: 44rem }
svg text { font: 12px system-ui, sans-serif }
svg .small { font-size: 10px; fill: var(--soft) }
svg .strong { font-weight: 600 }
svg .grid { stroke: #e6e6e6 }
svg .axis { stroke: #777 }
svg .minus { stroke: #fff; stroke-width: 2 }
svg .casing { fill: none; stroke: #fff; stroke-width: 3 }
svg .source { fill: none; stroke: #000; stroke-width: 1 }
svg .hidden { visibility: hidden }
.attention svg text { font-size: 11px }
.views { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem }
label { display: flex; gap: .75rem; align-items: center; min-height: 2.75rem }
input[type=range] { flex: 1; max-width: 24rem; height: 2rem }
output { min-width: 2ch; font-variant-numeric: tabular-nums }
summary { cursor: pointer; padding: .5rem 0 }
@media (max-width: 40rem) { .views { grid-template-columns: 1fr } }
@media print { nav, label { display: none } }
"""

_SCRIPT = """
for (const view of document.querySelectorAll(".attention")) {
  const steps = JSON.parse(view.querySelector("script").textContent);
  const drawn = [...view.querySelectorAll("svg")].slice(1).map(matrix =>
    [matrix.querySelectorAll("rect"), matrix.querySelectorAll("line")]);
  const slider = view.querySelector("input");
  slider.addEventListener("input", () => {
    const t = Number(slider.value);
    view.querySelector("output").textContent = t;
    view.querySelector(".measures").textContent = steps.lines[t];
    drawn.forEach(([cells, strokes], v) => {
      const {colors, signs, values} = steps.views[v][t];
      cells.forEach((cell, k) => {
        cell.setAttribute("fill", colors[k]);
        const hint = cell.querySelector("title");
        const end = hint.textContent.lastIndexOf(": ") + 2;
        hint.textContent = hint.textContent.slice(0, end) + values[k];
      });
      strokes.forEach((line, k) => line.classList.toggle("hidden", !signs[k]));
    });
  });
}
"""
