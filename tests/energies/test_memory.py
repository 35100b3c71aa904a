import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.energies.memory import MEMORY_ENERGIES, memory_energy, memory_weights
from tests import memory_oracles as oracles

pytestmark = pytest.mark.usefixtures("x64")

SHAPES = ((1, 1), (5, 4))
PARAMETERS = [(name, {}) for name in oracles.ENERGIES]
PARAMETERS += [
    ("fenchel_young", {"alpha": 1.0}),
    ("fenchel_young", {"alpha": 2.0}),
    ("dense_polynomial", {"degree": 2}),
    ("dense_polynomial", {"degree": 4.5}),
]
every_energy = pytest.mark.parametrize(("energy", "parameters"), PARAMETERS)
every_name = pytest.mark.parametrize("energy", oracles.ENERGIES)


@functools.partial(jax.jit, static_argnames=("energy", "alpha", "degree"))
def solve(query, memories, mask, *, energy, beta, **parameters):
    """Energy, gradient, weights."""
    options = {"energy": energy, "beta": beta, "mask": mask, **parameters}
    value, grad = jax.value_and_grad(memory_energy)(query, memories, **options)
    return value, grad, memory_weights(query, memories, **options)


@st.composite
def problems(draw):
    """(query, memories, mask); few shapes, because each one compiles."""
    m, d = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(m) < draw(st.sampled_from([0.5, 1.0]))
    return rng.normal(size=d), rng.normal(size=(m, d)), mask


betas = st.sampled_from([0.05, 0.5, 1.0, 3.0])


@every_energy
@given(problem=problems(), beta=betas)
def test_energy_weights_and_one_step_equal_the_published_ones(energy, parameters, problem, beta):
    query, memories, mask = problem
    options = {"energy": energy, "beta": beta, **parameters}
    value, grad, weights = solve(*problem, **options)
    expected = oracles.memory_weights(query, memories, mask, **options)
    np.testing.assert_allclose(
        value, oracles.memory_energy(query, memories, mask, **options), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(weights, expected, rtol=1e-12, atol=1e-12)
    total = weights.sum() if energy == "epanechnikov" else 1.0
    step = query - (grad / total if total else grad)
    np.testing.assert_allclose(
        step, oracles.update(query, memories, mask, **options), rtol=1e-12, atol=1e-12
    )


@every_energy
def test_a_masked_memory_has_no_part_whatever_it_holds(energy, parameters):
    rng = np.random.default_rng(0)
    memories = rng.normal(size=(5, 4))
    mask = np.arange(5) < 3
    memories[3:] = np.array([np.nan, np.inf])[:, None]
    options = {"energy": energy, "beta": 0.3, **parameters}
    value, grad, weights = solve(memories[0], memories, mask, **options)
    kept = solve(memories[0], memories[:3], mask[:3], **options)
    np.testing.assert_allclose(value, kept[0], rtol=1e-13)
    np.testing.assert_allclose(grad, kept[1], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(weights, np.append(kept[2], [0, 0]), rtol=1e-13)


@every_name
def test_without_memories_there_is_no_interaction(energy):
    query, memories, mask = np.ones(4), np.ones((5, 4)), np.zeros(5, bool)
    value, grad, weights = solve(query, memories, mask, energy=energy, beta=2.0)
    norm = 0.0 if energy == "epanechnikov" else 2.0
    np.testing.assert_array_equal(value, norm)
    np.testing.assert_array_equal(grad, query * (norm > 0))
    np.testing.assert_array_equal(weights, np.zeros(5))
    by_memories = jax.jacrev(solve, argnums=1)(query, memories, mask, energy=energy, beta=2.0)
    assert not any(np.any(leaf) for leaf in by_memories)


def test_golden_numbers_of_the_fenchel_young_energy():
    """The published energy has a constant more."""
    memories, queries = oracles.mat(6, 4, 1.0), oracles.mat(3, 4, 0.3)
    mask = np.ones(6, bool)
    constant = oracles.published_constant(memories, beta=2.0, alpha=1.5)
    before, after = [], []
    for query in queries:
        value, grad, _ = solve(query, memories, mask, energy="fenchel_young", beta=2.0)
        before.append(value + constant)
        value, _, _ = solve(query - grad, memories, mask, energy="fenchel_young", beta=2.0)
        after.append(value + constant)
    np.testing.assert_allclose(before, [0.349703094481, 0.391668780772, 0.468607781185], atol=1e-12)
    np.testing.assert_allclose(after, [0.339959806112, 0.357243448975, 0.400834300819], atol=1e-12)


@pytest.mark.parametrize(("energy", "alpha"), [("modern_hopfield", 1.0), ("fenchel_young", 1.5)])
def test_with_the_published_constant_the_energy_is_not_negative(energy, alpha):
    rng = np.random.default_rng(1)
    memories = rng.normal(size=(8, 4))
    constant = oracles.published_constant(memories, beta=3.0, alpha=alpha)
    for query in np.concatenate([memories, rng.normal(size=(20, 4))]):
        value, _, _ = solve(query, memories, np.ones(8, bool), energy=energy, beta=3.0)
        assert value + constant >= -1e-12


def test_the_rows_that_must_agree_do():
    query, memories, mask = np.ones(3) / 2, oracles.mat(5, 3, 0.2), np.ones(5, bool)
    modern = solve(query, memories, mask, energy="modern_hopfield", beta=2.0)
    softmax = solve(query, memories, mask, energy="fenchel_young", alpha=1, beta=2.0)
    for ours, theirs in zip(modern, softmax, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    with_origin = np.concatenate([memories, np.zeros((1, 3))])
    modern = solve(query, with_origin, np.ones(6, bool), energy="modern_hopfield", beta=2.0)
    softmax1 = solve(query, memories, mask, energy="softmax1", beta=2.0)
    np.testing.assert_allclose(softmax1[0], modern[0], rtol=1e-14)
    np.testing.assert_allclose(softmax1[1], modern[1], rtol=1e-14)
    np.testing.assert_allclose(softmax1[2], modern[2][:-1], rtol=1e-14)


def test_epanechnikov_has_compact_support():
    memories, mask, beta = np.array([[0.0, 0.0], [4.0, 0.0]]), np.ones(2, bool), 2.0
    options = {"energy": "epanechnikov", "beta": beta}
    radius = np.sqrt(2 / beta)
    for away in (radius, 1.5, 1e6):
        value, grad, weights = solve(np.array([0.0, away]), memories, mask, **options)
        assert value == np.inf
        np.testing.assert_array_equal(grad, [0, 0])
        np.testing.assert_array_equal(weights, [0, 0])
    value, grad, weights = solve(np.array([0.0, radius - 1e-3]), memories, mask, **options)
    assert np.isfinite(value)
    assert grad[1] > 100
    assert weights[0] > 0 == weights[1]
    second = jax.jit(jax.hessian(lambda q: memory_energy(q, jnp.asarray(memories), **options)))
    np.testing.assert_array_equal(second(jnp.array([0.0, 9.0])), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("energy", "parameters"), [row for row in PARAMETERS if row[0] != "epanechnikov"]
)
def test_the_interaction_is_convex_in_the_similarities(energy, parameters):
    """Why a unit step, or one on the sphere, never raises E; epanechnikov's is a mean shift."""
    rng = np.random.default_rng(2)
    row, mask = MEMORY_ENERGIES[energy], jnp.ones(5, bool)
    options = {**row.parameters, **parameters}
    fn = jax.jit(lambda s: row.interaction_fn(s, mask, jnp.asarray(1.3), **options))
    for _ in range(20):
        a, b = rng.normal(size=(2, 5))
        assert fn((a + b) / 2) <= (fn(a) + fn(b)) / 2 + 1e-12


@every_name
def test_only_the_dense_energies_are_unbounded_below(energy):
    memories, mask = oracles.mat(5, 4, 0.2), np.ones(5, bool)
    far = [solve(t * memories[0], memories, mask, energy=energy, beta=1.0)[0] for t in (10, 30)]
    assert MEMORY_ENERGIES[energy].on_sphere == (energy in oracles.ON_SPHERE) == (far[1] < far[0])


@every_name
def test_second_derivatives_are_finite_at_zero(energy):
    hessian = jax.hessian(lambda q: memory_energy(q, jnp.eye(3), energy=energy, beta=1.0))
    assert np.all(np.isfinite(jax.jit(hessian)(jnp.zeros(3))))


@every_name
def test_bfloat16_is_accumulated_in_float32_and_large_logits_stay_finite(energy):
    dtype = jnp.bfloat16
    memories = jnp.array([[100.0, 0.0], [-100.0, 0.0], [100.0, 1.0]], dtype)
    query, mask = jnp.array([100.0, 0.0], dtype), jnp.ones(3, bool)
    value, grad, weights = solve(query, memories, mask, energy=energy, beta=1.0)
    assert value.dtype == weights.dtype == jnp.float32
    assert grad.dtype == dtype
    # e^{10⁴} is no number of float32, nor of float64
    assert np.all(np.isfinite([value, *weights])) == (energy != "dense_exponential")


def test_every_row_is_documented_and_known_to_the_oracles():
    assert tuple(MEMORY_ENERGIES) == (
        "modern_hopfield",
        "fenchel_young",
        "softmax1",
        "dense_polynomial",
        "dense_exponential",
        "epanechnikov",
    )
    assert set(oracles.ENERGIES) == set(MEMORY_ENERGIES)
    assert all(f"    {name}  " in (memory_energy.__doc__ or "") for name in MEMORY_ENERGIES)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"energy": "modern_hopfeld"}, ValueError, r"did you mean 'modern_hopfield'\?"),
        ({"beta": 0.0}, ValueError, "beta must be > 0; got 0.0"),
        ({"beta": jnp.ones(2)}, ValueError, r"beta must be a scalar; got shape \(2,\)"),
        ({"alpha": 2.0}, ValueError, "'modern_hopfield' takes no parameters; got 'alpha'"),
        ({"energy": "fenchel_young", "degree": 2}, ValueError, "takes 'alpha'; got 'degree'"),
        ({"energy": "fenchel_young", "alpha": 0.5}, ValueError, "alpha must be >= 1; got 0.5"),
        ({"energy": "fenchel_young", "alpha": jnp.ones(())}, TypeError, "a Python number"),
        ({"energy": "dense_polynomial", "degree": 1}, ValueError, "degree must be > 1; got 1"),
        ({"energy": "dense_polynomial", "degree": "3"}, TypeError, "Python number; got str"),
        ({"query": jnp.ones(3)}, ValueError, "same width d; got 3 and 2"),
        ({"query": jnp.ones((1, 2))}, ValueError, r"query must have shape \(d\)"),
        ({"memories": jnp.ones(2)}, ValueError, r"memories must have shape \(m, d\)"),
        ({"memories": jnp.ones((3, 2), int)}, TypeError, "memories must be a floating-point"),
        ({"mask": jnp.ones(3)}, TypeError, "mask must be boolean .* got float"),
        ({"mask": jnp.ones(2, bool)}, ValueError, r"mask must have shape \(m\) = \(3,\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {
        "query": jnp.ones(2),
        "memories": jnp.ones((3, 2)),
        "energy": "modern_hopfield",
        "beta": 1.0,
    }
    arguments |= change
    arrays = arguments.pop("query"), arguments.pop("memories")
    for fn in (memory_energy, memory_weights):
        with pytest.raises(error, match=message):
            fn(*arrays, **arguments)


@pytest.mark.heavy
@pytest.mark.parametrize("beta", [0.7, 2.0])
def test_interactions_equal_the_lagrangians_of_hamux(beta):
    hamux = pytest.importorskip("hamux", reason="hamux is not installed: scripts/test --all")
    memories, query = jnp.asarray(oracles.mat(6, 4, 1.0)), jnp.asarray(oracles.mat(1, 4, 0.3)[0])
    lagrangians = {
        "modern_hopfield": lambda s: hamux.lagr_softmax(s, beta),
        "dense_exponential": lambda s: hamux.lagr_exp(s, beta),
        "dense_polynomial": lambda s: hamux.lagr_repu(beta * s, 3) / beta,
        "softmax1": lambda s: hamux.lagr_ghostmax(beta * s) / beta,
    }
    for energy, lagrangian in lagrangians.items():
        options = {"energy": energy, "beta": beta}
        value, expected = (
            jax.value_and_grad(fn)(query)
            for fn in (
                lambda q, options=options: memory_energy(q, memories, **options),
                lambda q, L=lagrangian: -L(memories @ q) + hamux.lagr_identity(q),
            )
        )
        np.testing.assert_allclose(value[0], expected[0], rtol=1e-13)
        np.testing.assert_allclose(value[1], expected[1], rtol=1e-12, atol=1e-13)
