"""Phase diagrams have the wells where theory puts them, and every picture can be drawn."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import attention_energy, nonlinearities
from hopfield_attn.analysis.head_wells import head_wells
from hopfield_attn.analysis.phases import (
    NOT_CONVERGED,
    UNBOUNDED,
    Phases,
    draw_phases,
    phase_diagram,
)
from hopfield_attn.analysis.well_plot import describe_wells, draw_wells, wells_plane
from hopfield_attn.analysis.wells import STATUS_NAMES
from tests.problems import random_head

X64 = pytest.mark.usefixtures("x64")
PNG = b"\x89PNG"


def second_well(g):
    """The κ at which c = 1 + κ tanh(g c) gets a second solution: the least (c + 1)/tanh(g c)."""
    c = np.linspace(1e-3, 60, 400_001)
    return ((c + 1) / np.tanh(g * c)).min()


@X64
def test_one_token_gets_its_second_well_where_the_equation_does():
    # u = g c with g = s y², and wells depend on α/(1+λ) alone.
    y = 1.4
    critical = second_well(y**2)
    ratios, lams = np.array([0.3, 0.97, 1.03, 2.0]), np.array([0.0, 1.0])
    for lam in lams:
        found = phase_diagram(
            jnp.ones((1, 1)), jnp.full((1, 1), y), nonlinearity=nonlinearities.log_cosh(),
            alphas=ratios * critical * (1 + lam), lams=lams[lams == lam], coupling="pooled",
            gain=1.0, num_starts=48, spread=4.0,
        )  # fmt: skip
        assert found.counts[:, 0].tolist() == [1, 1, 2, 2]
        np.testing.assert_allclose(found.certified, found.alphas * y**2 - 1, rtol=1e-9)


@X64
def test_a_quadratic_head_is_unbounded_beyond_the_boundary_and_has_one_well_before():
    _, y, weights = random_head(0)
    found = phase_diagram(
        jnp.asarray(weights), jnp.asarray(y), nonlinearity=nonlinearities.quadratic(),
        alphas=np.array([-1.0, 0.2, 9.0]),
        lams=np.array([0.0, 0.5]), coupling="pooled", num_starts=6,
    )  # fmt: skip
    assert found.counts.tolist() == [[1, 1], [1, 1], [UNBOUNDED, UNBOUNDED]]
    assert found.certified[2] > 0.5 > found.certified[1]
    picture = io.BytesIO()
    draw_phases(picture, found, title="t")
    assert picture.getvalue().startswith(PNG)
    marked = io.BytesIO()
    draw_phases(marked, found, title="t", own=(0.2, 0.25))
    assert marked.getvalue().startswith(PNG) and marked.getvalue() != picture.getvalue()


@pytest.mark.parametrize("family", ["exponential", "cubic", "exp", "identity", "square"])
def test_a_diagram_needs_a_strength_and_a_bound(family):
    F = nonlinearities.make_nonlinearity(family)
    with pytest.raises(ValueError, match=f"a strength α and a bounded F''.*{family}"):
        phase_diagram(
            jnp.ones((1, 1)), jnp.ones((1, 1)), nonlinearity=F, alphas=np.ones(1), lams=np.ones(1),
            coupling="pooled",
        )  # fmt: skip


def test_half_precision_gives_the_same_counts():
    weights, y = jnp.eye(3), jnp.array([[1.0, 0.5], [0.0, 2.0], [-1.5, 1.0]])
    first, second = (
        phase_diagram(
            weights.astype(dtype), y.astype(dtype), nonlinearity=nonlinearities.log_cosh(),
            alphas=np.array([0.5, 4.0, 9.0]), lams=np.array([0.0, 1.0]), coupling="pooled",
            gain=1.0, num_starts=16,
        )
        for dtype in ("float32", "bfloat16")
    )  # fmt: skip
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.counts.max() > 1


@X64
def test_a_saddle_is_no_well():
    # A y = 0: plain attention, the first start, is a stationary point between two wells.
    weights, y = jnp.array([[0.5, 0.5]]), jnp.array([[1.0], [-1.0]])
    options = {"coupling": "pairwise", "gain": 1.0, "query": 0, "num_starts": 32}
    found = phase_diagram(
        weights, y, nonlinearity=nonlinearities.log_cosh(), alphas=np.array([6.0]),
        lams=np.array([0.0]), **options,
    )  # fmt: skip
    wells = head_wells(
        weights, y, nonlinearity=nonlinearities.log_cosh(6.0), lam=0.0, **options
    ).wells
    assert "saddle" in {STATUS_NAMES[status] for status in wells.statuses}
    assert found.counts.tolist() == [[wells.num_wells]] == [[2]]


@X64
def test_a_spline_keeps_its_values():
    values = jnp.asarray(np.cos(np.arange(9.0)))
    weights, y = jnp.eye(2), 2.0 * jnp.eye(2)
    options = {"coupling": "pooled", "gain": 1.0, "num_starts": 48}
    found = phase_diagram(
        weights, y, nonlinearity=nonlinearities.spline(0.0, values), alphas=np.array([8.0]),
        lams=np.array([0.0]), **options,
    )  # fmt: skip
    F = nonlinearities.spline(8.0, values)
    assert (
        found.counts[0, 0]
        == head_wells(weights, y, nonlinearity=F, lam=0.0, **options).wells.num_wells
    )
    (edge,) = found.certified
    np.testing.assert_allclose(edge, 4.0 * float(F.max_curvature) - 1.0)


def test_a_cell_in_which_nothing_comes_to_rest_has_a_colour_of_its_own():
    pictures = []
    for counts in ([[1, 1], [1, 2]], [[NOT_CONVERGED, 1], [1, 2]], [[UNBOUNDED, 1], [1, 2]]):
        found = Phases(
            "log_cosh", np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array(counts),
            np.array([-1.0, -0.5]),
        )  # fmt: skip
        pictures.append(io.BytesIO())
        draw_phases(pictures[-1], found, title="t")
    assert len({picture.getvalue() for picture in pictures}) == 3


@X64
@pytest.mark.parametrize(
    ("size", "F", "message"),
    [
        (1, nonlinearities.log_cosh(4.0), "2 wells: the deepest takes"),
        (3, nonlinearities.log_cosh(4.0), "8 wells: the deepest takes"),
        (2, nonlinearities.log_cosh(-1.0), "One well: 100% of 96 starts end in it"),
        (2, nonlinearities.quadratic(3.0), "No well: 100% of 96 starts fall without end"),
    ],
)
def test_wells_are_drawn_with_their_message(size, F, message):
    options = {"coupling": "pooled", "lam": 0.0, "gain": 1.0, "num_starts": 96}
    found = head_wells(jnp.eye(size), 2.0 * jnp.eye(size), nonlinearity=F, **options)
    assert describe_wells(found).startswith(message)
    picture = io.BytesIO()
    draw_wells(picture, found)
    assert picture.getvalue().startswith(PNG)
    if size > 1:
        origin, basis = wells_plane(found)
        np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    if found.wells.num_wells > 2:
        # The two lowest wells lie in the plane.
        rest = found.wells.states.reshape(-1, size)[:2] - origin
        np.testing.assert_allclose(rest @ basis.T @ basis, rest, atol=1e-9)


@X64
def test_starts_that_have_not_arrived_are_not_said_to_fall():
    options = {"coupling": "pooled", "lam": 0.0, "num_starts": 8, "max_steps": 2}
    _, y, weights = (jnp.asarray(array) for array in random_head(0))
    found = head_wells(weights, y, nonlinearity=nonlinearities.log_cosh(0.5), **options)
    assert describe_wells(found) == "No well was found: 100% of 8 starts have not arrived"


@pytest.mark.parametrize("scale", [1e12, 1e20])
def test_a_head_out_of_range_has_a_picture_all_the_same(scale):
    values = scale * jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32)
    options = {"coupling": "pooled", "lam": 0.0, "num_starts": 4, "max_steps": 20}
    found = head_wells(jnp.eye(3), values, nonlinearity=nonlinearities.quadratic(5.0), **options)
    picture = io.BytesIO()
    draw_wells(picture, found)
    assert picture.getvalue().startswith(PNG)


@X64
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_the_boundary_is_where_the_hessian_has_an_eigenvalue_of_zero(coupling):
    _, y, weights = random_head(1)
    query = None if coupling == "pooled" else 0
    options = {"coupling": coupling, "gain": 1.0}
    found = phase_diagram(
        jnp.asarray(weights), jnp.asarray(y), nonlinearity=nonlinearities.log_cosh(),
        alphas=np.array([40.0]),
        lams=np.array([0.0]), query=query, num_starts=2, max_steps=2, **options,
    )  # fmt: skip
    (lam,) = found.certified
    assert lam > 0
    A = jnp.asarray(weights if query is None else weights[:1])

    # F'' is largest at u = 0.
    def energy_fn(x):
        F = nonlinearities.log_cosh(40.0)
        return attention_energy(x, jnp.asarray(y), A, nonlinearity=F, lam=lam, **options)

    x = jnp.zeros((len(A), y.shape[1]))
    hessian = jax.hessian(energy_fn)(x).reshape(x.size, x.size)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian)[0], 0, atol=1e-9 * lam)
