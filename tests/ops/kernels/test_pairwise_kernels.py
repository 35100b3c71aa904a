"""Kernels of the pairwise coupling against dense formulas, both back ends' programs interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import nonlinearities
from hopfield_attn.energies.nonlinearity import as_nonlinearity
from hopfield_attn.ops.kernels import pairwise, pooled
from hopfield_attn.ops.kernels.slopes import DERIVATIVES, bend, slope, slope_by_alpha

pytestmark = pytest.mark.usefixtures("x64")

G, N, M, DK, DV, GAIN = 2, 37, 45, 5, 3, 0.5
ALPHA = (0.3, -0.2)


def family(name):
    """A family with another strength in each head, where it has one."""
    alpha = () if name in nonlinearities.WITHOUT_ALPHA else (jnp.array(ALPHA),)
    return nonlinearities.FAMILIES[name](*alpha)


class Problem:
    """Random heads with random masks; queries 0-2 are masked."""

    def __init__(self, *, is_causal):
        rng = np.random.default_rng(1)
        self.is_causal = is_causal
        self.q, self.k, self.y, self.x, self.p_bar = (
            jnp.asarray(rng.normal(size=(G, rows, width)))
            for rows, width in ((N, DK), (M, DK), (M, DV), (N, DV), (N, DV))
        )
        self.key_mask = jnp.asarray(rng.random((G, M)) < 0.7)
        self.query_mask = jnp.asarray(rng.random((G, N)) < 0.8).at[:, :3].set(False)

    def dense(self, x, q, k, y, F):
        mask = self.key_mask[:, None, :] & self.query_mask[:, :, None]
        if self.is_causal:
            mask = mask & jnp.tril(jnp.ones((N, M), bool))[None]
        weights = jax.nn.softmax(jnp.einsum("gnd,gmd->gnm", q, k), axis=-1, where=mask)
        u = GAIN * jnp.einsum("gnd,gmd->gnm", x, y)
        return (weights * jax.vmap(lambda F, u: F.derivative(u))(F, u)) @ y

    def arguments(self, F, platform, **changes):
        """The arguments of ``step``."""
        q, k, y, x = (changes.get(name, getattr(self, name)) for name in "qkyx")
        lse = pooled.row_lse(
            q, k, self.key_mask, self.query_mask, is_causal=self.is_causal, platform=platform
        )
        return q, k, y, lse, self.key_mask, x, F, GAIN

    def options(self, platform):
        return {"is_causal": self.is_causal, "platform": platform}


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


# Every family once; the two orders of tiles, and α, in both programs.
CASES = [
    pytest.param("quadratic", False, "interpret", marks=pytest.mark.core),
    pytest.param("log_cosh", True, "interpret-gpu", marks=pytest.mark.core),
    ("exponential", True, "interpret"),
    ("cubic", False, "interpret-gpu"),
    ("square", True, "interpret"),
    ("identity", False, "interpret"),
    ("exp", False, "interpret-gpu"),
]


@pytest.mark.parametrize(("name", "is_causal", "platform"), CASES)
def test_a_step_and_its_pull_back_are_the_dense_step_and_autodiff(name, is_causal, platform):
    problem, F = Problem(is_causal=is_causal), family(name)
    options = problem.options(platform)

    @jax.jit
    def of_kernels(F, p_bar):
        arguments = problem.arguments(F, platform)
        return pairwise.step(*arguments, **options), pairwise.step_pull_back(
            *arguments, p_bar, **options
        )

    @jax.jit
    def of_autodiff(F, p_bar):
        p, vjp = jax.vjp(problem.dense, problem.x, problem.q, problem.k, problem.y, F)
        return p, vjp(p_bar)

    p, (*cotangents, d_alpha) = of_kernels(F, problem.p_bar)
    expected, (*expected_cotangents, F_bar) = of_autodiff(F, problem.p_bar)
    assert_close(p, expected)
    jax.tree.map(assert_close, cotangents, expected_cotangents)
    if F.alpha is None:
        assert d_alpha is None
    else:
        assert_close(d_alpha, F_bar.alpha)


def test_a_later_token_does_not_reach_a_causal_step():
    platform = "interpret"
    problem, F = Problem(is_causal=True), family("square")
    cut = 20
    late = {name: getattr(problem, name).at[:, cut:].multiply(-3.0) for name in "qkyx"}
    step = jax.jit(
        lambda **changes: pairwise.step(
            *problem.arguments(F, platform, **changes), **problem.options(platform)
        )
    )
    before = step(**{name: getattr(problem, name) for name in late})
    after = step(**late)
    assert jnp.array_equal(before[:, :cut], after[:, :cut])
    assert not jnp.allclose(before[:, cut:], after[:, cut:])


def test_a_masked_pair_adds_nothing_even_where_the_slope_overflows():
    problem, F = Problem(is_causal=False), family("exp")

    @jax.jit
    def pulled(y):
        arguments = problem.arguments(F, "interpret", y=y)
        return pairwise.step_pull_back(*arguments, problem.p_bar, platform="interpret")

    real = problem.key_mask[:, :, None]
    results = [pulled(jnp.where(real, problem.y, padding)) for padding in (0.0, 1e4)]
    jax.tree.map(assert_close, *results)


def test_a_users_function_goes_into_the_kernel():
    problem = Problem(is_causal=False)
    own, known = as_nonlinearity(lambda u: u * u), family("square")

    @jax.jit
    def pulled(F):
        arguments = problem.arguments(F, "interpret")
        return pairwise.step_pull_back(*arguments, problem.p_bar, platform="interpret")

    jax.tree.map(assert_close, pulled(own), pulled(known))


@pytest.mark.parametrize("name", DERIVATIVES)
def test_closed_slopes_are_the_derivatives_of_the_family(name):
    F, u = family(name), jnp.linspace(-2.0, 2.0, 9)[None]
    alpha = None if F.alpha is None else jnp.full((1, 1), 0.3)
    one = F if alpha is None else nonlinearities.FAMILIES[name](0.3)
    assert_close(slope(F, u, alpha), one.derivative(u))
    assert_close(bend(F, u, alpha), jax.jit(one.second_derivative)(u))
    if alpha is not None:
        derivative = jax.jit(lambda a: nonlinearities.FAMILIES[name](a).derivative(u))
        expected = jax.jacfwd(derivative)(0.3)
        assert_close(slope_by_alpha(F, u, alpha), expected)


@pytest.mark.core
def test_what_cannot_go_into_a_kernel_is_refused():
    problem = Problem(is_causal=False)
    table = jnp.arange(3.0)
    for F, message in (
        (nonlinearities.spline(jnp.array(ALPHA)), "splines need"),
        (as_nonlinearity(lambda u: u + table.sum() * u * u), "closes over arrays"),
        (nonlinearities.quadratic(jnp.zeros(3)), r"alpha must have shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pairwise.step(*problem.arguments(F, "interpret"), platform="interpret")


def test_derivatives_are_written_for_every_family_but_the_spline():
    assert set(DERIVATIVES) == set(nonlinearities.FORMULAS)
