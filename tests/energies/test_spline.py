import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from hopfield_attn import nonlinearities as nl
from hopfield_attn.energies.spline import DEFAULT_KNOTS, NaturalSpline

pytestmark = pytest.mark.usefixtures("x64")

UNEVEN = (-2.0, -1.5, 0.1, 0.9, 3.0)


@jax.jit
def derivatives(F, u):
    return F(u), F.derivative(u), F.second_derivative(u)


def scipy_spline(knots, values, u):
    """(s, s', s'') of the natural spline, its tangents outside."""
    inner = CubicSpline(knots, values, bc_type="natural")
    inside = np.clip(u, knots[0], knots[-1])
    slope = inner(inside, 1)
    return inner(inside) + slope * (u - inside), slope, np.where(u == inside, inner(inside, 2), 0.0)


@pytest.mark.parametrize("knots", [UNEVEN, DEFAULT_KNOTS, (0.0, 1.0, 2.0)])
def test_values_and_derivatives_are_those_of_the_natural_spline(knots):
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(knots))
    u = np.concatenate([np.linspace(-6, 6, 57), np.asarray(knots)])
    F = nl.spline(0.7, jnp.asarray(values), knots=knots)
    s, slope, bend = scipy_spline(np.asarray(knots), values, u)
    for found, expected in zip(
        derivatives(F, jnp.asarray(u)), (u + 0.7 * s, 1 + 0.7 * slope, 0.7 * bend), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [-0.8, 0.0, 1.3])
def test_curvature_range_is_exact(alpha):
    values = jnp.asarray(np.random.default_rng(1).normal(size=len(UNEVEN)))
    F = nl.spline(alpha, values, knots=UNEVEN)
    _, _, second = derivatives(F, jnp.linspace(-4.0, 5.0, 9001))
    low, high = F.curvature_range
    assert np.all((low - 1e-12 <= second) & (second <= high + 1e-12))
    np.testing.assert_allclose([second.min(), second.max()], [low, high], atol=0.02 * abs(alpha))


def test_alpha_zero_is_the_identity_and_alpha_has_a_gradient_there():
    u = jnp.linspace(-6.0, 6.0, 31)
    F = nl.spline(0.0)
    for found, expected in zip(derivatives(F, u), (u, np.ones(31), np.zeros(31)), strict=True):
        np.testing.assert_array_equal(found, expected)
    by_alpha = jax.jit(jax.jacfwd(lambda alpha: nl.spline(alpha)(u)))(0.0)
    inside = np.abs(u) <= 1
    np.testing.assert_allclose(by_alpha[inside], 0.5 * u[inside] ** 2, atol=0.02)


def test_derivatives_by_the_values_agree_with_differences():
    values = jnp.asarray(np.random.default_rng(2).normal(size=len(UNEVEN)))
    u = jnp.array([-3.0, -1.7, 0.0, 2.2, 3.5])

    def of_values(values):
        return nl.spline(0.4, values, knots=UNEVEN)(u)

    jacobian = jax.jit(jax.jacrev(of_values))(values)
    for k in range(len(UNEVEN)):
        step = jnp.zeros(len(UNEVEN)).at[k].set(1e-5)
        difference = (of_values(values + step) - of_values(values - step)) / 2e-5
        np.testing.assert_allclose(jacobian[:, k], difference, atol=1e-9)


@pytest.mark.parametrize("far", [1e6, 1e30, -1e30])
def test_far_outside_it_is_the_line_and_every_derivative_is_finite(far):
    F = nl.spline(0.5)
    _, slope, _ = derivatives(F, jnp.float32(5.0 if far > 0 else -5.0))

    @jax.jit
    def of(values, u):
        return nl.spline(0.5, values)(u)

    by_values, by_u = jax.grad(of, argnums=(0, 1))(F.values, jnp.float32(far))
    np.testing.assert_allclose(by_u, slope, rtol=1e-6)
    assert np.all(np.isfinite(by_values))
    assert float(derivatives(F, jnp.float32(far))[2]) == 0
    assert np.all(np.isnan(derivatives(F, jnp.float32(jnp.nan))))


def test_any_scalar_function_can_be_fitted():
    for fn in (math.tanh, np.tanh, jnp.tanh):
        F = nl.fit_spline(fn)
        np.testing.assert_allclose(F(jnp.array([-4.0, 1.0])), np.tanh([-4.0, 1.0]), rtol=1e-14)


def test_a_fitted_spline_meets_the_function_and_comes_closer_with_more_knots():
    u = jnp.linspace(-3.0, 3.0, 301)
    errors = []
    for number in (7, 13, 25):
        knots = tuple(np.linspace(-3, 3, number).tolist())
        F = nl.fit_spline(lambda u: u * jnp.exp(-(u**2)), knots=knots)
        at = jnp.asarray(knots)
        np.testing.assert_allclose(F(at), at * jnp.exp(-(at**2)), atol=1e-14)
        errors.append(float(np.abs(F(u) - u * jnp.exp(-(u**2))).max()))
    assert errors[0] > 8 * errors[1] > 64 * errors[2]


def test_one_spline_a_head_under_vmap_and_one_program_for_equal_knots():
    traces = []

    @jax.jit
    def apply(F, u):
        traces.append(F.name)
        return jax.vmap(lambda f, u: f(u))(F, u)

    values = jnp.asarray(np.random.default_rng(3).normal(size=(2, 9)))
    for alpha in (0.1, 0.5):
        F = nl.spline(alpha, values).per_head(2)
        out = apply(F, jnp.array([1.3, -0.2]))
        for h, u in enumerate((1.3, -0.2)):
            np.testing.assert_allclose(out[h], nl.spline(alpha, values[h])(u), rtol=1e-14)
    assert traces == ["spline"]


def test_float32_stays_float32():
    assert nl.spline(0.3)(jnp.ones(3, jnp.float32)).dtype == jnp.float32


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="knots must be at least three increasing"):
        NaturalSpline((0.0, 1.0))
    with pytest.raises(ValueError, match="knots must be at least three increasing"):
        nl.spline(0.1, knots=(0.0, 2.0, 1.0))
    with pytest.raises(ValueError, match=r"values must have shape .*\(9,\); got shape \(4,\)"):
        nl.spline(0.1, jnp.ones(4))
    with pytest.raises(ValueError, match=r"values must have shape \(K\); got shape \(2, 9\)"):
        nl.spline(0.1, jnp.ones((2, 9)))(1.0)
    with pytest.raises(ValueError, match=r"one row a head, \(3, K\); got \(2, 9\)"):
        nl.spline(0.1, jnp.ones((2, 9))).check_heads(3)


@pytest.mark.usefixtures("no_typechecker")
def test_knots_may_be_any_sequence():
    values = jnp.array([1.0, 0.0, 1.0])
    expected = nl.spline(0.5, values, knots=(-1.0, 0.0, 1.0))(jnp.array(0.3))
    for knots in ([-1, 0, 1], np.array([-1.0, 0.0, 1.0])):
        assert nl.spline(0.5, values, knots=knots)(jnp.array(0.3)) == expected
