"""Text cannot become markup, numbers read well, and charts draw what they are given."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.analysis.report.attention_view import cell_color
from hopfield_attn.analysis.report.head_grid import HeadValue, head_grid
from hopfield_attn.analysis.report.line_chart import Line, line_chart, ticks
from hopfield_attn.analysis.report.markup import Markup, element, json_data, table
from hopfield_attn.analysis.report.page import Section, render_page

EVIL = '<script>alert("x")</script>'


class Tags(HTMLParser):
    """Counts the elements of a page, and checks that they close in order."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(text):
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.seen


@given(st.text(max_size=30))
def test_any_text_comes_back_as_it_went_in(text):
    shown = element("p", text, title=text)
    inner = re.fullmatch(r"<p title=\"(.*?)\">(.*)</p>", shown, re.S)
    assert "<" not in inner[2]
    assert '"' not in inner[1]
    assert html.unescape(inner[2]) == text
    embedded = json_data({"text": text})
    assert embedded.count("<") == 2  # of the element itself
    assert json.loads(embedded[embedded.index("{") : embedded.rindex("<")]) == {"text": text}


def test_a_script_in_a_name_stays_text_in_every_part():
    lines = [Line(EVIL, [0, 1], [1.0, 2.0])]
    parts = [
        line_chart(lines, x_label=EVIL, y_label=EVIL, title=EVIL),
        head_grid([HeadValue(1, 1, EVIL, 0.5)], title=EVIL),
        table([EVIL, "b"], [[EVIL, EVIL]]),
    ]
    sections = [Section(EVIL, EVIL, part) for part in parts]
    page = render_page(EVIL, EVIL, sections)
    # The page's own script is the only one.
    assert [tag for tag, _ in parse(page)].count("script") == 1
    assert 'alert("x")' not in page


def test_a_page_fetches_nothing():
    page = render_page("t", "l", [Section("s", "l", Markup("<p>x</p>"))])
    for _, attributes in parse(page):
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_are_few_and_cover_the_values(low, size):
    found = ticks(low, low + size)
    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-6 * (1 + abs(low) + size)
    assert found[-1] >= low + size - 1e-6 * (1 + abs(low) + size)
    assert np.all(np.diff(found) > 0)


def test_a_chart_leaves_out_what_is_not_finite_and_keeps_the_last_point():
    y = [1.0, float("nan"), None, 4.0] + [2.0] * 2000 + [3.0]
    chart = line_chart([Line("a", list(range(len(y))), y)], x_label="x", y_label="y", title="t")
    (points,) = re.findall(r'points="([^"]*)"', chart)
    assert len(points.split()) <= 402
    assert "nan" not in chart
    last = points.split()[-1].split(",")[0]
    assert last == max(points.split(), key=lambda p: float(p.split(",")[0])).split(",")[0]
    assert "nothing to draw" in line_chart([], x_label="x", y_label="y", title="t")


def test_one_point_and_a_constant_curve_can_be_drawn():
    for y in ([2.0], [2.0, 2.0], [0.0, 0.0]):
        chart = line_chart([Line("a", range(len(y)), y)], x_label="x", y_label="y", title="t")
        parse(chart)
        assert "inf" not in chart


def test_labels_of_curves_that_end_at_zero_stay_above_the_axis_and_apart():
    lines = [Line(f"curve {k}", [0, 1], [1.0, 0.001 * k]) for k in range(5)]
    chart = line_chart(lines, x_label="x", y_label="y", title="t")
    heights = sorted(float(y) for y in re.findall(r'<text x="488" y="([^"]*)"', chart))
    # The axis is at 254, its numbers 18 below.
    assert len(heights) == 5 and heights[-1] == 258
    assert np.all(np.diff(heights) == 14)


def test_a_darker_cell_is_a_larger_weight_in_grey_as_well():
    def grey(color):
        r, g, b = (int(color[k : k + 2], 16) for k in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for sign in (1, -1):
        shades = [grey(cell_color(sign * share)) for share in np.linspace(0, 1, 9)]
        assert np.all(np.diff(shades) < 0)


@pytest.mark.parametrize("value", [0.25, -0.25])
def test_a_grid_says_the_value_and_the_family_of_every_head(value):
    grid = head_grid([HeadValue(2, 3, "log_cosh", value)], title="t")
    assert f"{value:+.3f}".replace("-", "−") in grid
    assert "layer 2" in grid and "head 3" in grid and "log_cosh" in grid
