import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.train.losses import mean_squared_error, weighted_cross_entropy

pytestmark = pytest.mark.core


def cross_entropy_oracle(logits, labels, weights):
    total = 0.0
    for index in np.ndindex(labels.shape):
        row = logits[index].astype(np.float64)
        shifted = row - row.max()
        log_probability = shifted[labels[index]] - np.log(np.sum(np.exp(shifted)))
        total -= weights[index] * log_probability
    return total / weights.sum() if weights.sum() else 0.0


@given(
    st.integers(0, 2**32 - 1),
    # Few shapes: each is compiled.
    st.sampled_from([((3,), 4), ((2, 3), 5), ((1,), 1)]),
    st.sampled_from([0.1, 1.0, 50.0]),
)
def test_cross_entropy_is_the_weighted_mean_of_log_probabilities(seed, shapes, scale):
    rng = np.random.default_rng(seed)
    shape, classes = shapes
    logits = rng.normal(scale=scale, size=(*shape, classes)).astype(np.float32)
    labels = rng.integers(classes, size=shape).astype(np.int32)
    weights = rng.choice([0.0, 0.5, 1.0], size=shape).astype(np.float32)
    found = weighted_cross_entropy(jnp.array(logits), jnp.array(labels), jnp.array(weights))
    expected = cross_entropy_oracle(logits, labels, weights)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_entries_without_weight_have_no_gradient_whatever_they_hold():
    logits = jnp.array([[1.0, 2.0], [3.0, -5.0]])
    grads = jax.grad(weighted_cross_entropy)(logits, jnp.array([0, 1]), jnp.array([1.0, 0.0]))
    probability = 1 / (1 + np.exp(1))
    np.testing.assert_allclose(grads[0], [probability - 1, 1 - probability], rtol=1e-6)
    np.testing.assert_array_equal(grads[1], [0, 0])


def test_no_weight_at_all_is_a_loss_of_zero_with_zero_gradients():
    value, grads = jax.value_and_grad(weighted_cross_entropy)(
        jnp.ones((2, 3)), jnp.array([0, 1]), jnp.zeros(2)
    )
    assert value == 0
    np.testing.assert_array_equal(grads, np.zeros((2, 3)))


@given(st.lists(st.tuples(st.floats(-10, 10, width=32), st.floats(-10, 10, width=32)), min_size=1))
def test_squared_error_is_the_mean_of_squared_differences(pairs):
    predictions, targets = np.array(pairs, np.float32).T
    found = mean_squared_error(jnp.array(predictions), jnp.array(targets))
    expected = np.mean((predictions.astype(np.float64) - targets) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)
