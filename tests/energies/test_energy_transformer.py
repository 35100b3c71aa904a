import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.energies.energy_transformer import (
    energy_transformer_energy,
    layer_norm_lagrangian,
)
from tests import memory_oracles as oracles

pytestmark = pytest.mark.usefixtures("x64")

SHAPES = ((1, 1, 2, 3, 1), (5, 2, 3, 4, 6))


@functools.partial(jax.jit, static_argnames="include_self")
def solve(*arrays, **options):
    return jax.value_and_grad(energy_transformer_energy)(*arrays, **options)


def block(seed, n=5, h=2, dk=3, width=4, m=6):
    """(g, W^Q, W^K, ξ)."""
    rng = np.random.default_rng(seed)
    shapes = (n, width), (h, dk, width), (h, dk, width), (m, width)
    return tuple(rng.normal(size=shape) for shape in shapes)


@pytest.mark.parametrize("include_self", [False, True])
@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32 - 1),
    beta=st.sampled_from([0.2, 1.0]),
    kept=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_energy_and_gradient_equal_the_formulas(include_self, shape, seed, beta, kept):
    n, h, *_ = shape
    arrays = block(seed, *shape)
    mask = np.random.default_rng(seed).random(n) < kept
    betas = beta * np.arange(1.0, h + 1)
    energy, grad = solve(*arrays, beta=betas, mask=mask, include_self=include_self)
    expected = oracles.energy_transformer(*arrays, beta=betas, mask=mask, include_self=include_self)
    np.testing.assert_allclose(energy, expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-11, atol=1e-12)


def test_padding_changes_nothing_and_a_lone_token_is_finite():
    g, *others = block(0)
    energy, grad = solve(g[:3], *others, beta=0.7)
    padded = np.concatenate([g[:3], np.full((2, 4), np.nan)])
    mask = np.arange(5) < 3
    with_padding = solve(padded, *others, beta=0.7, mask=mask)
    np.testing.assert_allclose(with_padding[0], energy, rtol=1e-13)
    np.testing.assert_allclose(with_padding[1][:3], grad, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(with_padding[1][3:], np.zeros((2, 4)))
    energy, grad = solve(g[:1], *others, beta=0.7)
    hidden = np.maximum(g[:1] @ others[2].T, 0)
    np.testing.assert_allclose(energy, -0.5 * np.sum(hidden**2), rtol=1e-13)
    np.testing.assert_allclose(grad, -hidden @ others[2], rtol=1e-12)


def test_one_beta_serves_all_heads():
    arrays = block(1)
    one, each = (solve(*arrays, beta=beta)[0] for beta in (0.4, jnp.full(2, 0.4)))
    np.testing.assert_allclose(one, each, rtol=1e-15)


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.3, 2.0]))
def test_gradient_of_the_lagrangian_is_the_layer_norm(seed, scale):
    rng = np.random.default_rng(seed)
    x, bias = 3 * rng.normal(size=(3, 5)) + 1, rng.normal(size=5)
    grad = jax.jit(jax.grad(layer_norm_lagrangian))(x, scale, bias, 1e-5)
    np.testing.assert_allclose(
        grad, oracles.layer_norm(x, scale, bias, 1e-5), rtol=1e-12, atol=1e-12
    )


def test_the_lagrangian_is_convex():
    x = jnp.asarray(np.random.default_rng(0).normal(size=5))
    hessian = jax.hessian(layer_norm_lagrangian)(x, 1.7, jnp.ones(5), 1e-3)
    assert np.linalg.eigvalsh(hessian)[0] > -1e-12


def test_low_precision_is_accumulated_in_float32_and_large_logits_stay_finite():
    g, wq, wk, memories = (jnp.asarray(a, jnp.bfloat16) for a in block(2))
    energy, grad = solve(100 * g, wq, wk, memories, beta=1.0)
    assert energy.dtype == jnp.float32
    assert np.all(np.isfinite(grad.astype(jnp.float32)))
    constant = layer_norm_lagrangian(jnp.ones(4, jnp.float16), 1.0, jnp.ones(4), 1e-5)
    np.testing.assert_allclose(constant, 4 + 4 * np.sqrt(1e-5), rtol=1e-6)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"g": jnp.ones(4)}, ValueError, r"g must have shape \(n, D\)"),
        ({"g": jnp.ones((5, 4), int)}, TypeError, "g must be a floating-point"),
        ({"wq": jnp.ones((2, 3, 5))}, ValueError, r"query_projection .* \(2, 3, 4\); got"),
        ({"wk": jnp.ones((2, 2, 4))}, ValueError, r"key_projection .* \(2, 3, 4\); got"),
        ({"wk": jnp.ones((3, 4))}, ValueError, r"key_projection must have shape \(h, d_k, D\)"),
        ({"memories": jnp.ones((6, 3))}, ValueError, r"memories .* \(6, 4\); got"),
        ({"beta": -1.0}, ValueError, "beta must be > 0; got -1.0"),
        ({"beta": jnp.ones(3)}, ValueError, r"beta .* shape \(2,\); got \(3,\)"),
        ({"mask": jnp.ones(5)}, TypeError, "mask must be boolean"),
        ({"mask": jnp.ones(4, bool)}, ValueError, r"mask must have shape \(n\) = \(5,\)"),
    ],
)
def test_wrong_arguments_of_the_energy_are_named(change, error, message):
    arguments = dict(zip(("g", "wq", "wk", "memories"), map(jnp.asarray, block(0)), strict=True))
    arguments |= {"beta": 1.0} | change
    arrays = [arguments.pop(name) for name in ("g", "wq", "wk", "memories")]
    with pytest.raises(error, match=message):
        energy_transformer_energy(*arrays, **arguments)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": jnp.ones(())}, ValueError, r"x must have shape \(..., D\)"),
        ({"x": jnp.ones(4, int)}, TypeError, "x must be a floating-point"),
        ({"scale": jnp.ones(4)}, ValueError, r"scale must be a scalar; got shape \(4,\)"),
        ({"scale": 0.0}, ValueError, "scale must be > 0; got 0.0"),
        ({"bias": jnp.ones(3)}, ValueError, r"bias must have shape \(D\) = \(4,\)"),
        ({"epsilon": -1e-5}, ValueError, "epsilon must be >= 0; got -1e-05"),
    ],
)
def test_wrong_arguments_of_the_lagrangian_are_named(change, error, message):
    arguments = {"x": jnp.ones(4), "scale": 1.0, "bias": jnp.zeros(4), "epsilon": 1e-5} | change
    with pytest.raises(error, match=message):
        layer_norm_lagrangian(**arguments)


@pytest.mark.heavy
def test_lagrangians_equal_those_of_hamux():
    hamux = pytest.importorskip("hamux", reason="hamux is not installed: scripts/test --all")
    x, bias = jnp.asarray(oracles.mat(1, 6, 0.4)[0]), jnp.asarray(oracles.mat(1, 6, 2.0)[0])
    ours = jax.value_and_grad(layer_norm_lagrangian)(x, 1.3, bias, 1e-5)
    theirs = jax.value_and_grad(lambda x: hamux.lagr_layernorm(x, 1.3, bias, eps=1e-5))(x)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-13)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-12)
    g, wq, wk, memories = block(3)
    expected = -sum(hamux.lagr_relu(jnp.asarray(memories @ token)) for token in g)
    for query, keys in zip(wq, wk, strict=True):
        logits = (g @ query.T) @ (g @ keys.T).T
        expected -= hamux.lagr_softmax(jnp.asarray(logits), beta=0.7, axis=-1).sum()
    energy, _ = solve(g, wq, wk, memories, beta=0.7, include_self=True)
    np.testing.assert_allclose(energy, expected, rtol=1e-13)
