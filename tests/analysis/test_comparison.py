import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from hopfield_attn.analysis import comparison
from hopfield_attn.analysis.comparison import draw_comparison
from hopfield_attn.analysis.energies import HeadEnergies


def rows(*losses):
    return [{"step": 10 * k, "loss": loss} for k, loss in enumerate(losses, start=1)]


def head(index, *energies):
    return HeadEnergies(0, index, "quadratic", 0.25, np.array(energies), np.ones(len(energies)), 0)


HEADS = [head(0, 1.0, 0.5, 0.25), head(1, -3.0, -3.5, -3.625)]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, to look into."""
    made = []

    class Recorded(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(comparison, "Figure", Recorded)
    return made


def draw(path, *, nonlinear, linear, heads, baseline_loss=None):
    draw_comparison(
        path,
        nonlinear=nonlinear,
        linear=linear,
        labels=("mixed", "all linear"),
        baseline_loss=baseline_loss,
        head_energies=heads,
    )


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize(
    ("nonlinear", "linear", "heads", "baseline_loss"),
    [
        (rows(*np.linspace(5, 1, 40)), rows(*np.linspace(5, 2, 7)), HEADS, 4.5),
        (rows(2.0), rows(3.0), HEADS[:1], None),  # one logged step each
        (rows(), rows(), [], None),  # nothing at all
        (rows(1.0, 2.0), rows(2.0), [], 3.0),  # no non-linear head
        (rows(1.0, 2.0), rows(2.0, 1.0), [head(0, 1.0)], 3.0),  # T = 0
        (rows(1.0, 2.0), rows(2.0, 1.0), [head(k, 1.0, 0.5) for k in range(24)], 3.0),
    ],
)
def test_picture_is_drawn_whatever_there_is_to_draw(
    nonlinear, linear, heads, baseline_loss, tmp_path
):
    path = tmp_path / "picture.png"
    draw(path, nonlinear=nonlinear, linear=linear, heads=heads, baseline_loss=baseline_loss)
    height, width, _ = matplotlib.image.imread(path).shape
    assert (width, height) == (1650, 630)


def test_curves_are_the_losses_and_their_moving_mean(tmp_path, figures, monkeypatch):
    monkeypatch.setattr(comparison, "_SMOOTHING", 5)
    losses = [8.0, 4.0, 6.0, 2.0, 0.0, 5.0, 1.0]
    draw(tmp_path / "a.png", nonlinear=rows(*losses), linear=rows(3.0, 1.0), heads=HEADS)
    axes = figures[0].axes[0]
    curve = lines_of(axes)["mixed"]
    np.testing.assert_array_equal(curve.get_xdata(), [10, 20, 30, 40, 50, 60, 70])
    # Over up to _SMOOTHING logged steps.
    np.testing.assert_allclose(curve.get_ydata(), [8, 6, 6, 5, 4, 17 / 5, 14 / 5])
    np.testing.assert_allclose(lines_of(axes)["all linear"].get_ydata(), [3, 2])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), losses)


def test_energies_are_drawn_from_plain_attention_on(tmp_path, figures):
    draw(tmp_path / "a.png", nonlinear=rows(1.0), linear=rows(1.0), heads=HEADS)
    curves = lines_of(figures[0].axes[1])
    assert list(curves) == [
        "layer 1, head 1: quadratic, α = +0.25",
        "layer 1, head 2: quadratic, α = +0.25",
    ]
    first, second = curves.values()
    np.testing.assert_array_equal(first.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(first.get_ydata(), [0, -0.5, -0.75])
    np.testing.assert_array_equal(second.get_ydata(), [0, -0.5, -0.625])


def test_settings_of_other_pictures_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    draw(tmp_path / "a.png", nonlinear=rows(1.0), linear=rows(1.0), heads=HEADS)
    assert dict(matplotlib.rcParams) == before
