import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn import equilibrium, nonlinearities
from hopfield_attn.solvers.equilibrium import (
    ADVICE,
    CONVERGED,
    DIVERGED,
    NON_FINITE,
    OUTCOME_NAMES,
    STEP_CAP,
)
from hopfield_attn.solvers.rules import anderson
from tests.problems import head_energy, random_head

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]


def solve(alpha=0.6, *, seed=0, family=nonlinearities.log_cosh, scale=1.0, lam=0.5, **options):
    x0, y, weights = random_head(seed)
    options = {"rule": optax.sgd(0.3), "tolerance": 1e-10, "max_steps": 400} | options
    fn = head_energy(scale * y, weights, family(alpha), lam=lam)
    return equilibrium(fn, jnp.asarray(x0), **options), fn


@pytest.mark.parametrize("rule", [optax.sgd(0.3), optax.sgd(0.1, momentum=0.8), anderson(0.3)])
def test_result_is_stationary_and_the_same_for_every_rule(rule):
    result, fn = solve(rule=rule)
    assert int(result.status) == CONVERGED
    norm = np.linalg.norm(jax.grad(fn)(result.x))
    assert norm <= 1e-10 * max(1.0, np.linalg.norm(result.x))
    np.testing.assert_allclose(result.residual, norm, atol=1e-15)
    np.testing.assert_allclose(result.energy, fn(result.x), rtol=1e-14)
    np.testing.assert_allclose(result.x, solve()[0].x, atol=1e-9)


def test_it_stops_at_the_first_step_within_the_tolerance():
    result, fn = solve(tolerance=1e-4)
    x = jnp.asarray(random_head()[0])
    for _ in range(int(result.num_steps)):
        assert np.linalg.norm(jax.grad(fn)(x)) > 1e-4 * max(1.0, np.linalg.norm(x))
        x = x - 0.3 * jax.grad(fn)(x)
    np.testing.assert_allclose(result.x, x, rtol=1e-12)


@jax.jit
def batched(starts, scales):
    _, y, weights = random_head()

    def one(x0, scale):
        fn = head_energy(scale * y, weights, nonlinearities.quadratic(0.6), lam=0.5)
        return equilibrium(fn, x0, rule=optax.sgd(0.3), tolerance=1e-9, max_steps=60)

    return jax.vmap(one)(starts, scales)


def test_every_example_stops_on_its_own_and_never_changes_another():
    x0 = jnp.asarray(random_head()[0])
    starts = jnp.stack([x0, x0, x0.at[0, 0].set(jnp.nan), x0])
    # Converges; is unbounded below; starts with a NaN; takes longer than the cap.
    scales = jnp.array([0.3, 8.0, 0.3, 1.45])
    together = batched(starts, scales)
    np.testing.assert_array_equal(together.status, [CONVERGED, DIVERGED, NON_FINITE, STEP_CAP])
    assert 0 < together.num_steps[0] < 60
    assert together.num_steps[2] == 0
    for i in range(4):
        alone = batched(starts[i : i + 1], scales[i : i + 1])
        assert int(alone.status[0]) == int(together.status[i])
        assert int(alone.num_steps[0]) == int(together.num_steps[i])
        np.testing.assert_allclose(alone.x[0], together.x[i], rtol=1e-12)
    others = batched(starts[::-1].at[0].set(starts[0]), scales[::-1].at[0].set(scales[0]))
    for ours, theirs in zip(others, together, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
    assert np.all(np.isfinite(together.x[np.array([0, 1, 3])]))


def test_gradients_are_those_of_the_stationary_point():
    x0, y, weights = random_head()

    def loss(alpha, y, mode):
        fn = head_energy(y, weights, nonlinearities.log_cosh(alpha), lam=0.5)
        options = {"rule": optax.sgd(0.4), "tolerance": 1e-12, "max_steps": 500}
        return jnp.sum(jnp.sin(equilibrium(fn, jnp.asarray(x0), gradient_mode=mode, **options).x))

    implicit = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)(0.6, y, "implicit")
    step = 1e-5
    difference = (loss(0.6 + step, y, "implicit") - loss(0.6 - step, y, "implicit")) / (2 * step)
    np.testing.assert_allclose(implicit[0], difference, rtol=1e-7)
    # One step from the solution: right up to the contraction factor, and of the same sign.
    one_step = jax.grad(loss)(0.6, jnp.asarray(y), "one_step")
    assert 0.3 < one_step / implicit[0] < 1.2


def test_backtracking_rescues_a_step_that_is_too_long():
    options = {"rule": optax.sgd(3.0), "tolerance": 1e-6}
    assert int(solve(**options)[0].status) != CONVERGED
    assert int(solve(backtracking=True, **options)[0].status) == CONVERGED


def test_lambda_too_small_does_not_converge_and_the_advice_says_what_to_do():
    small, _ = solve(2.0, family=nonlinearities.quadratic, lam=0.0, rule=optax.sgd(1.0), scale=2.0)
    large, _ = solve(
        2.0, family=nonlinearities.quadratic, lam=50.0, rule=optax.sgd(0.02), scale=2.0
    )
    assert OUTCOME_NAMES[int(small.status)] == "diverged"
    assert "raise λ" in ADVICE[int(small.status)]
    assert int(large.status) == CONVERGED
    assert len(ADVICE) == len(OUTCOME_NAMES)


@pytest.mark.parametrize("family", ["cubic", "exponential", "exp", "square"])
def test_an_energy_without_a_minimum_is_a_status_and_the_state_stays_finite(family):
    x0, y, weights = random_head()
    F = nonlinearities.make_nonlinearity(family, 1.0)
    fn = head_energy(6 * y, weights, F, lam=0.0, gain=1.0)
    result = equilibrium(fn, jnp.asarray(x0), rule=optax.sgd(0.5), tolerance=1e-8, max_steps=500)
    assert int(result.status) == DIVERGED
    assert int(result.num_steps) < 500
    assert np.all(np.isfinite(result.x))


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="tolerance must be > 0; got 0"):
        solve(tolerance=0)
    with pytest.raises(ValueError, match="max_steps must be >= 1; got 0"):
        solve(max_steps=0)
    with pytest.raises(ValueError, match="gradient_mode must be one of 'implicit', 'one_step'"):
        solve(gradient_mode="unrolled")
