"""Bounds on the strength of the interaction against dense eigenvalues."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn.energies.interaction import (
    INTERACTIONS,
    has_cubic_interaction,
    interaction_power_iteration,
    interaction_upper_bound,
)
from tests import oracles

pytestmark = pytest.mark.usefixtures("x64")
NUM_PROBLEMS = 48


def random_heads(seed, *, n=3, m=5, d=2, dtype=np.float64):
    """(y, weights) of many heads: three scales of y, and masks up to whole rows and columns."""
    rng = np.random.default_rng(seed)
    ys, weights = [], []
    for _ in range(NUM_PROBLEMS):
        mask = rng.random((n, m)) < rng.choice([0.3, 1.0])
        weights.append(
            oracles.softmax_weights(rng.normal(size=(n, d)), 3 * rng.normal(size=(m, d)), mask)
        )
        ys.append(rng.choice([0.1, 1.0, 30.0]) * rng.normal(size=(m, d)))
    return np.stack(ys).astype(dtype), np.stack(weights).astype(dtype)


@functools.partial(jax.jit, static_argnames=("coupling", "num_iterations"))
def bounds(y, weights, *, coupling, num_iterations=64):
    return jax.vmap(functools.partial(INTERACTIONS[coupling], num_iterations=num_iterations))(
        y, weights
    )


def check_enclosure(seed, coupling, dtype):
    y, weights = random_heads(seed, dtype=dtype)
    found = bounds(jnp.asarray(y), jnp.asarray(weights), coupling=coupling)
    assert found.upper.dtype == dtype
    dense = [
        oracles.interaction_matrix(*pair, coupling)
        for pair in zip(y.astype(float), weights.astype(float), strict=True)
    ]
    values = np.linalg.eigvalsh(np.stack(dense))
    largest, smallest = np.maximum(values[:, -1], 0), np.minimum(values[:, 0], 0)
    # The rounding of the oracle, not of the bounds: theirs is in their slack.
    rounding = 1e-12 * np.maximum(largest, -smallest)
    assert np.all(found.lower <= largest + rounding)
    assert np.all(largest <= found.upper + rounding)
    if coupling == "elementwise":
        assert np.all(found.opposite_lower <= -smallest + rounding)
        assert np.all(-smallest <= found.opposite + rounding)
    else:
        np.testing.assert_array_equal(found.opposite, 0)
    assert np.all(found.lower >= 0.9 * largest - rounding)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_bounds_enclose_the_largest_eigenvalue_in_both_precisions(coupling, dtype, seed):
    check_enclosure(seed, coupling, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float64, np.float32]))
def test_bounds_enclose_the_largest_eigenvalue_over_thousands(coupling, seed, dtype):
    check_enclosure(seed, coupling, dtype)


def head(seed, *, n=8, m=10, d=4):
    rng = np.random.default_rng(seed)
    weights = oracles.softmax_weights(rng.normal(size=(n, d)), rng.normal(size=(m, d)))
    return rng.normal(size=(m, d)), weights


def test_power_iteration_converges_to_the_largest_eigenvalue():
    for seed in range(3):
        y, weights = head(seed)
        gram = (weights.T @ weights) * (y @ y.T)
        exact = np.linalg.eigvalsh(gram)[-1]
        found = [
            float(
                interaction_power_iteration(jnp.asarray(y), jnp.asarray(weights), num_iterations=k)
            )
            for k in (1, 8, 600)
        ]
        assert found[0] < found[1] < found[2]
        np.testing.assert_allclose(found[2], exact, rtol=1e-8)


def test_upper_bound_is_never_above_the_cheap_ones_and_tight_without_signs():
    for seed in range(3):
        y, weights = head(seed)
        sizes = np.sum(weights**2, axis=0)
        rows = np.abs(y @ y.T).sum(axis=1).max()
        cheap = sizes.max() * np.linalg.eigvalsh(y.T @ y)[-1]
        found = interaction_upper_bound(jnp.asarray(y), jnp.asarray(weights), num_iterations=100)
        assert found <= cheap <= sizes.max() * rows
        # |G| = M where no entry of y is negative.
        y = np.abs(y)
        exact = np.linalg.eigvalsh((weights.T @ weights) * (y @ y.T))[-1]
        found = interaction_upper_bound(jnp.asarray(y), jnp.asarray(weights), num_iterations=100)
        np.testing.assert_allclose(found, exact, rtol=1e-8)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_rows_of_masked_keys_do_not_matter_whatever_they_hold(coupling):
    y, weights = head(0)
    weights[:, 7:] = 0
    clean, dirty = y.copy(), y.copy()
    clean[7:], dirty[7:] = 0, np.nan
    for one, other in zip(
        *(
            INTERACTIONS[coupling](jnp.asarray(a), jnp.asarray(weights), num_iterations=8)
            for a in (clean, dirty)
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("coupling", ["pooled", "pairwise"])
def test_cubes_are_seen_unless_they_cancel(coupling):
    y, weights = head(1)
    assert bool(has_cubic_interaction(jnp.asarray(y), jnp.asarray(weights), coupling=coupling))
    both, halves = np.concatenate([y, -y]), np.concatenate([weights, weights], axis=1) / 2
    for dtype in (jnp.float64, jnp.float32):
        pair = jnp.asarray(both, dtype), jnp.asarray(halves, dtype)
        assert not bool(has_cubic_interaction(*pair, coupling=coupling))
    nothing = jnp.zeros((8, 10))
    assert not bool(has_cubic_interaction(jnp.asarray(y), nothing, coupling=coupling))
