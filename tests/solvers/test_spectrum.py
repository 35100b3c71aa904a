import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import nonlinearities
from hopfield_attn.solvers.spectrum import hessian_spectrum
from tests import oracles
from tests.problems import head_energy, random_head

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_all_values_are_those_of_the_dense_hessian(coupling):
    x, y, weights = random_head()
    fn = head_energy(y, weights, nonlinearities.exponential(0.7), coupling=coupling)
    hessian = np.asarray(jax.hessian(fn)(jnp.asarray(x))).reshape(x.size, x.size)
    expected = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(hessian_spectrum(fn, jnp.asarray(x)), expected, rtol=1e-11)


def test_lanczos_finds_the_outermost_values_with_few_products():
    values = np.concatenate([np.linspace(1.0, 2.0, 60), [-3.0, 7.0]])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(62, 62)))[0]
    matrix = rotation @ np.diag(values) @ rotation.T
    found = hessian_spectrum(lambda x: 0.5 * x @ matrix @ x, jnp.ones(62), num_values=12)
    assert found.shape == (12,)
    np.testing.assert_allclose([found[0], found[-1]], [-3.0, 7.0], rtol=1e-9)


def test_lanczos_with_all_vectors_gives_the_whole_spectrum_also_when_values_repeat():
    curvatures = jnp.array([1.0, 1.0, 1.0, 5.0, 5.0, -2.0])
    found = hessian_spectrum(lambda x: 0.5 * jnp.sum(curvatures * x**2), jnp.ones(6), num_values=6)
    np.testing.assert_allclose(found, np.sort(curvatures), atol=1e-10)


def test_the_state_may_be_any_pytree():
    found = hessian_spectrum(
        lambda s: jnp.sum(s["a"] ** 2) + 2 * jnp.sum(s["b"] ** 2),
        {"a": jnp.ones(1), "b": jnp.ones(2)},
    )
    np.testing.assert_allclose(found, [2.0, 4.0, 4.0])


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="at most the size of x, 2; got 3"):
        hessian_spectrum(jnp.sum, jnp.ones(2), num_values=3)


@pytest.mark.parametrize("num_values", [None, 3])
def test_the_spectrum_of_a_half_precision_state_is_found_in_float32(num_values):
    curvatures = jnp.array([1.0, -2.0, 5.0], jnp.bfloat16)
    fn, state = lambda x: 0.5 * jnp.sum(curvatures * x**2), jnp.ones(3, jnp.bfloat16)
    found = hessian_spectrum(fn, state, num_values=num_values)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [-2.0, 1.0, 5.0], atol=1e-5)
