import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from hopfield_attn import nonlinearities
from hopfield_attn.analysis import nonlinearity_plot
from hopfield_attn.analysis.nonlinearity_plot import draw_nonlinearity


@pytest.fixture
def figures(monkeypatch):
    """The figures that are made."""
    made = []

    class Recorded(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(nonlinearity_plot, "Figure", Recorded)
    return made


def test_three_panels_show_f_and_its_derivatives(tmp_path, figures):
    F = nonlinearities.quadratic(0.5)
    draw_nonlinearity(tmp_path / "F.png", F, u_range=(-2, 3), title="quadratic")
    (figure,) = figures
    u = np.linspace(-2, 3, 241)
    expected = (u + 0.25 * u**2, 1 + 0.5 * u, np.full(241, 0.5))
    names = ("F(u)", "F'(u)", "F''(u)")
    for axes, curve, name in zip(figure.axes, expected, names, strict=True):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("u", name)
        x, y = axes.lines[0].get_data()
        np.testing.assert_allclose(x, u, atol=1e-6)
        np.testing.assert_allclose(y, curve, atol=1e-5)
    assert figure.get_suptitle() == "quadratic"
    height, width, _ = matplotlib.image.imread(tmp_path / "F.png").shape
    assert width > 2 * height > 400


def test_several_are_told_apart_by_label_color_and_line(tmp_path, figures):
    families = {f"a = {a}": nonlinearities.log_cosh(a) for a in (-0.5, 0.2, 0.8)}
    draw_nonlinearity(tmp_path / "F.png", families)
    for figure in figures:
        labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert labels == list(families)
        lines = figure.axes[0].lines[:3]
        assert len({tuple(line.get_color()) for line in lines}) == 3
        assert figure.get_suptitle() == ""


@pytest.mark.usefixtures("no_typechecker")
def test_nothing_to_draw_is_refused(tmp_path):
    path = tmp_path / "F.png"
    with pytest.raises(ValueError, match="a dict with at least one"):
        draw_nonlinearity(path, {})
    with pytest.raises(ValueError, match=r"low < high; got \(1.0, 1.0\)"):
        draw_nonlinearity(path, nonlinearities.exp(), u_range=(1.0, 1.0))
    assert not path.exists()
