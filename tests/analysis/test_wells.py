"""Wells of known energies have the right number, places, depths and basins; no NaN anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import attention_energy, nonlinearities
from hopfield_attn.analysis.head_wells import head_wells, reduced_head
from hopfield_attn.analysis.wells import NO_WELL, STATUS_NAMES, find_wells
from hopfield_attn.energies.regimes import REGIME_NAMES
from tests.problems import random_head

X64 = pytest.mark.usefixtures("x64")


def symmetric(alpha):
    """F(u) = α log cosh u, without the linear part: E is even where λ = 0."""
    F = nonlinearities.log_cosh(1.0)
    return nonlinearities.as_nonlinearity(
        lambda u: alpha * (F(u) - u), curvature_range=(0.0, alpha), growth="linear"
    )


def all_finite(found):
    wells = found.wells
    arrays = (wells.states, wells.energies, wells.basins, wells.spectra, wells.ends, found.gains)
    return all(np.all(np.isfinite(a)) for a in arrays) and not np.any(np.isnan(wells.depths))


@X64
def test_one_token_is_a_double_well_that_is_solved_by_hand():
    # E(z) = −α log cosh(r z) + z²/2 with s = 1, λ = 0; wells at the roots of z = r α tanh(r z).
    r, alpha = 1.3, 2.0
    found = head_wells(
        jnp.ones((1, 1)), jnp.full((1, 1), r), nonlinearity=symmetric(alpha), coupling="pooled",
        lam=0.0, gain=1.0, num_starts=33,
    )  # fmt: skip
    z = 3.0
    for _ in range(200):
        z = r * alpha * np.tanh(r * z)
    depth = alpha * np.log(np.cosh(r * z)) - z**2 / 2
    assert found.wells.num_wells == 2
    np.testing.assert_allclose(np.sort(found.wells.states.ravel()), [-z, z], rtol=1e-7)
    np.testing.assert_allclose(found.wells.energies, -depth, rtol=1e-12)
    np.testing.assert_allclose(found.wells.depths, depth, rtol=1e-12)
    curvature = 1 - alpha * r**2 / np.cosh(r * z) ** 2
    np.testing.assert_allclose(found.wells.spectra, curvature, rtol=1e-6)
    # A basin is a half line.
    for state, basin in zip(found.wells.states.ravel(), found.wells.basins, strict=True):
        assert basin == np.mean(np.sign(found.starts.ravel()) == np.sign(state))
    # x = A diag(c) y.
    np.testing.assert_allclose(found.gains * r, found.wells.states[:, 0], rtol=1e-6)


@X64
def test_a_start_on_the_ridge_ends_on_a_saddle_and_in_no_well():
    found = find_wells(
        lambda x: jnp.sum((x**2 - 1) ** 2), jnp.array([[0.0], [0.5]]), step_size=0.05
    )
    assert [STATUS_NAMES[k] for k in found.statuses] == ["saddle", "converged"]
    assert found.well_of_start.tolist() == [NO_WELL, 0]
    assert found.depths.tolist() == [np.inf]


@X64
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_a_convex_head_has_exactly_one_well(coupling):
    _, y, weights = random_head(1)
    query = None if coupling == "pooled" else 2
    found = head_wells(
        jnp.asarray(weights), jnp.asarray(y), nonlinearity=nonlinearities.log_cosh(0.8),
        coupling=coupling, lam=3.0, gain=0.5, query=query, num_starts=16,
    )  # fmt: skip
    assert REGIME_NAMES[int(found.regime.status)] == "convex"
    assert found.wells.num_wells == 1
    assert found.wells.basins.tolist() == [1.0]
    assert found.wells.depths.tolist() == [np.inf]
    assert found.wells.spectra[0, 0] > 0
    assert all_finite(found)


@X64
def test_an_identity_head_has_its_well_at_plain_attention():
    _, y, weights = random_head(2)
    weights, y = jnp.asarray(weights), jnp.asarray(y)
    found = head_wells(
        weights, y, nonlinearity=nonlinearities.identity(), coupling="pairwise", lam=1.0, query=1,
        num_starts=8,
    )  # fmt: skip
    np.testing.assert_allclose(found.wells.states[0], (weights @ y)[1:2], rtol=1e-7)
    np.testing.assert_allclose(found.gains, 1.0, rtol=1e-7)


@X64
def test_tokens_that_do_not_meet_are_bound_one_by_one():
    # Orthogonal values and weights: G is diagonal, every token is in one of two wells.
    found = head_wells(
        jnp.eye(3), 2.0 * jnp.eye(3), nonlinearity=nonlinearities.log_cosh(4.0), coupling="pooled",
        lam=0.0, gain=1.0, num_starts=96,
    )  # fmt: skip
    assert found.wells.num_wells == 8
    names = {frozenset(bound) for bound in found.bound(["a", "b", "c"])}
    assert len(names) == 8
    assert found.bound(["a", "b", "c"])[0] != []  # the deepest binds all
    assert np.all(np.diff(found.wells.energies) >= -1e-9)
    assert found.wells.basins.sum() == pytest.approx(1.0)


@X64
def test_an_energy_without_a_minimum_is_reported_and_gives_no_well():
    _, y, weights = random_head(3)
    found = head_wells(
        jnp.asarray(weights), jnp.asarray(4 * y), nonlinearity=nonlinearities.quadratic(3.0),
        coupling="pooled", lam=0.0, gain=1.0, num_starts=8,
    )  # fmt: skip
    assert REGIME_NAMES[int(found.regime.status)] == "unbounded"
    assert found.wells.num_wells == 0
    assert found.wells.share("diverged") == 1.0
    assert all_finite(found)


@X64
def test_the_reduced_head_has_the_energy_of_the_head():
    # More keys than the rank of G: n · d_v = 4 numbers, 6 tokens.
    _, y, weights = random_head(4, n=2, m=6, d=2)
    weights, y = jnp.asarray(weights), jnp.asarray(y)
    options = {
        "nonlinearity": nonlinearities.exponential(0.4), "coupling": "pooled", "lam": 0.7,
        "gain": 0.5,
    }  # fmt: skip
    ones, B = reduced_head(weights, y, coupling="pooled")
    c, other = np.random.default_rng(0).normal(size=(2, 1, 6))
    x, z = (weights * c) @ y, c @ B
    reduced = attention_energy(z, B, ones, **options)
    np.testing.assert_allclose(reduced, attention_energy(x, y, weights, **options), rtol=1e-11)
    distance = np.linalg.norm(x - (weights * other) @ y)
    np.testing.assert_allclose(np.linalg.norm(z - other @ B), distance, rtol=1e-10)
    # And so its gradient is as long, where x stays in the span.
    norms = [
        jnp.linalg.norm(jax.grad(lambda x, y=y, A=A: attention_energy(x, y, A, **options))(x))
        for x, y, A in ((x, y, weights), (z, B, ones))
    ]
    np.testing.assert_allclose(*norms, rtol=1e-9)


def test_the_query_belongs_to_the_coupling():
    A, y = jnp.ones((1, 2)) / 2, jnp.eye(2)
    options = {"nonlinearity": nonlinearities.identity(), "lam": 0.0}
    with pytest.raises(ValueError, match=r"index in \[0, 1\); got None"):
        head_wells(A, y, coupling="pairwise", **options)
    with pytest.raises(ValueError, match="query must be None for coupling='pooled'"):
        head_wells(A, y, coupling="pooled", query=0, **options)


def test_wells_of_half_precision_arrays_are_found_in_float32():
    options = {
        "nonlinearity": nonlinearities.log_cosh(4.0), "coupling": "pooled", "lam": 0.0, "gain": 1.0,
    }  # fmt: skip
    exact, found = (
        head_wells(jnp.eye(2, dtype=dtype), 2 * jnp.eye(2, dtype=dtype), **options).wells
        for dtype in ("float32", "bfloat16")
    )
    assert found.states.dtype == np.float32
    np.testing.assert_allclose(found.states, exact.states, atol=1e-4)


def test_a_search_without_starts_is_refused():
    with pytest.raises(ValueError, match=r"starts must have a row .*\(0, 2\)"):
        find_wells(lambda x: jnp.sum(x**2), jnp.ones((0, 2)), step_size=0.1)


def test_gains_of_features_bind_no_token():
    options = {"nonlinearity": nonlinearities.log_cosh(1.0), "lam": 0.0, "query": 0}
    found = head_wells(jnp.eye(3), jnp.ones((3, 2)), coupling="elementwise", **options)
    with pytest.raises(ValueError, match="gains of features"):
        found.bound(["a", "b", "c"])
    found = head_wells(jnp.eye(3), jnp.ones((3, 2)), coupling="pairwise", **options)
    with pytest.raises(ValueError, match="tokens"):
        found.bound(["a", "b"])
