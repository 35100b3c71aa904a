import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hopfield_attn import nonlinearities as nl
from tests import oracles

pytestmark = pytest.mark.usefixtures("x64")

WITH_ALPHA = ("quadratic", "cubic", "exponential", "log_cosh")
US = np.linspace(-3, 3, 25)


@pytest.mark.parametrize("name", oracles.FAMILIES)
@pytest.mark.parametrize("alpha", [-1.3, -1e-9, 0.0, 1e-9, 0.1, 0.9])
def test_values_and_slopes_equal_the_formulas(name, alpha):
    F = nl.make_nonlinearity(name, alpha)
    value, slope = oracles.nonlinearity(name, US, alpha)
    np.testing.assert_allclose(F(jnp.asarray(US)), value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(F.derivative(jnp.asarray(US)), slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_alpha_zero_is_the_identity_bit_for_bit(name):
    F = nl.make_nonlinearity(name, 0.0)
    np.testing.assert_array_equal(F(jnp.asarray(US)), US)
    np.testing.assert_array_equal(F.derivative(jnp.asarray(US)), np.ones_like(US))


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_derivatives_in_alpha_at_zero_are_exact(name):
    first = {
        "quadratic": US**2 / 2,
        "cubic": US**3 / 3,
        "exponential": US**2 / 2,
        "log_cosh": np.log(np.cosh(US)),
    }[name]
    second = {"exponential": US**3 / 3}.get(name, np.zeros_like(US))

    def in_alpha(alpha):
        return nl.make_nonlinearity(name, alpha)(jnp.asarray(US))

    np.testing.assert_allclose(jax.jacfwd(in_alpha)(0.0), first, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(
        jax.jacfwd(jax.jacfwd(in_alpha))(0.0), second, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", oracles.FAMILIES)
def test_curvature_range_holds_everywhere_and_is_reached(name):
    for alpha in (-0.7, 0.0, 0.4):
        F = nl.make_nonlinearity(name, alpha)
        u = jnp.linspace(-6.0, 6.0, 401)
        second = jax.vmap(jax.grad(jax.grad(F)))(u)
        low, high = F.curvature_range
        assert np.all(second >= low - 1e-12)
        assert np.all(second <= high + 1e-12)
        if np.isfinite([low, high]).all():
            np.testing.assert_allclose(second.max(), F.max_curvature, atol=1e-4)
            np.testing.assert_allclose(np.abs(second).max(), F.max_abs_curvature, atol=1e-4)
        else:
            assert float(F.max_abs_curvature) == np.inf
            assert np.abs(second).max() > 3 * abs(alpha or 1)


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_second_order_derivatives_agree_with_differences(name):
    def of_alpha_and_u(alpha, u):
        return jnp.sum(jnp.sin(nl.make_nonlinearity(name, alpha)(u)))

    for alpha in (-1.1, 0.0, 0.7):
        u = jnp.array([-2.0, -0.3, 0.0, 0.4, 1.9])
        check_grads(jax.jit(of_alpha_and_u), (alpha, u), order=2, atol=1e-5, rtol=1e-5)


def test_exponential_is_smooth_where_series_and_expm1_meet():
    F = nl.exponential(1.0)
    around = 0.5 + np.array([-1e-9, 0.0, 1e-9])
    for derivative in (F, jax.vmap(jax.grad(F)), jax.vmap(jax.grad(jax.grad(F)))):
        values = np.asarray(derivative(jnp.asarray(around)))
        assert np.ptp(values) < 1e-8


def test_exponential_is_as_exact_in_float32_as_float32_is():
    u = jnp.arange(-42, 43) / 64  # where αu is within the series

    def derivatives(dtype):
        fn = nl.exponential(jnp.asarray(0.75, dtype))
        for _ in range(4):
            yield jax.vmap(fn)(u.astype(dtype))
            fn = jax.grad(fn)

    for exact, found in zip(derivatives(jnp.float64), derivatives(jnp.float32), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=2e-6, atol=2e-7)


def test_alpha_one_a_head_broadcasts_under_vmap():
    F = nl.quadratic(jnp.array([0.0, 1.0]))
    values = jax.vmap(lambda f, u: f(u))(F, jnp.array([2.0, 2.0]))
    np.testing.assert_array_equal(values, [2.0, 4.0])


def test_a_family_made_twice_does_not_compile_twice():
    traces = []

    @jax.jit
    def apply(F, u):
        traces.append(F.name)
        return F(u)

    for alpha in (0.1, 0.2, 0.3):
        apply(nl.quadratic(alpha), jnp.ones(3))
        apply(nl.as_nonlinearity(jnp.sin), jnp.ones(3))
    assert traces == ["quadratic", "sin"]


def test_float32_stays_float32():
    assert nl.quadratic(0.3)(jnp.ones(3, jnp.float32)).dtype == jnp.float32
    assert nl.exponential(0.3)(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16


def test_user_function_is_accepted_and_its_curvature_must_be_stated():
    F = nl.as_nonlinearity(jnp.tanh)
    np.testing.assert_allclose(F(jnp.asarray(US)), np.tanh(US), rtol=1e-12)
    with pytest.raises(ValueError, match="curvature of 'tanh' is not known"):
        _ = F.max_curvature
    assert float(nl.as_nonlinearity(jnp.tanh, curvature_range=(-0.8, 0.8)).max_curvature) == 0.8


@pytest.mark.parametrize("name", [*oracles.FAMILIES, "spline"])
def test_growth_is_that_of_the_function(name):
    F = nl.make_nonlinearity(name, 0.5)
    far, farther = (max(abs(float(F(u))) for u in (scale, -scale)) for scale in (40.0, 80.0))
    power = np.log2(farther / far)
    expected = {"linear": power < 1.1, "quadratic": 1.8 < power < 2.1, "faster": power > 2.5}
    assert expected[F.growth]
    assert F.is_bounded == (name not in ("cubic", "exponential", "exp"))
    assert F.is_bounded == bool(np.isfinite(F.max_abs_curvature))


def test_growth_of_a_users_function_follows_from_what_is_stated():
    stated = nl.as_nonlinearity
    assert (stated(jnp.sin).growth, stated(jnp.sin).is_bounded) == (None, False)
    F = stated(jnp.sin, curvature_range=(-1.0, 1.0))
    assert (F.growth, F.is_bounded) == ("quadratic", True)
    F = stated(jnp.sin, curvature_range=(-1.0, 1.0), growth="linear")
    assert (F.growth, F.is_bounded) == ("linear", True)
    F = stated(jnp.exp, curvature_range=(0.0, jnp.inf))
    assert (F.growth, F.is_bounded) == (None, False)


def test_per_head_gives_every_parameter_an_axis_of_heads():
    values = jnp.arange(9.0)
    F = nl.spline(0.5, values).per_head(3)
    np.testing.assert_array_equal(F.alpha, [0.5] * 3)
    np.testing.assert_array_equal(F.values, np.tile(values, (3, 1)))
    F = nl.spline(jnp.arange(3.0), jnp.tile(values, (3, 1))).per_head(3)
    np.testing.assert_array_equal(F.alpha, [0, 1, 2])
    assert F.values.shape == (3, 9)
    assert jax.tree.leaves(nl.identity().per_head(3)) == []
    for good in (nl.quadratic(0.5), nl.quadratic(jnp.ones(3)), F, nl.identity()):
        good.check_heads(3)


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"'quadratc'; did you mean 'quadratic'\?"):
        nl.make_nonlinearity("quadratc")
    with pytest.raises(TypeError, match="got 3"):
        nl.as_nonlinearity(3)  # type: ignore[arg-type]
    for stated, message in (
        ({"growth": "slow"}, "growth must be one of 'linear', 'quadratic', 'faster'; got 'slow'"),
        ({"growth": "faster", "curvature_range": (0, 1)}, "where F'' is bounded; got 'faster'"),
        ({"curvature_range": (1.0, 0.0)}, r"\(inf F'', sup F''\); got \(1.0, 0.0\)"),
    ):
        with pytest.raises(ValueError, match=message):
            nl.as_nonlinearity(jnp.sin, **stated)
    message = r"alpha must be a scalar or have one entry a head, shape \(3,\); got \(2,\)"
    with pytest.raises(ValueError, match=message):
        nl.quadratic(jnp.ones(2)).check_heads(3)
