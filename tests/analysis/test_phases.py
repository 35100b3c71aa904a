"""Phase diagrams have the wells where theory puts them, and every picture can be drawn."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import attention_energy, nonlinearities
from hopfield_attn.analysis.head_wells import head_wells
from hopfield_attn.analysis.phases import UNBOUNDED, draw_phases, phase_diagram
from hopfield_attn.analysis.well_plot import describe_wells, draw_wells, wells_plane
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
            jnp.ones((1, 1)), jnp.full((1, 1), y), family="log_cosh",
            alphas=ratios * critical * (1 + lam), lams=lams[lams == lam], coupling="pooled",
            gain=1.0, num_starts=48, spread=4.0,
        )  # fmt: skip
        assert found.counts[:, 0].tolist() == [1, 1, 2, 2]
        np.testing.assert_allclose(found.certified, found.alphas * y**2 - 1, rtol=1e-9)


@X64
def test_a_quadratic_head_is_unbounded_beyond_the_boundary_and_has_one_well_before():
    _, y, weights = random_head(0)
    found = phase_diagram(
        jnp.asarray(weights), jnp.asarray(y), family="quadratic", alphas=np.array([-1.0, 0.2, 9.0]),
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
    with pytest.raises(ValueError, match="bounded F''"):
        phase_diagram(
            jnp.ones((1, 1)), jnp.ones((1, 1)), family="exp", alphas=np.ones(1), lams=np.ones(1),
            coupling="pooled",
        )  # fmt: skip


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
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_the_boundary_is_where_the_hessian_has_an_eigenvalue_of_zero(coupling):
    _, y, weights = random_head(1)
    query = None if coupling == "pooled" else 0
    options = {"coupling": coupling, "gain": 1.0}
    found = phase_diagram(
        jnp.asarray(weights), jnp.asarray(y), family="log_cosh", alphas=np.array([40.0]),
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
