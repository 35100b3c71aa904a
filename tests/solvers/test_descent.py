import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from hopfield_attn import descend, nonlinearities
from hopfield_attn.solvers.descent import FELL, NON_FINITE, ROSE
from tests import oracles
from tests.problems import head_energy
from tests.problems import random_head as head

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]

RULES = {
    "gradient": optax.sgd(0.3),
    "momentum": optax.sgd(0.1, momentum=0.8),
    "nesterov": optax.sgd(0.1, momentum=0.8, nesterov=True),
    "adam": optax.adam(0.05),
}


@functools.partial(jax.jit, static_argnames="coupling")
def solve(y, weights, F, step_size, *, coupling):
    energy_fn = head_energy(y, weights, F, coupling=coupling)
    return descend(energy_fn, weights @ y, num_steps=25, rule=optax.sgd(step_size))


@pytest.mark.parametrize("rule", RULES)
def test_scan_equals_a_python_loop_for_any_optax_rule(rule):
    x0, y, weights = head()
    energy_fn = head_energy(y, weights, nonlinearities.quadratic(0.4))
    result = descend(energy_fn, jnp.asarray(x0), num_steps=4, rule=RULES[rule])
    x, state = jnp.asarray(x0), RULES[rule].init(jnp.asarray(x0))
    for t in range(5):
        energy, grad = jax.value_and_grad(energy_fn)(x)
        np.testing.assert_allclose(result.energies[t], energy, rtol=1e-13)
        np.testing.assert_allclose(result.grad_norms[t], np.linalg.norm(grad), rtol=1e-12)
        if t < 4:
            updates, state = RULES[rule].update(grad, state, x)
            x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(result.x, x, rtol=1e-13)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("lam", [0.0, 0.7, 12.0])
def test_one_unit_step_of_an_identity_head_is_attention_from_any_start(coupling, lam):
    for seed in range(3):
        x0, y, weights = head(seed)
        energy_fn = head_energy(y, weights, nonlinearities.identity(), coupling=coupling, lam=lam)
        rule = optax.sgd(1 / (1 + lam))
        result = descend(energy_fn, jnp.asarray(10 * x0), num_steps=1, rule=rule)
        np.testing.assert_allclose(result.x, weights @ y, rtol=1e-12, atol=1e-12)
        assert result.grad_norms[-1] < 1e-12


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("name", ["quadratic", "log_cosh", "square"])
def test_energy_never_rises_at_the_certified_step(coupling, name):
    for seed in range(4):
        for alpha in (-3.0, 0.6, 4.0):
            _, y, weights = head(seed)
            F = nonlinearities.make_nonlinearity(name, alpha)
            bound = oracles.lipschitz(
                y,
                weights,
                coupling=coupling,
                lam=0.5,
                gain=0.5,
                max_abs_curvature=float(F.max_abs_curvature),
            )
            result = solve(y, weights, F, 1 / bound, coupling=coupling)
            assert np.all(np.diff(result.energies) <= 1e-12 * (1 + np.abs(result.energies[1:])))
            assert result.energies[-1] < result.energies[0]
            assert int(result.status) == FELL


@pytest.mark.parametrize("rule", ["gradient", "momentum", "adam"])
def test_with_backtracking_the_energy_never_rises_whatever_the_step(rule):
    rules = {
        "gradient": optax.sgd(30.0),
        "momentum": optax.sgd(5.0, momentum=0.9),
        "adam": optax.adam(3.0),
    }
    x0, y, weights = head()
    # Unbounded below: even there each step goes down or is not taken.
    for F in (nonlinearities.log_cosh(2.0), nonlinearities.quadratic(3.0)):
        energy_fn = head_energy(y, weights, F)
        result = jax.jit(
            lambda x0, fn=energy_fn: descend(
                fn, x0, num_steps=12, rule=rules[rule], backtracking=True
            )
        )(x0)
        assert np.all(np.diff(result.energies) <= 0)
        assert np.all(np.isfinite(result.energies))
        assert result.energies[-1] < result.energies[0] - 0.1
    bounded = head_energy(y, weights, nonlinearities.log_cosh(2.0))
    plain = descend(bounded, jnp.asarray(x0), num_steps=3, rule=rules[rule])
    assert int(plain.status) == ROSE


def test_jit_equals_eager():
    x0, y, weights = head()
    energy_fn = head_energy(y, weights, nonlinearities.exponential(0.3))
    solve = functools.partial(descend, energy_fn, num_steps=3, rule=optax.sgd(0.2))
    for eager, compiled in zip(solve(jnp.asarray(x0)), jax.jit(solve)(x0), strict=True):
        np.testing.assert_allclose(eager, compiled, rtol=1e-13)


@pytest.mark.parametrize(
    "coupling",
    ["pooled", *(pytest.param(c, marks=pytest.mark.slow) for c in ("pairwise", "elementwise"))],
)
def test_second_order_derivatives_through_the_descent_are_right(coupling):
    x0, y, weights = head(n=3, m=2, d=2)

    @jax.jit
    def solution(x0, y, alpha, lam):
        F = nonlinearities.exponential(alpha)
        energy_fn = head_energy(y, weights, F, coupling=coupling, lam=lam)
        return jnp.sum(jnp.sin(descend(energy_fn, x0, num_steps=3, rule=optax.sgd(0.3)).x))

    arguments = jnp.asarray(x0), jnp.asarray(y), 0.2, 0.5
    check_grads(solution, arguments, order=2, modes=("rev",), atol=1e-5, rtol=1e-5)


def test_a_state_may_be_any_pytree():
    def energy_fn(state):
        return 0.5 * jnp.sum(state["a"] ** 2) + 0.5 * jnp.sum((state["b"][0] - 1) ** 2)

    start = {"a": jnp.ones(2), "b": [jnp.zeros(3)]}
    result = descend(energy_fn, start, num_steps=1, rule=optax.sgd(1.0))
    np.testing.assert_allclose(result.x["a"], 0, atol=1e-15)
    np.testing.assert_allclose(result.x["b"][0], 1, atol=1e-15)
    np.testing.assert_allclose(result.energies, [2.5, 0.0], atol=1e-15)
    np.testing.assert_allclose(result.grad_norms, [np.sqrt(5), 0.0], atol=1e-15)


def test_zero_steps_returns_the_start_with_its_energy():
    result = descend(lambda x: jnp.sum(x**2), jnp.array([3.0]), num_steps=0, rule=optax.sgd(1.0))
    np.testing.assert_array_equal(result.x, [3.0])
    np.testing.assert_array_equal(result.energies, [9.0])


def test_each_example_of_a_batch_has_its_own_status():
    def outcome(curvature):
        return descend(
            lambda x: curvature * jnp.sum(x**4), jnp.ones(1), num_steps=6, rule=optax.sgd(0.1)
        ).status

    statuses = jax.vmap(outcome)(jnp.array([0.1, 5.4, 1e6]))
    np.testing.assert_array_equal(statuses, [FELL, ROSE, NON_FINITE])


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    def run(energy_fn=jnp.sum, x0=None, num_steps=1):
        x0 = jnp.ones(2) if x0 is None else x0
        return descend(energy_fn, x0, num_steps=num_steps, rule=optax.sgd(1.0))

    with pytest.raises(ValueError, match=r"must return a scalar; .* shape \(2,\)"):
        run(energy_fn=lambda x: x)
    with pytest.raises(ValueError, match="num_steps must be >= 0; got -1"):
        run(num_steps=-1)
    with pytest.raises(TypeError, match=r"num_steps must be an int; got 1\.5 of float"):
        run(num_steps=1.5)
    with pytest.raises(TypeError, match=r"x0\['a'\] must be a floating-point array"):
        run(x0={"a": jnp.ones(2, int)})


def test_the_norm_of_a_gradient_that_is_zero_has_a_derivative():
    def last_norms(a):
        found = descend(
            lambda x: 0.5 * jnp.sum((x - a) ** 2), jnp.zeros(2), num_steps=3, rule=optax.sgd(1.0)
        )
        return jnp.sum(found.grad_norms)

    # ‖a‖ before the first step, which lands on a.
    np.testing.assert_allclose(jax.grad(last_norms)(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
