import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hopfield_attn.solvers.conjugate_gradients import conjugate_gradients

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]


def system(seed=0, size=6):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    return jnp.asarray(root @ root.T + np.eye(size)), jnp.asarray(rng.normal(size=size))


def test_solution_and_its_derivatives_are_those_of_the_linear_system():
    matrix, rhs = system()

    def solve(matrix, rhs):
        options = {"tolerance": 1e-14, "max_steps": 50}
        return conjugate_gradients(lambda v: matrix @ v, rhs, **options)[0]

    np.testing.assert_allclose(solve(matrix, rhs), np.linalg.solve(matrix, rhs), rtol=1e-10)
    check_grads(jax.jit(solve), (matrix, rhs), order=1, atol=1e-6, rtol=1e-6)


def test_it_takes_at_most_one_step_an_eigenvalue():
    values = jnp.array([1.0, 1.0, 3.0, 3.0, 9.0])
    _, (num_steps, is_indefinite) = conjugate_gradients(
        lambda v: values * v, jnp.arange(1.0, 6.0), tolerance=1e-12, max_steps=50
    )
    assert int(num_steps) == 3
    assert not bool(is_indefinite)


def test_it_stops_at_the_cap_and_at_negative_curvature():
    matrix, rhs = system()
    _, (num_steps, _) = conjugate_gradients(lambda v: matrix @ v, rhs, tolerance=1e-14, max_steps=2)
    assert int(num_steps) == 2
    values = jnp.array([1.0, -0.5])
    solution, (_, is_indefinite) = conjugate_gradients(
        lambda v: values * v, jnp.ones(2), tolerance=1e-10, max_steps=50
    )
    assert bool(is_indefinite)
    assert np.all(np.isfinite(solution))


def test_zero_has_the_solution_zero():
    solution, (num_steps, _) = conjugate_gradients(
        lambda v: v, jnp.zeros(3), tolerance=1e-10, max_steps=5
    )
    np.testing.assert_array_equal(solution, 0)
    assert int(num_steps) == 0
