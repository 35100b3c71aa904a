"""Diagnostics are values of the trajectory that is really taken; every failure has its name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hopfield_attn import nonlinearities
from hopfield_attn.analysis.diagnostics import (
    OUTCOME_ADVICE,
    OUTCOME_NAMES,
    diagnose_head,
    diagnose_layer,
)
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.solvers.descent import descend
from tests import oracles
from tests.problems import head_energy, random_head

X64 = pytest.mark.usefixtures("x64")


@functools.partial(jax.jit, static_argnames=("coupling", "num_steps"))
def follow(weights, y, F, lam, step_size=None, *, coupling="pooled", num_steps=6):
    options = {"coupling": coupling, "lam": lam, "num_steps": num_steps, "gain": 0.5}
    return diagnose_head(weights, y, nonlinearity=F, step_size=step_size, **options)


def head(seed=0, scale=1.0):
    _, y, weights = random_head(seed)
    return jnp.asarray(weights), jnp.asarray(scale * y)


def name_of(found):
    return OUTCOME_NAMES[int(found.outcome)]


@X64
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_trajectory_is_that_of_the_descent(coupling):
    weights, y = head()
    F = nonlinearities.log_cosh(1.5)
    found = follow(weights, y, F, 0.5, coupling=coupling)
    energy_fn = head_energy(y, weights, F, coupling=coupling)
    descent = descend(energy_fn, weights @ y, num_steps=6, rule=optax.sgd(1 / 1.5))
    np.testing.assert_allclose(found.states[-1], descent.x, rtol=1e-12)
    np.testing.assert_allclose(found.energies, descent.energies, rtol=1e-12)
    np.testing.assert_allclose(found.residuals, descent.grad_norms, rtol=1e-9, atol=1e-12)
    total = found.interaction + found.norm + found.tie
    np.testing.assert_allclose(total, found.energies, rtol=1e-13)
    plain = weights @ y
    distance = np.linalg.norm(descent.x - plain) / np.linalg.norm(plain)
    np.testing.assert_allclose(found.distances[-1], distance, rtol=1e-12)
    assert found.distances[0] == 0
    hessian = np.asarray(jax.hessian(energy_fn)(descent.x)).reshape(15, 15)
    np.testing.assert_allclose(
        np.asarray(found.spectrum)[[0, -1]], np.linalg.eigvalsh(hessian)[[0, -1]], rtol=1e-8
    )


@X64
@pytest.mark.parametrize("coupling", ["pooled", "pairwise"])
@pytest.mark.parametrize(
    "name", ["quadratic", "log_cosh", pytest.param("spline", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("step_size", [None, 0.2])
def test_a_head_is_attention_with_the_weights_of_every_step(coupling, name, step_size):
    weights, y = head()
    F = nonlinearities.make_nonlinearity(name, 0.7)
    found = follow(weights, y, F, 0.5, step_size, coupling=coupling)
    np.testing.assert_allclose(found.attention @ y, found.states, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(found.attention[0], weights)
    if coupling == "pooled":
        # A diag(c): the same factor down each column (M6).
        factors = found.attention[-1] / weights
        np.testing.assert_allclose(factors, factors[:1].repeat(5, 0), rtol=1e-10)
    elif step_size is None:
        slope = F.derivative(0.5 * (found.states[-2] @ y.T))
        np.testing.assert_allclose(found.attention[-1], weights * (slope + 0.5) / 1.5, rtol=1e-10)


@X64
def test_elementwise_heads_have_no_attention_matrix():
    found = follow(*head(), nonlinearities.quadratic(0.3), 0.5, coupling="elementwise")
    assert np.all(np.isnan(found.attention))
    assert np.all(np.isfinite(found.energies))


@X64
def test_every_failure_has_a_name_and_an_advice():
    log_cosh, quadratic = nonlinearities.log_cosh(0.8), nonlinearities.quadratic(2.0)
    assert name_of(follow(*head(), log_cosh, 0.5, num_steps=40)) == "converged"
    # λ too small and T too short for this F.
    stiff = follow(*head(scale=2.0), nonlinearities.log_cosh(6.0), 0.0, 0.05, num_steps=4)
    assert name_of(stiff) == "not converged"
    assert name_of(follow(*head(), nonlinearities.log_cosh(-4.0), 0.0, 1.9)) == "energy rose"
    assert name_of(follow(*head(scale=4.0), quadratic, 0.0, num_steps=30)) == "diverged"
    # λ too large: the collapse is measured, at the rate 1/(1+λ).
    ends = [follow(*head(), quadratic, lam, num_steps=40).distances[-1] for lam in (1e3, 1e4)]
    np.testing.assert_allclose(ends[0] / ends[1], 10, rtol=0.01)
    collapsed = follow(*head(), quadratic, 1e5, num_steps=4)
    assert name_of(collapsed) == "collapsed"
    assert "λ too large" in OUTCOME_ADVICE[int(collapsed.outcome)]
    assert len(OUTCOME_ADVICE) == len(OUTCOME_NAMES)


@X64
def test_auto_lambda_is_reported_and_converges():
    weights, y = head(scale=5.0)
    F = nonlinearities.quadratic(2.0)
    options = {"nonlinearity": F, "coupling": "pooled", "num_steps": 200}
    found = diagnose_head(weights, y, lam="auto", step_size="auto", **options)
    assert name_of(found) == "converged"
    assert int(found.regime.status) == 0
    assert bool(found.regime.is_certified)
    assert float(found.lam) > 1
    assert found.spectrum[0] > 0


TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 20)
MASK = jnp.array([[True] * 6, [True] * 4 + [False] * 2])


@pytest.fixture(scope="module")
def encoder():
    return Encoder(
        vocab_size=20,
        max_length=6,
        width=16,
        num_layers=2,
        num_heads=4,
        mlp_width=16,
        attention={"heads": "identity:1,quadratic:2,spline:1", "num_steps": 3, "alpha_init": 0.4},
        rngs=nnx.Rngs(params=0),
    )


@pytest.mark.slow
def test_one_call_diagnoses_every_head_of_a_layer(encoder):
    found = diagnose_layer(encoder, 1, TOKENS, MASK, num_eigenvalues=4)
    assert list(found) == [0, 1, 2, 3]
    x = encoder.layers[0](encoder.embed(TOKENS), MASK)
    descents = encoder.layers[1].attention.descents(x, mask=MASK)
    energies = jnp.concatenate([descent.energies for _, descent in descents], axis=1)
    for k, head_index in enumerate((1, 2, 3)):
        np.testing.assert_allclose(found[head_index].energies, energies[:, k], rtol=1e-5)
        assert found[head_index].attention.shape == (2, 4, 6, 6)
        assert found[head_index].spectrum.shape == (2, 4)
        assert np.all(found[head_index].attention[1, :, 4:] == 0)
    # An identity head is plain attention, which is what collapse means.
    assert [OUTCOME_NAMES[int(k)] for k in found[0].outcome] == ["collapsed", "collapsed"]


def test_a_layer_that_does_not_exist_is_named(encoder):
    with pytest.raises(ValueError, match=r"layer must be in \[0, 2\); got 2"):
        diagnose_layer(encoder, 2, TOKENS)
