import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn import attention_energy, nonlinearities
from hopfield_attn.energies.attention import attention_energy_terms
from tests import oracles

pytestmark = pytest.mark.usefixtures("x64")

SHAPES = ((1, 1, 1), (3, 5, 2), (6, 4, 3))
energy = jax.jit(attention_energy, static_argnames=("coupling",))
energy_and_grad = jax.jit(jax.value_and_grad(attention_energy), static_argnames=("coupling",))


@st.composite
def problems(draw):
    """(x, y, weights) of one head, some pairs masked; few shapes, because each one compiles."""
    n, m, d = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((n, m)) < draw(st.sampled_from([0.5, 1.0]))
    q, k = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    weights = oracles.softmax_weights(q, k, mask)
    return tuple(map(jnp.asarray, (rng.normal(size=(n, d)), rng.normal(size=(m, d)), weights)))


TANH = nonlinearities.as_nonlinearity(jnp.tanh)
lams = st.sampled_from([0.0, 0.1, 1.0, 17.0])
gains = st.sampled_from([0.3, 1.0])
alphas = st.sampled_from([-1.0, -0.3, -1e-6, 0.0, 1e-9, 0.2, 1.0])
couplings = st.sampled_from(oracles.COUPLINGS)


@given(problem=problems(), lam=lams, gain=gains, coupling=couplings)
def test_identity_gradient_is_distance_to_attention(problem, lam, gain, coupling):
    x, y, weights = problem
    _, grad = energy_and_grad(
        x,
        y,
        weights,
        nonlinearity=nonlinearities.identity(),
        coupling=coupling,
        lam=lam,
        gain=gain,
    )
    np.testing.assert_allclose(grad, (1 + lam) * (x - weights @ y), rtol=1e-12, atol=1e-12)


@pytest.mark.core
@pytest.mark.parametrize("name", oracles.FAMILIES)
@given(problem=problems(), lam=lams, gain=gains, alpha=alphas, coupling=couplings)
def test_value_and_gradient_equal_the_formulas(name, problem, lam, gain, alpha, coupling):
    x, y, weights = problem
    options = {"coupling": coupling, "lam": lam}
    value, grad = energy_and_grad(
        x,
        y,
        weights,
        nonlinearity=nonlinearities.make_nonlinearity(name, alpha),
        gain=gain,
        **options,
    )
    options |= {"name": name, "alpha": alpha, "gain": gain}
    np.testing.assert_allclose(value, oracles.energy(x, y, weights, **options), rtol=1e-11)
    np.testing.assert_allclose(
        grad, oracles.gradient(x, y, weights, **options), rtol=1e-11, atol=1e-11
    )


@given(problem=problems(), coupling=couplings)
def test_default_gain_is_one_over_width(problem, coupling):
    x, y, weights = problem
    options = {"nonlinearity": nonlinearities.quadratic(0.7), "coupling": coupling, "lam": 0.5}
    default = energy(x, y, weights, **options)
    stated = energy(x, y, weights, gain=1 / x.shape[1], **options)
    # The terms may cancel: what is left of them carries the rounding of the larger ones.
    np.testing.assert_allclose(default, stated, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["quadratic", "cubic", "exponential", "log_cosh"])
@given(problem=problems(), coupling=couplings)
def test_alpha_zero_equals_identity_in_value_and_in_the_derivative_by_alpha(
    name, problem, coupling
):
    x, y, weights = problem

    options = {"coupling": coupling, "lam": 0.3, "gain": 0.5}
    F = nonlinearities.make_nonlinearity(name, 0.0)

    def of_nonlinearity(F):
        return energy(x, y, weights, nonlinearity=F, **options)

    plain = oracles.energy(x, y, weights, name="identity", alpha=0.0, **options)
    np.testing.assert_allclose(of_nonlinearity(F), plain, rtol=1e-12, atol=1e-12)
    above, below = (
        oracles.energy(x, y, weights, name=name, alpha=a, **options) for a in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(
        jax.grad(of_nonlinearity)(F).alpha, (above - below) / 2e-5, atol=1e-6
    )


@given(problem=problems(), coupling=couplings)
def test_terms_sum_to_the_energy(problem, coupling):
    x, y, weights = problem
    options = {"nonlinearity": TANH, "coupling": coupling, "lam": 2.0}
    terms = attention_energy_terms(x, y, weights, **options)
    total = energy(x, y, weights, **options)
    np.testing.assert_allclose(sum(terms), total, rtol=1e-14)
    np.testing.assert_allclose(terms.norm, 0.5 * np.sum(x**2), rtol=1e-14)
    np.testing.assert_allclose(terms.tie, np.sum((x - weights @ y) ** 2), rtol=1e-12)


def test_a_masked_pair_adds_nothing_where_f_overflows():
    x = jnp.array([[1e3]])
    y = jnp.array([[1e3], [1e-3]])
    weights = jnp.array([[0.0, 1.0]])
    options = {"nonlinearity": nonlinearities.exp(), "coupling": "pairwise", "lam": 0.0}
    value, grads = jax.value_and_grad(attention_energy, argnums=(0, 1, 2))(
        x, y, weights, gain=1.0, **options
    )
    np.testing.assert_allclose(value, -np.e + 0.5e6, rtol=1e-12)
    assert all(np.all(np.isfinite(grad)) for grad in grads)


def test_low_precision_is_accumulated_in_float32():
    x = jnp.full((1, 4096), 1e-2, jnp.bfloat16)
    value = attention_energy(
        x,
        x,
        jnp.ones((1, 1), jnp.bfloat16),
        nonlinearity=nonlinearities.identity(),
        coupling="pooled",
        lam=0.0,
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, -0.5 * 4096 * float(x[0, 0]) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"coupling": "poled"}, ValueError, r"did you mean 'pooled'\?"),
        ({"lam": -0.1}, ValueError, "lam must be >= 0; got -0.1"),
        ({"lam": float("nan")}, ValueError, "lam must be >= 0; got nan"),
        ({"gain": 0.0}, ValueError, "gain must be > 0; got 0.0"),
        ({"y": jnp.ones((3, 5))}, ValueError, "same width d_v; got 2 and 5"),
        ({"weights": jnp.ones((3, 4))}, ValueError, r"\(4, 3\); got shape \(3, 4\)"),
        ({"x": jnp.ones((4, 2), int)}, TypeError, "x must be a floating-point array; got dtype"),
        ({"x": jnp.ones((1, 4, 2))}, ValueError, r"x must have shape \(n, d_v\)"),
    ],
)
@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named(change, error, message):
    arguments = {
        "x": jnp.ones((4, 2)),
        "y": jnp.ones((3, 2)),
        "weights": jnp.ones((4, 3)),
        "nonlinearity": nonlinearities.identity(),
        "coupling": "pooled",
        "lam": 1.0,
    }
    arguments |= change
    arrays = [arguments.pop(name) for name in ("x", "y", "weights")]
    with pytest.raises(error, match=message):
        attention_energy(*arrays, **arguments)
