import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from hopfield_attn.energies.entmax import entmax, tsallis_conjugate
from tests import memory_oracles as oracles

pytestmark = pytest.mark.usefixtures("x64")

ALPHAS = (1.0, 1.01, 1.3, 1.5, 2.0, 3.5)
SHAPE = (3, 7)


@functools.partial(jax.jit, static_argnames="alpha")
def solve(z, mask, *, alpha):
    """Probabilities, potential, gradient of the potential."""
    grad = jax.grad(lambda z: jnp.sum(tsallis_conjugate(z, alpha, where=mask)))(z)
    return entmax(z, alpha, where=mask), tsallis_conjugate(z, alpha, where=mask), grad


def logits(seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=SHAPE)


def generic(alpha):
    """Logits whose support does not change within a finite difference."""
    return jnp.array([1.0, 0.83, 0.4, -0.35, -2.6]) / (alpha if alpha > 1 else 1)


@pytest.mark.parametrize("alpha", ALPHAS)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
    kept=st.sampled_from([0.4, 1.0]),
)
def test_value_potential_and_its_gradient_equal_the_definition(alpha, seed, scale, kept):
    z = logits(seed, scale)
    mask = np.random.default_rng(seed).random(SHAPE) < kept
    p, potential, grad = solve(z, mask, alpha=alpha)
    for row in range(SHAPE[0]):
        expected = np.zeros(SHAPE[1])
        value = 0.0
        if mask[row].any():
            expected[mask[row]] = oracles.entmax(z[row, mask[row]], alpha)
            value = oracles.tsallis_conjugate(z[row, mask[row]], alpha)
        # near α = 1 the definition itself loses 1/(α−1) digits
        np.testing.assert_allclose(p[row], expected, atol=1e-12)
        np.testing.assert_allclose(grad[row], expected, atol=1e-12)
        np.testing.assert_allclose(potential[row], value, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_probabilities_maximise_the_regularised_score(alpha):
    z = logits(3)[0]
    _, potentials, _ = solve(logits(3), np.ones(SHAPE, bool), alpha=alpha)
    best = float(potentials[0])
    rng = np.random.default_rng(0)
    for p in [*rng.dirichlet(np.full(7, 0.3), size=50), np.eye(7)[0]]:
        assert p @ z + oracles.tsallis_entropy(p, alpha) <= best + 1e-12


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_sorting_equals_bisection(alpha):
    z = jnp.asarray(logits(1, 2.0))
    near = alpha + 1e-13
    np.testing.assert_allclose(entmax(z, alpha), entmax(z, near), atol=1e-12)
    assert np.sum(np.asarray(entmax(z, alpha)) == 0) > 5


def test_alpha_one_is_softmax_and_logsumexp():
    z = jnp.asarray(logits(2, 5.0))
    np.testing.assert_allclose(entmax(z, 1.0), jax.nn.softmax(z), rtol=1e-14)
    np.testing.assert_allclose(
        tsallis_conjugate(z, 1), jax.scipy.special.logsumexp(z, axis=-1), rtol=1e-14
    )


def test_no_digits_are_lost_as_alpha_goes_to_one():
    z = jnp.asarray(logits(2, 3.0), jnp.float32)
    np.testing.assert_allclose(entmax(z, 1 + 1e-6), jax.nn.softmax(z), atol=1e-5)
    np.testing.assert_allclose(tsallis_conjugate(z, 1 + 1e-6), tsallis_conjugate(z, 1.0), rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.3, 1.5])
def test_second_derivatives_agree_with_differences(alpha):
    mask = jnp.array([True, True, False, True, True])
    direction = jnp.array([0.3, -1.0, 2.0, 0.5, 1.0])

    def score(z):
        return direction @ entmax(z, alpha, where=mask)

    check_grads(jax.jit(score), (generic(alpha),), order=2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.5, 2.0])
def test_jacobian_is_the_published_one(alpha):
    p = entmax(generic(alpha), alpha)
    s = np.where(p > 0, np.where(p > 0, p, 1) ** (2 - alpha), 0)
    expected = np.diag(s) - np.outer(s, s) / s.sum()
    for jacobian in (jax.jacfwd(entmax), jax.jacrev(entmax)):
        found = jax.jit(jacobian, static_argnums=1)(generic(alpha), alpha)
        np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_masked_logit_is_never_read_and_a_masked_row_is_zero(alpha):
    z = jnp.array([[1.0, jnp.nan, 0.2], [jnp.nan, jnp.inf, -jnp.inf]])
    mask = jnp.array([[True, False, True], [False, False, False]])
    p, potential, grad = solve(z, mask, alpha=alpha)
    kept, value, _ = solve(z[:1, ::2], mask[:1, ::2], alpha=alpha)
    np.testing.assert_allclose(p, [[kept[0, 0], 0, kept[0, 1]], [0, 0, 0]], atol=1e-13)
    np.testing.assert_allclose(potential, [value[0], 0], atol=1e-13)
    np.testing.assert_allclose(grad, p, atol=1e-13)
    jacobian = jax.jit(jax.jacrev(lambda z: entmax(z, alpha, where=mask)))(z)
    assert np.all(np.isfinite(jacobian))
    assert not np.any(jacobian[1])


@pytest.mark.parametrize(
    ("alpha", "dtype"), [(alpha, jnp.bfloat16) for alpha in ALPHAS] + [(1.3, jnp.float16)]
)
def test_large_logits_of_low_precision_are_finite(alpha, dtype):
    z = jnp.array([1e4, -1e4, 9e3, 0.0, 1e4], dtype)
    p, value, grad = solve(z, jnp.ones(5, bool), alpha=alpha)
    assert p.dtype == value.dtype == jnp.float32
    np.testing.assert_allclose(p, [0.5, 0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(value, z[0], rtol=1e-3)
    np.testing.assert_allclose(grad.astype(jnp.float32), p, atol=1e-2)


def test_float32_stays_float32_and_the_mask_broadcasts():
    z = jnp.asarray(logits(0), jnp.float32)
    p = entmax(z, 1.3, where=jnp.array([True] * 6 + [False]))
    assert p.dtype == tsallis_conjugate(z, 1.3).dtype == jnp.float32
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-6)
    assert not p[:, -1].any()


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": 0.9}, ValueError, "alpha must be >= 1; got 0.9"),
        ({"alpha": float("nan")}, ValueError, "alpha must be >= 1; got nan"),
        ({"alpha": np.ones(1)}, TypeError, "alpha must be a Python number.*got ndarray"),
        ({"alpha": True}, TypeError, "alpha must be a Python number.*got bool"),
        ({"z": jnp.ones(3, int)}, TypeError, "z must be a floating-point array; got dtype int"),
        ({"z": jnp.ones(())}, ValueError, r"shape \(..., m\); got shape \(\)"),
        ({"where": jnp.ones(3)}, TypeError, "where must be boolean; got dtype float"),
        ({"where": jnp.ones(4, bool)}, ValueError, r"\(2, 3\); got shape \(4,\)"),
        ({"where": jnp.ones((5, 2, 3), bool)}, ValueError, r"\(2, 3\); got shape \(5, 2, 3\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"z": jnp.ones((2, 3)), "alpha": 1.5, "where": None} | change
    for fn in (entmax, tsallis_conjugate):
        with pytest.raises(error, match=message):
            fn(**arguments)


@pytest.mark.heavy
@pytest.mark.parametrize("alpha", [1.1, 1.5, 2.0, 3.0])
def test_values_and_gradients_equal_the_entmax_package(alpha):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("entmax", reason="entmax is not installed: scripts/test --all")
    exact = {1.5: package.entmax15, 2.0: package.sparsemax}
    reference = exact.get(alpha, functools.partial(package.entmax_bisect, alpha=alpha))
    direction = logits(9)
    for seed in range(5):
        z = logits(seed, 2.0)
        theirs = torch.tensor(z, requires_grad=True)
        p = reference(theirs, dim=-1)
        p.backward(torch.tensor(direction))
        ours, vjp = jax.vjp(lambda z: entmax(z, alpha), jnp.asarray(z))
        np.testing.assert_allclose(ours, p.detach().numpy(), atol=1e-12)
        np.testing.assert_allclose(vjp(jnp.asarray(direction))[0], theirs.grad, atol=1e-9)


@pytest.mark.heavy
@pytest.mark.parametrize("alpha", [1.1, 1.5, 2.0])
def test_the_potential_gives_the_loss_of_the_entmax_package(alpha):
    """Fenchel–Young loss: Ω*(z) − z_target, as Ω of a vertex is 0."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("entmax", reason="entmax is not installed: scripts/test --all")
    z, target = logits(4, 2.0), np.array([0, 3, 6])
    theirs = package.entmax_bisect_loss(torch.tensor(z), torch.tensor(target), alpha)
    ours = tsallis_conjugate(jnp.asarray(z), alpha) - z[np.arange(3), target]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
