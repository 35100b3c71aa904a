"""The modes agree where they must, and cost what the table in the docs says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn import descend, nonlinearities
from hopfield_attn.solvers.gradient_modes import GRADIENT_MODES, as_gradient_mode, truncated
from tests.problems import head_energy, random_head

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]


def loss_of(mode, num_steps, *, rule=None, coupling="pooled", **options):
    """(x0, y, alpha, lam) → a scalar of the solution."""
    rule = rule or optax.sgd(0.4)

    def loss(x0, y, alpha, lam):
        weights = jnp.asarray(random_head()[2])
        fn = head_energy(y, weights, nonlinearities.log_cosh(alpha), coupling=coupling, lam=lam)
        result = descend(fn, x0, num_steps=num_steps, rule=rule, gradient_mode=mode, **options)
        return jnp.sum(jnp.sin(result.x))

    return loss


def value_and_grads(mode, num_steps, **options):
    x0, y, _ = random_head()
    fn = jax.jit(jax.value_and_grad(loss_of(mode, num_steps, **options), argnums=(0, 1, 2, 3)))
    return fn(jnp.asarray(x0), jnp.asarray(y), 0.6, 0.5)


@functools.cache
def unrolled(num_steps, coupling="pooled"):
    return value_and_grads("unrolled", num_steps, coupling=coupling)


MODES = ["rematerialised", "one_step", "implicit", truncated(2)]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_mode_computes_the_same_value(mode):
    np.testing.assert_allclose(value_and_grads(mode, 5)[0], unrolled(5)[0], rtol=1e-14)


@pytest.mark.parametrize("mode", ["rematerialised", truncated(5), truncated(9)], ids=str)
def test_modes_through_every_step_have_the_unrolled_gradient(mode):
    for ours, expected in zip(value_and_grads(mode, 5)[1], unrolled(5)[1], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_truncated_is_the_gradient_of_the_last_steps_from_a_constant_state(k):
    x0, y, weights = random_head()
    rule = optax.sgd(0.1, momentum=0.7)
    _, grads = value_and_grads(truncated(k), 6, rule=rule)

    def last(y, alpha, lam, carry):
        fn = head_energy(y, weights, nonlinearities.log_cosh(alpha), lam=lam)
        x, state = carry
        for _ in range(k):
            updates, state = rule.update(jax.grad(fn)(x), state, x)
            x = optax.apply_updates(x, updates)
        return jnp.sum(jnp.sin(x))

    carry = jnp.asarray(x0), rule.init(jnp.asarray(x0))
    fn = head_energy(y, weights, nonlinearities.log_cosh(0.6))
    for _ in range(6 - k):
        updates, state = rule.update(jax.grad(fn)(carry[0]), carry[1], carry[0])
        carry = optax.apply_updates(carry[0], updates), state
    expected = jax.grad(last, argnums=(0, 1, 2))(jnp.asarray(y), 0.6, 0.5, carry)
    np.testing.assert_array_equal(grads[0], 0)  # the start is forgotten
    for ours, theirs in zip(grads[1:], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_one_step_is_truncated_to_one():
    for ours, expected in zip(
        value_and_grads("one_step", 4)[1], value_and_grads(truncated(1), 4)[1], strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_at_convergence_implicit_and_unrolled_gradients_agree(coupling):
    _, ours = value_and_grads("implicit", 150, coupling=coupling)
    _, expected = unrolled(150, coupling)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_implicit_gradient_is_the_implicit_function_theorem():
    x0, y, weights = random_head()

    def grad_at(x, alpha):
        fn = head_energy(y, weights, nonlinearities.log_cosh(alpha), lam=0.5)
        return jax.grad(fn)(x.reshape(x0.shape)).reshape(-1)

    fn = head_energy(y, weights, nonlinearities.log_cosh(0.6), lam=0.5)
    x = descend(fn, jnp.asarray(x0), num_steps=150, rule=optax.sgd(0.4)).x.reshape(-1)
    hessian = jax.jacfwd(grad_at)(x, 0.6)
    dx = -np.linalg.solve(hessian, jax.jacfwd(grad_at, argnums=1)(x, 0.6))
    _, (_, _, by_alpha, _) = value_and_grads("implicit", 150)
    np.testing.assert_allclose(by_alpha, np.sum(np.cos(x) * dx), rtol=1e-10)


def test_the_gradient_of_backtracked_steps_treats_their_length_as_a_constant():
    options = {"rule": optax.sgd(0.01), "backtracking": True}
    # Steps so short that none is halved: the plain gradient.
    plain = value_and_grads("unrolled", 4, rule=optax.sgd(0.01))[1]
    for ours, expected in zip(value_and_grads("unrolled", 4, **options)[1], plain, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    # Steps that are halved: still finite, and for the one-step mode too.
    for mode in ("unrolled", "one_step"):
        _, grads = value_and_grads(mode, 4, rule=optax.sgd(20.0), backtracking=True)
        assert all(np.all(np.isfinite(grad)) for grad in grads)


def temporary_bytes(mode, num_steps):
    x0, y, _ = random_head()
    fn = jax.jit(jax.grad(loss_of(mode, num_steps, coupling="pairwise"), argnums=(1, 2, 3)))
    compiled = fn.lower(jnp.asarray(x0), jnp.asarray(y), 0.6, 0.5).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("mode", ["implicit", "one_step"])
def test_memory_of_implicit_and_one_step_gradients_does_not_depend_on_the_number_of_steps(mode):
    growth = temporary_bytes(mode, 400) - temporary_bytes(mode, 100)
    state_bytes = random_head()[0].size * 8
    # Energies and norms of the steps remain, two numbers each; a state would be more.
    assert growth <= 300 * 4 * 8 < 300 * state_bytes
    assert temporary_bytes("unrolled", 400) - temporary_bytes("unrolled", 100) > 300 * state_bytes


def test_rematerialised_keeps_less_than_unrolled():
    assert temporary_bytes("rematerialised", 200) < 0.8 * temporary_bytes("unrolled", 200)


def test_modes_are_listed_and_checked():
    assert {as_gradient_mode(truncated(2)).name} <= set(GRADIENT_MODES)
    with pytest.raises(ValueError, match="did you mean 'implicit'"):
        as_gradient_mode("implict")
    with pytest.raises(ValueError, match=r"needs a number of steps: gradient_mode=truncated\(k\)"):
        as_gradient_mode("truncated")
    with pytest.raises(ValueError, match="num_steps must be >= 1; got 0"):
        truncated(0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_implicit_gradients_of_half_precision_states_are_solved_in_float32(dtype):
    curvatures = jnp.array([1.0, 3.0, 10.0])

    def solution(theta, dtype):
        def energy_fn(x):
            return 0.5 * jnp.sum(curvatures * (x - theta) ** 2) + 0.1 * jnp.sum(x) ** 2

        found = descend(
            energy_fn, jnp.zeros(3, dtype), num_steps=100, rule=optax.sgd(0.09),
            gradient_mode="implicit",
        )  # fmt: skip
        return found.x.astype(jnp.float32)

    def jacobian(dtype):
        return jax.jacobian(solution)(jnp.ones(3), dtype)

    # Its largest entry beside the diagonal is 0.16: to one digit it would be lost.
    np.testing.assert_allclose(jacobian(jnp.dtype(dtype)), jacobian(jnp.float32), atol=2e-3)
