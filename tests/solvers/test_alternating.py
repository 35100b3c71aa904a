import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn import alternate, attention_energy, descend, nonlinearities
from hopfield_attn.solvers.descent import FELL, ROSE
from tests import oracles
from tests.problems import random_head

pytestmark = pytest.mark.usefixtures("x64")


def joint_energy(weights, F, coupling="pooled", lam=0.5):
    return functools.partial(
        attention_energy,
        weights=jnp.asarray(weights),
        nonlinearity=F,
        coupling=coupling,
        lam=lam,
        gain=0.3,
    )


@functools.partial(jax.jit, static_argnames=("coupling", "num_steps", "family", "backtracking"))
def run(x0, y0, weights, alpha, mu, step, *, coupling, family, num_steps, backtracking=False):
    F = nonlinearities.make_nonlinearity(family, alpha)
    return alternate(
        joint_energy(weights, F, coupling),
        x0,
        y0,
        num_steps=num_steps,
        x_step_size=step,
        mu=mu,
        backtracking=backtracking,
    )


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("family", ["identity", "quadratic", "log_cosh"])
def test_joint_energy_never_rises(coupling, family):
    # With α > 0 a quadratic F leaves no minimum in (x, y) together: Φ is of fourth order.
    alpha = -0.4 if family == "quadratic" else 0.4
    for seed in range(3):
        x0, y0, weights = random_head(seed)
        options = {"coupling": coupling, "family": family, "num_steps": 15}
        result = run(x0, y0, weights, alpha, 3.0, 0.15, **options)
        assert int(result.status) == FELL
        assert np.all(np.diff(result.energies) <= 1e-12 * np.abs(result.energies[1:]).max())
        assert np.abs(result.y - y0).max() > 1e-3
        # A step far too long, saved by backtracking.
        result = run(x0, y0, weights, alpha, 3.0, 9.0, backtracking=True, **options)
        assert np.all(np.diff(result.energies) <= 0)


def test_half_steps_are_the_two_gradients_of_one_function():
    x0, y0, weights = random_head()
    fn = joint_energy(weights, nonlinearities.quadratic(0.4))
    result = alternate(
        fn,
        jnp.asarray(x0),
        jnp.asarray(y0),
        num_steps=2,
        x_step_size=0.2,
        mu=2.0,
        y_step_size=0.1,
    )
    x, y = jnp.asarray(x0), jnp.asarray(y0)
    energies = [fn(x, y)]
    for _ in range(2):
        x = x - 0.2 * jax.grad(fn, argnums=0)(x, y)
        energies.append(fn(x, y) + np.sum((y - y0) ** 2))
        y = y - 0.1 * (jax.grad(fn, argnums=1)(x, y) + 2.0 * (y - y0))
        energies.append(fn(x, y) + np.sum((y - y0) ** 2))
    np.testing.assert_allclose(result.x, x, rtol=1e-12)
    np.testing.assert_allclose(result.y, y, rtol=1e-12)
    np.testing.assert_allclose(result.energies, energies, rtol=1e-12)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_as_mu_grows_the_iteration_in_x_alone_is_recovered(coupling):
    x0, y0, weights = random_head()
    fn = joint_energy(weights, nonlinearities.quadratic(0.4), coupling)
    alone = descend(
        lambda x: fn(x, jnp.asarray(y0)), jnp.asarray(x0), num_steps=6, rule=optax.sgd(0.2)
    )
    distances = []
    for mu in (1e3, 1e5, 1e12):
        result = run(
            x0, y0, weights, 0.4, mu, 0.2, coupling=coupling, family="quadratic", num_steps=6
        )
        distances.append(np.abs(result.x - alone.x).max())
    np.testing.assert_allclose(distances[0] / distances[1], 100, rtol=0.05)
    assert distances[2] < 1e-10
    np.testing.assert_allclose(result.y, y0, atol=1e-10)


def test_without_the_proximal_term_the_values_run_away():
    x0, y0, weights = random_head()
    options = {"coupling": "pooled", "family": "quadratic", "num_steps": 5}
    free = run(x0, y0, weights, 1.0, 0.0, 0.3, **options)
    held = run(x0, y0, weights, 1.0, 10.0, 0.05, **options)
    assert np.abs(free.y).max() > 10 * np.abs(y0).max()
    assert np.abs(held.y - y0).max() < np.abs(y0).max()


def test_a_step_that_is_too_long_is_a_status():
    x0, y0, weights = random_head()
    options = {"coupling": "pooled", "family": "identity", "num_steps": 4}
    assert int(run(x0, y0, weights, 0.0, 1.0, 3.0, **options).status) == ROSE


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    def energy_fn(x, y):
        return jnp.sum((x - y) ** 2)

    good = {"num_steps": 1, "x_step_size": 0.1, "mu": 1.0}
    for change, message in (
        ({"mu": -1.0}, "mu must be >= 0; got -1.0"),
        ({"mu": float("inf")}, "mu must be finite; got inf"),
        ({"x_step_size": 0.0}, "x_step_size must be > 0"),
        ({"num_steps": -1}, "num_steps must be >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            alternate(energy_fn, jnp.ones(2), jnp.ones(2), **(good | change))
