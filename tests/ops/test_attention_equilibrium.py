import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import attention_descent, attention_equilibrium, nonlinearities
from hopfield_attn.ops.standard import standard_attention
from hopfield_attn.ops.weights import attention_weights
from hopfield_attn.solvers.equilibrium import CONVERGED, DIVERGED
from tests import oracles

pytestmark = pytest.mark.usefixtures("x64")

SHAPE = (2, 4, 6, 2, 3)
settle = jax.jit(
    attention_equilibrium,
    static_argnames=(
        "coupling",
        "method",
        "tolerance",
        "max_steps",
        "gradient_mode",
        "lam",
        "step_size",
    ),
)


def arrays(seed=0, scale=1.0):
    b, n, m, h, d = SHAPE
    rng = np.random.default_rng(seed)
    q, k, v = (jnp.asarray(rng.normal(size=(b, length, h, d))) for length in (n, m, m))
    masks = [jnp.asarray(rng.random((b, length)) < 0.7) for length in (n, m)]
    return (q, k, scale * v), {"query_mask": masks[0], "key_mask": masks[1]}


def test_exact_quadratic_equals_the_iterated_equilibrium():
    alphas = jnp.array([-0.8, 0.5])
    for seed in range(3):
        qkv, masks = arrays(seed)
        options = {"nonlinearity": nonlinearities.quadratic(alphas), "lam": 0.5, **masks}
        options |= {"tolerance": 1e-13, "max_steps": 2000}
        exact = settle(*qkv, **options)
        descended = settle(*qkv, method="gradient", **options)
        assert np.all(descended.status == CONVERGED)
        np.testing.assert_allclose(exact.x, descended.x, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(exact.energy, descended.energy, rtol=1e-10)
        # In a few products instead of many steps.
        assert np.all(exact.num_steps <= 6)
        assert np.all(exact.num_steps < descended.num_steps)


def test_exact_quadratic_solves_m7():
    qkv, masks = arrays()
    alpha, lam, gain = 0.6, 0.7, 0.4
    options = {"nonlinearity": nonlinearities.quadratic(alpha), "lam": lam, "gain": gain}
    found = settle(*qkv, tolerance=1e-12, **options, **masks)
    weights = attention_weights(*qkv[:2], **masks)
    for b in range(2):
        for h in range(2):
            A = np.asarray(weights[b, h])
            y = np.asarray(qkv[2][b, :, h]) * np.asarray(masks["key_mask"])[b][:, None]
            G = (A.T @ A) * (y @ y.T)
            c = np.linalg.solve((1 + lam) * np.eye(6) - alpha * gain * G, np.full(6, 1 + lam))
            np.testing.assert_allclose(found.x[b, h], A @ (c[:, None] * y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["exact", "gradient"])
def test_gradients_are_those_of_the_converged_descent(method):
    qkv, masks = arrays()
    options = {"lam": 0.5, **masks}

    def loss(solve, q, k, v, alpha):
        return jnp.sum(jnp.sin(solve(q, k, v, nonlinearity=nonlinearities.quadratic(alpha)).x))

    settled = functools.partial(settle, method=method, tolerance=1e-13, max_steps=2000, **options)
    unrolled = functools.partial(attention_descent, num_steps=200, **options)
    ours, expected = (
        jax.jit(jax.grad(functools.partial(loss, solve), argnums=(0, 1, 2, 3)))(*qkv, 0.5)
        for solve in (settled, unrolled)
    )
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("method", ["gradient", "anderson"])
def test_every_head_is_stationary(coupling, method):
    qkv, masks = arrays()
    options = {"nonlinearity": nonlinearities.log_cosh(0.8), "lam": 0.5, **masks}
    found = settle(*qkv, coupling=coupling, method=method, tolerance=1e-9, **options)
    assert np.all(found.status == CONVERGED)
    last = attention_descent(*qkv, coupling=coupling, num_steps=150, **options)
    np.testing.assert_allclose(found.x, last.x, atol=1e-8)


def test_identity_heads_are_plain_attention_after_no_step():
    qkv, masks = arrays()
    found = settle(*qkv, nonlinearity=nonlinearities.identity(), lam=0.5, **masks)
    plain = standard_attention(*qkv, **masks)
    np.testing.assert_allclose(found.x.transpose(0, 2, 1, 3), plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["exact", "gradient"])
def test_a_head_without_a_minimum_says_so_and_leaves_the_others_alone(method):
    (q, k, v), _ = arrays(scale=1.0)
    wild = v.at[0, :, 1].mul(30.0)
    options = {"nonlinearity": nonlinearities.quadratic(1.0), "lam": 0.5, "method": method}
    tame = settle(q, k, v, **options)
    assert np.all(tame.status == CONVERGED)
    found = settle(q, k, wild, **options)
    np.testing.assert_array_equal(found.status, [[CONVERGED, DIVERGED], [CONVERGED, CONVERGED]])
    assert np.all(np.isfinite(found.x))
    np.testing.assert_array_equal(found.x[1], tame.x[1])
    np.testing.assert_array_equal(found.x[0, 0], tame.x[0, 0])


def test_with_auto_lambda_every_head_converges_and_the_choice_is_reported():
    qkv, masks = arrays(scale=20.0)
    options = {"nonlinearity": nonlinearities.quadratic(1.0), "method": "gradient", **masks}
    options |= {"tolerance": 1e-8, "max_steps": 5000}
    assert np.any(settle(*qkv, lam=0.5, **options).status != CONVERGED)
    found = settle(*qkv, lam="auto", step_size="auto", **options)
    assert np.all(found.status == CONVERGED)
    assert found.lam.shape == found.step_size.shape == (2, 2)
    assert np.all(found.lam > 1)
    again = settle(*qkv, lam=float(found.lam[1, 0]), step_size="auto", **options)
    np.testing.assert_allclose(again.x[1, 0], found.x[1, 0], rtol=1e-6)


def test_fully_masked_heads_are_zero_with_finite_gradients():
    (q, k, v), masks = arrays()
    masks["key_mask"] = masks["key_mask"].at[0].set(False)

    def total(q, k, v, method):
        options = {"nonlinearity": nonlinearities.quadratic(0.5), "lam": 0.5, "method": method}
        return jnp.sum(settle(q, k, v, **options, **masks).x ** 2)

    for method in ("exact", "gradient"):
        found = settle(
            q, k, v, nonlinearity=nonlinearities.quadratic(0.5), lam=0.5, method=method, **masks
        )
        np.testing.assert_array_equal(found.x[0], 0)
        assert np.all(found.status[0] == CONVERGED)
        grads = jax.grad(total, argnums=(0, 1, 2))(q, k, v, method)
        assert all(np.all(np.isfinite(grad)) for grad in grads)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "exakt"}, "did you mean 'exact'"),
        ({"method": "exact", "coupling": "pairwise"}, "solves the pooled coupling of identity"),
        ({"method": "exact", "nonlinearity": jnp.tanh}, "F 'tanh'"),
        ({"lam": "automatic"}, "lam must be a number or 'auto'; got 'automatic'"),
        ({"tolerance": 0.0}, "tolerance must be > 0"),
        ({"max_steps": 0}, "max_steps must be >= 1"),
        ({"is_causal": True}, "pooled coupling cannot be causal"),
        ({"nonlinearity": jnp.tanh, "lam": "auto"}, "tanh"),
        ({"nonlinearity": nonlinearities.exp(), "step_size": "auto"}, "exp"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    qkv, _ = arrays()
    options = {"nonlinearity": nonlinearities.quadratic(0.5), "lam": 0.5}
    with pytest.raises(ValueError, match=message):
        attention_equilibrium(*qkv, **(options | change))


@pytest.mark.usefixtures("no_typechecker")
def test_the_gradient_mode_is_that_which_was_asked_for():
    qkv, masks = arrays()
    options = {"nonlinearity": nonlinearities.quadratic(0.3), "lam": 0.5, **masks}
    for method in (None, "exact"):
        with pytest.raises(ValueError, match="gradient_mode must be one of"):
            attention_equilibrium(*qkv, gradient_mode="bogus", method=method, **options)
    with pytest.raises(ValueError, match="method='exact' is differentiated through its linear"):
        attention_equilibrium(*qkv, gradient_mode="one_step", method="exact", **options)
    # Of its own accord it takes the method that has the mode.
    chosen, descended = (
        settle(*qkv, gradient_mode="one_step", method=method, **options)
        for method in (None, "gradient")
    )
    np.testing.assert_array_equal(chosen.num_steps, descended.num_steps)
