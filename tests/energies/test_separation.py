import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.energies.separation import MAX_SEPARATION, separating_beta
from tests import memory_oracles as oracles

pytestmark = pytest.mark.usefixtures("x64")
solve = jax.jit(separating_beta)


def patterns(seed, shape=(6, 4), spread=1.0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=shape) * np.exp(spread * rng.normal())
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True) * np.exp(rng.normal())


@pytest.mark.parametrize("shape", [(2, 4), (6, 4), (40, 32)])
def test_it_is_where_the_published_condition_begins_to_hold(shape):
    for seed in range(5):
        memories = patterns(seed, shape)
        beta = float(solve(memories))
        gap = oracles.separations(memories).min()
        largest = np.linalg.norm(memories, axis=1).max()
        assert gap > 0
        np.testing.assert_allclose(
            oracles.required_separation(beta, shape[0], largest), gap, rtol=1e-12
        )
        for factor in (1.01, 2.0, 50.0):
            assert oracles.required_separation(factor * beta, shape[0], largest) < gap
        assert oracles.required_separation(0.99 * beta, shape[0], largest) > gap


def test_it_scales_with_the_inverse_square_of_the_patterns():
    memories = patterns(0)
    for scale in (1e-3, 7.0, 1e4):
        np.testing.assert_allclose(solve(scale * memories), solve(memories) / scale**2, rtol=1e-10)


def test_coinciding_patterns_get_the_documented_maximum():
    memories = patterns(1)
    memories[3] = memories[0]
    largest = np.linalg.norm(memories, axis=1).max()
    np.testing.assert_allclose(solve(memories), MAX_SEPARATION / largest**2, rtol=1e-12)
    close = memories.copy()
    close[3] += 1e-9
    assert solve(close) <= MAX_SEPARATION / largest**2 * (1 + 1e-6)
    # inside the hull of the others: Δ < 0
    memories[3] = 0.1 * memories[0]
    np.testing.assert_allclose(solve(memories), MAX_SEPARATION / largest**2, rtol=1e-12)


def test_fewer_than_two_patterns_have_nothing_to_be_separated_from():
    one = 2.0 * jnp.ones((1, 4))
    np.testing.assert_allclose(solve(one), 1 / 16)
    np.testing.assert_allclose(solve(jnp.zeros((1, 4))), 1.0)
    np.testing.assert_allclose(solve(one, mask=jnp.zeros(1, bool)), 1.0)


def test_masked_patterns_do_not_count_and_batches_are_independent():
    memories = np.stack([patterns(0), patterns(1)])
    mask = np.array([[True] * 6, [True] * 4 + [False] * 2])
    memories[1, 4:] = np.nan
    expected = [solve(memories[0]), solve(memories[1, :4])]
    np.testing.assert_allclose(solve(memories, mask=mask), expected, rtol=1e-13)
    np.testing.assert_allclose(
        solve(memories[0], mask=mask), [expected[0], solve(memories[0, :4])], rtol=1e-13
    )


def test_low_precision_is_computed_in_float32():
    memories = jnp.asarray(patterns(0), jnp.bfloat16)
    beta = solve(memories)
    assert beta.dtype == jnp.float32
    np.testing.assert_allclose(beta, solve(memories.astype(jnp.float64)), rtol=1e-3)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("memories", "mask", "error", "message"),
    [
        (jnp.ones((2, 3), int), None, TypeError, "memories must be a floating-point"),
        (jnp.ones(3), None, ValueError, r"shape \(..., m, d\); got shape \(3,\)"),
        (jnp.ones((2, 3)), jnp.ones(2), TypeError, "mask must be boolean"),
        (jnp.ones((2, 3)), jnp.ones(3, bool), ValueError, r"shape \(..., 2\); got shape \(3,\)"),
    ],
)
def test_wrong_arguments_are_named(memories, mask, error, message):
    with pytest.raises(error, match=message):
        separating_beta(memories, mask=mask)
