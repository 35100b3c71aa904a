"""Landscapes: energies without a minimum, labels of points that lie close together."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hopfield_attn.analysis.landscape import draw_landscape, write_labels


def test_the_landscape_of_an_energy_without_a_minimum_can_be_drawn(tmp_path):
    path = tmp_path / "saddle.png"
    draw_landscape(path, lambda x: x[0] ** 2 - x[1] ** 2, extent=(-1, 1, -1, 1), floor=0.2)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_labels_of_two_close_points_do_not_overlap():
    figure = Figure(figsize=(5, 4), dpi=130)
    axes = figure.subplots()
    extent = (-90.0, 110.0, -180.0, 20.0)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    points = np.array([[0.0, 0.0], [27.0, 0.0], [3.0, -157.0], [3.0, -164.0]])
    write_labels(axes, ["78%", "16%", "5%", "2%"], points, extent)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    pairs = [(i, j) for i in range(4) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert len(boxes) == 4
    assert pairs == []


@pytest.mark.parametrize("height", [1.0, np.nan, np.inf])
def test_an_energy_without_contours_is_said_to_be_so(height, tmp_path):
    path = tmp_path / "flat.png"
    draw_landscape(path, lambda x: height + 0 * x[0], extent=(-1, 1, -1, 1))
    assert path.read_bytes().startswith(b"\x89PNG")
