"""The certificate against dense eigenvalues: never wrong, and exact for a quadratic F."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn import attention_energy, descend, nonlinearities, regime
from hopfield_attn.energies.interaction import INTERACTIONS
from hopfield_attn.energies.regimes import (
    COERCIVE,
    CONVEX,
    UNBOUNDED,
    auto_lam,
    auto_step_size,
)
from hopfield_attn.solvers.descent import FELL
from tests import oracles

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]

SHAPES = ((1, 1, 1), (3, 5, 2))
couplings = st.sampled_from(oracles.COUPLINGS)
alphas = st.sampled_from([-2.0, -0.4, 0.0, 0.3, 1.0, 5.0])
BOUNDED = ("identity", "quadratic", "log_cosh", "spline", "square")

decide = jax.jit(regime, static_argnames="coupling")


@st.composite
def problems(draw):
    """(x, y, weights) of one head, some pairs masked, values of several scales."""
    n, m, d = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((n, m)) < draw(st.sampled_from([0.4, 1.0]))
    weights = oracles.softmax_weights(rng.normal(size=(n, d)), rng.normal(size=(m, d)), mask)
    y = draw(st.sampled_from([0.1, 1.0, 3.0])) * rng.normal(size=(m, d))
    return tuple(map(jnp.asarray, (rng.normal(size=(n, d)), y, weights)))


@functools.partial(jax.jit, static_argnames="coupling")
def hessian(x, y, weights, F, lam, gain, *, coupling):
    def energy(flat):
        options = {"nonlinearity": F, "coupling": coupling, "lam": lam, "gain": gain}
        return attention_energy(flat.reshape(x.shape), y, weights, **options)

    return jax.hessian(energy)(x.reshape(-1))


def interaction_matrix(y, weights, coupling):
    """B(1): what F'' = 1 takes off the Hessian, dense, as blocks over the flattened state."""
    weights, y = np.asarray(weights), np.asarray(y)
    n, d = weights.shape[0], y.shape[1]
    if coupling == "pooled":
        left = (weights[:, :, None] * y[None]).transpose(1, 0, 2).reshape(len(y), n * d)
        return left.T @ left
    blocks = np.zeros((n, d, n, d))
    for i in range(n):
        if coupling == "pairwise":
            blocks[i, :, i] = y.T @ (weights[i][:, None] * y)
        else:
            blocks[i, :, i] = np.diag(weights[i] @ y)
    return blocks.reshape(n * d, n * d)


def dense_hessian(x, y, weights, F, lam, gain, coupling):
    """(M8), dense, with F'' of the library (tested on its own)."""
    x, y, weights = (np.asarray(a) for a in (x, y, weights))
    n, d = x.shape

    def bend(u):
        return np.asarray(F.second_derivative(jnp.asarray(gain * u)))

    if coupling == "pooled":
        left = (weights[:, :, None] * y[None]).transpose(1, 0, 2).reshape(len(y), n * d)
        taken = left.T @ (bend(left @ x.reshape(-1))[:, None] * left)
    else:
        taken = np.zeros((n, d, n, d))
        for i in range(n):
            if coupling == "pairwise":
                taken[i, :, i] = y.T @ ((weights[i] * bend(y @ x[i]))[:, None] * y)
            else:
                taken[i, :, i] = np.diag(bend(x[i]) * (weights[i] @ y))
        taken = taken.reshape(n * d, n * d)
    return (1 + lam) * np.eye(n * d) - gain * taken


@pytest.mark.parametrize("name", [*oracles.FAMILIES, "spline"])
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_hessian_is_m8(name, coupling):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(oracles.softmax_weights(rng.normal(size=(2, 2)), rng.normal(size=(3, 2))))
    y = jnp.asarray(rng.normal(size=(3, 2)))
    for alpha in (-0.7, 1.2):
        x = jnp.asarray(2 * rng.normal(size=(2, 2)))
        F = nonlinearities.make_nonlinearity(name, alpha)
        dense = hessian(x, y, weights, F, 0.4, 0.3, coupling=coupling)
        expected = dense_hessian(x, y, weights, F, 0.4, 0.3, coupling)
        np.testing.assert_allclose(dense, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@given(problem=problems())
def test_bounds_enclose_the_largest_eigenvalue(coupling, problem):
    _, y, weights = problem
    found = jax.jit(functools.partial(INTERACTIONS[coupling], num_iterations=64))(y, weights)
    values = np.linalg.eigvalsh(interaction_matrix(y, weights, coupling))
    largest, smallest = max(values[-1], 0.0), min(values[0], 0.0)
    assert found.lower <= largest * (1 + 1e-9) + 1e-12
    assert largest <= found.upper * (1 + 1e-9) + 1e-12
    assert -smallest <= found.opposite * (1 + 1e-9) + 1e-12
    assert found.lower >= 0.5 * largest - 1e-12


def test_power_iteration_converges_to_the_largest_eigenvalue():
    rng = np.random.default_rng(0)
    weights = oracles.softmax_weights(rng.normal(size=(8, 4)), rng.normal(size=(10, 4)))
    y = rng.normal(size=(10, 4))
    for coupling in ("pooled", "pairwise"):
        exact = np.linalg.eigvalsh(interaction_matrix(y, weights, coupling))[-1]
        found = INTERACTIONS[coupling](jnp.asarray(y), jnp.asarray(weights), num_iterations=400)
        np.testing.assert_allclose(found.lower, exact, rtol=1e-8)
        assert exact <= found.upper <= 6 * exact


def check_certificate(name, problem, coupling, alpha, lam):
    """What the certificate says holds at the states that are tried."""
    x, y, weights = problem
    gain = 0.5
    F = nonlinearities.make_nonlinearity(name, alpha)
    found = decide(y, weights, nonlinearity=F, coupling=coupling, lam=lam, gain=gain)
    smallest = min(
        np.linalg.eigvalsh(dense_hessian(scale * x, y, weights, F, lam, gain, coupling))[0]
        for scale in (0.0, 1.0, 10.0)
    )
    status, certified = int(found.status), bool(found.is_certified)
    if certified and status == CONVEX:
        assert smallest > 0
        assert 0 <= float(found.contraction) <= 1
        assert (float(found.contraction) < 1) == (float(found.step_size) > 0)
    if smallest < -1e-9:
        assert status != CONVEX or not certified
    if name in ("quadratic", "square"):
        # F'' is constant, so the Hessian is the same everywhere: exact both ways.
        if certified and status == UNBOUNDED:
            assert smallest < 0
            assert not bool(found.softening < 1 + lam)
        assert status != COERCIVE
    elif name in ("identity", "log_cosh", "spline"):
        assert certified
        assert status in (CONVEX, COERCIVE)
    return found


@pytest.mark.parametrize("name", [*oracles.FAMILIES, "spline"])
@given(problem=problems(), coupling=couplings, alpha=alphas, lam=st.sampled_from([0.0, 0.5, 4.0]))
def test_certificate_is_never_wrong(name, problem, coupling, alpha, lam):
    check_certificate(name, problem, coupling, alpha, lam)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*oracles.FAMILIES, "spline"])
@settings(max_examples=1500)
@given(problem=problems(), coupling=couplings, alpha=st.floats(-4, 4), lam=st.floats(0, 6))
def test_certificate_is_never_wrong_over_thousands(name, problem, coupling, alpha, lam):
    check_certificate(name, problem, coupling, alpha, lam)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@given(problem=problems(), alpha=st.sampled_from([0.4, 2.0]))
def test_at_the_certified_lambda_a_quadratic_head_is_convex(coupling, problem, alpha):
    _, y, weights = problem
    F = nonlinearities.quadratic(alpha)
    options = {"nonlinearity": F, "coupling": coupling, "gain": 0.5}
    lam = float(auto_lam(y, weights, **options))
    found = decide(y, weights, lam=lam, **options)
    assert int(found.status) == CONVEX
    values = np.linalg.eigvalsh(interaction_matrix(y, weights, coupling))
    assert 1 + lam > 0.5 * alpha * values[-1]


def test_a_quadratic_head_certified_unbounded_falls_without_end():
    rng = np.random.default_rng(0)
    weights = jnp.asarray(oracles.softmax_weights(rng.normal(size=(4, 3)), rng.normal(size=(5, 3))))
    y = jnp.asarray(4 * rng.normal(size=(5, 3)))
    for coupling in ("pooled", "pairwise", "elementwise"):
        options = {"nonlinearity": nonlinearities.quadratic(3.0), "coupling": coupling}
        options |= {"lam": 0.1, "gain": 1.0}
        found = decide(y, weights, **options)
        assert int(found.status) == UNBOUNDED
        assert bool(found.is_certified)
        values, vectors = np.linalg.eigh(interaction_matrix(y, weights, coupling))
        direction = jnp.asarray(vectors[:, -1].reshape(4, 3))
        energies = [attention_energy(t * direction, y, weights, **options) for t in (1, 10, 100)]
        assert energies[0] > energies[1] > energies[2]
        assert energies[2] < -1e3


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("name", BOUNDED)
def test_at_the_certified_step_the_energy_never_rises_and_states_contract(coupling, name):
    for seed, alpha in ((0, 1.5), (1, -2.0)):
        rng = np.random.default_rng(seed)
        weights = jnp.asarray(
            oracles.softmax_weights(rng.normal(size=(4, 3)), rng.normal(size=(5, 3)))
        )
        y = jnp.asarray(2 * rng.normal(size=(5, 3)))
        F = nonlinearities.make_nonlinearity(name, alpha)
        options = {"nonlinearity": F, "coupling": coupling, "gain": 0.4}
        for lam in (0.2, float(auto_lam(y, weights, **options))):
            found = decide(y, weights, lam=lam, **options)
            step = auto_step_size(y, weights, lam=lam, **options)
            np.testing.assert_allclose(step, found.step_size, rtol=1e-12)
            assert step > 0
            energy_fn = functools.partial(
                attention_energy, y=y, weights=jnp.asarray(weights), lam=lam, **options
            )
            ends = [
                descend(energy_fn, jnp.asarray(x0), num_steps=10, rule=optax.sgd(step))
                for x0 in (rng.normal(size=(4, 3)), 3 * rng.normal(size=(4, 3)))
            ]
            assert all(int(end.status) == FELL for end in ends)
            if int(found.status) == CONVEX and bool(found.is_certified):
                a, b = rng.normal(size=(2, 4, 3))
                moved = [x - step * jax.grad(energy_fn)(jnp.asarray(x)) for x in (a, b)]
                shrunk = np.linalg.norm(moved[0] - moved[1]) / np.linalg.norm(a - b)
                assert shrunk <= float(found.contraction) + 1e-12


def status_of(name, alpha, *, coupling="pooled", y_scale=2.0, weights=None):
    rng = np.random.default_rng(5)
    A = oracles.softmax_weights(rng.normal(size=(3, 2)), rng.normal(size=(4, 2)))
    A = A if weights is None else weights
    F = nonlinearities.make_nonlinearity(name, alpha)
    y = jnp.asarray(y_scale * rng.normal(size=(4, 2)))
    found = regime(y, jnp.asarray(A), nonlinearity=F, coupling=coupling, lam=0.3, gain=1.0)
    return int(found.status), bool(found.is_certified)


@pytest.mark.parametrize(
    ("name", "alpha", "coupling", "expected"),
    [
        ("quadratic", -5.0, "pooled", CONVEX),  # α < 0: one well for every λ
        ("quadratic", 5.0, "pooled", UNBOUNDED),
        ("exponential", -2.0, "pooled", CONVEX),
        ("exponential", 2.0, "pooled", UNBOUNDED),
        ("exponential", -2.0, "elementwise", UNBOUNDED),  # A y has both signs
        ("cubic", -0.1, "pooled", UNBOUNDED),
        ("cubic", 0.0, "pooled", CONVEX),
        ("exp", 0.0, "pairwise", UNBOUNDED),
        ("log_cosh", 50.0, "pooled", COERCIVE),
        ("spline", 50.0, "pairwise", COERCIVE),
        ("identity", 0.0, "elementwise", CONVEX),
    ],
)
def test_signs_and_families_have_the_regime_of_the_theory(name, alpha, coupling, expected):
    assert status_of(name, alpha, coupling=coupling) == (expected, True)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("name", ["exp", "cubic", "square", "log_cosh"])
def test_a_fully_masked_head_is_convex(coupling, name):
    assert status_of(name, 3.0, coupling=coupling, weights=np.zeros((3, 4))) == (CONVEX, True)


def test_a_function_without_bounds_is_sampled_and_never_certified():
    rng = np.random.default_rng(0)
    A = oracles.softmax_weights(rng.normal(size=(3, 2)), rng.normal(size=(4, 2)))
    y = jnp.asarray(rng.normal(size=(4, 2)))
    A = jnp.asarray(A)
    options = {"coupling": "pooled", "lam": 0.1, "gain": 1.0}
    found = regime(y, A, nonlinearity=jnp.tanh, **options)
    assert not bool(found.is_certified)
    stated = nonlinearities.as_nonlinearity(jnp.tanh, curvature_range=(-0.77, 0.77))
    known = regime(y, A, nonlinearity=stated, **options)
    # Sampled near 0, where tanh bends least: an estimate, below the stated bound.
    assert 0 < found.softening < known.softening


def test_choices_are_constants_for_derivatives():
    rng = np.random.default_rng(0)
    A = oracles.softmax_weights(rng.normal(size=(3, 2)), rng.normal(size=(4, 2)))

    A = jnp.asarray(A)

    def chosen(y, alpha):
        options = {"nonlinearity": nonlinearities.quadratic(alpha), "coupling": "pooled"}
        lam = auto_lam(y, A, **options)
        return lam + auto_step_size(y, A, lam=lam, **options)

    for grad in jax.grad(chosen, argnums=(0, 1))(jnp.asarray(9 * rng.normal(size=(4, 2))), 3.0):
        np.testing.assert_array_equal(grad, 0)


def test_it_goes_over_batches_and_float32():
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.dirichlet(np.ones(4), size=(5, 3)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(5, 4, 2)), jnp.float32)

    def one(y, weights):
        F = nonlinearities.log_cosh(0.4)
        return regime(y, weights, nonlinearity=F, coupling="pooled", lam=0.3)

    found = jax.jit(jax.vmap(one))(y, weights)
    assert found.status.shape == (5,)
    assert found.softening.dtype == jnp.float32
    for i in range(5):
        np.testing.assert_allclose(found.softening[i], one(y[i], weights[i]).softening, rtol=1e-5)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("F", "message"),
    [
        (nonlinearities.exp(), r"lam='auto' needs a bounded F'', but F'' of 'exp' is unbounded"),
        (nonlinearities.cubic(0.1), "F'' of 'cubic' is unbounded; give a number instead"),
        (nonlinearities.as_nonlinearity(jnp.tanh), "'tanh' states no bound of F''"),
    ],
)
def test_auto_refuses_what_it_cannot_certify(F, message):
    with pytest.raises(ValueError, match=message):
        auto_lam(jnp.ones((2, 2)), jnp.ones((2, 2)), nonlinearity=F, coupling="pooled")


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    good = {"nonlinearity": nonlinearities.identity(), "coupling": "pooled", "lam": 0.0}
    for change, message in (
        ({"coupling": "poled"}, "did you mean 'pooled'"),
        ({"lam": -1.0}, "lam must be >= 0"),
        ({"margin": -0.1}, "margin must be >= 0"),
        ({"num_iterations": 0}, "num_iterations must be >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            regime(jnp.ones((3, 2)), jnp.ones((4, 3)), **(good | change))
    with pytest.raises(ValueError, match=r"weights must have shape .*; got shape \(4, 2\)"):
        regime(jnp.ones((3, 2)), jnp.ones((4, 2)), **good)
