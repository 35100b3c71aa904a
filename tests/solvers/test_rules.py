import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn import descend, nonlinearities
from hopfield_attn.solvers.rules import anderson, backtrack, damped_fixed_point
from tests.problems import head_energy, random_head

pytestmark = pytest.mark.usefixtures("x64")


def test_damped_fixed_point_averages_the_state_and_its_image():
    x0, y, weights = random_head()
    fn = head_energy(y, weights, nonlinearities.exponential(0.3), lam=0.5)
    result = descend(
        fn, jnp.asarray(x0), num_steps=3, rule=damped_fixed_point(1 / 1.5, damping=0.6)
    )
    x = jnp.asarray(x0)
    for _ in range(3):
        x = 0.4 * x + 0.6 * (x - jax.grad(fn)(x) / 1.5)
    np.testing.assert_allclose(result.x, x, rtol=1e-13)


def numpy_anderson(grad_fn, x, *, step_size, history, num_steps):
    """Type-II Anderson acceleration with least squares on the differences."""
    xs, fs = [], []
    for _ in range(num_steps):
        f = -step_size * grad_fn(x)
        xs, fs = [*xs, x][-history - 1 :], [*fs, f][-history - 1 :]
        dx, df = np.diff(xs, axis=0).T, np.diff(fs, axis=0).T
        gamma = np.linalg.lstsq(df, f, rcond=None)[0] if df.size else np.zeros(0)
        x = x + f - (dx + df) @ gamma if df.size else x + f
    return x


@pytest.mark.parametrize("history", [1, 3])
def test_anderson_is_least_squares_over_the_last_differences(history):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    curvature, target = root @ root.T + np.eye(6), rng.normal(size=6)
    result = descend(
        lambda x: 0.5 * x @ curvature @ x - target @ x,
        jnp.zeros(6),
        num_steps=5,
        rule=anderson(0.05, history=history, regularization=1e-14),
    )
    expected = numpy_anderson(
        lambda x: curvature @ x - target, np.zeros(6), step_size=0.05, history=history, num_steps=5
    )
    np.testing.assert_allclose(result.x, expected, rtol=1e-6)


def test_anderson_needs_fewer_steps_than_gradient_descent():
    x0, y, weights = random_head(n=8, m=8, d=4)
    fn = head_energy(3 * y, weights, nonlinearities.log_cosh(1.5), lam=0.1)
    start = {"x": jnp.asarray(x0)}  # a state may be any pytree

    def residual(rule):
        return descend(lambda s: fn(s["x"]), start, num_steps=25, rule=rule).grad_norms[-1]

    assert residual(anderson(0.3)) < 1e-3 * residual(optax.sgd(0.3))


def test_backtracking_takes_the_largest_halving_that_does_not_rise():
    def fn(x):
        return jnp.sum(x**2)

    x = jnp.array([1.0])
    for step, taken in ((-1.0, -1.0), (-2.0, -2.0), (-3.0, -1.5), (-20.0, -1.25), (4.0, 0.0)):
        updates = backtrack(fn, x, jnp.array([step]), fn(x))
        np.testing.assert_allclose(updates, [taken])
    updates = backtrack(fn, x, jnp.array([jnp.nan]), fn(x))
    np.testing.assert_array_equal(updates, [0.0])


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="damping must be > 0; got 0"):
        damped_fixed_point(0.1, damping=0)
    with pytest.raises(ValueError, match=r"damping must be in \(0, 1\]; got 1.5"):
        damped_fixed_point(0.1, damping=1.5)
    with pytest.raises(ValueError, match="history must be >= 1; got 0"):
        anderson(0.1, history=0)
    rule = anderson(0.1)
    with pytest.raises(ValueError, match="anderson needs the state x"):
        rule.update(jnp.ones(2), rule.init(jnp.ones(2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_anderson_in_half_precision_keeps_the_dtype_and_gets_nearer_than_plain_steps(dtype):
    curvatures = jnp.array([1.0, 3.0, 10.0], dtype)
    fn, start = lambda x: 0.5 * jnp.sum(curvatures * x**2), jnp.ones(3, dtype)
    found = descend(fn, start, num_steps=6, rule=anderson(0.1))
    plain = descend(fn, start, num_steps=6, rule=optax.sgd(0.1))
    assert found.x.dtype == dtype
    assert jnp.linalg.norm(found.x) < 0.1 * jnp.linalg.norm(plain.x)
