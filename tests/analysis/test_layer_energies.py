"""Figures of the layers are those of the attention energy, example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.analysis.layer_energies import RESIDUAL_TOLERANCE, layer_energies
from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.models.encoder import Encoder
from tests.analysis.test_energies import BATCH, GAIN, LAM, LENGTH, NUM_STEPS, make_encoder

BAD = 19
"""A token id whose embedding is made NaN."""


def small_encoder(**attention):
    return Encoder(
        vocab_size=20,
        max_length=LENGTH,
        width=8,
        num_layers=1,
        num_heads=2,
        mlp_width=8,
        attention=attention,
        rngs=nnx.Rngs(params=0),
    )


@pytest.fixture(scope="module")
def batch():
    tokens = jax.random.randint(jax.random.key(1), (BATCH, LENGTH), 0, BAD)
    mask = jnp.arange(LENGTH)[None] < jnp.array([6, 4, 5])[:, None]
    return tokens, mask


@pytest.fixture(scope="module")
def encoder():
    made = make_encoder(norm="pre", heads="identity:1,quadratic:3")
    made.tokens.embedding[...] = made.tokens.embedding[...].at[BAD].set(jnp.nan)
    return made


@pytest.fixture(scope="module")
def run(encoder):
    """(encoder of the same shapes, tokens, mask) → figures; compiled once."""
    graphdef, _ = nnx.split(encoder)
    follow = jax.jit(lambda state, *batch: layer_energies(nnx.merge(graphdef, state), *batch))
    return lambda encoder, *batch: follow(nnx.split(encoder)[1], *batch)


def by_hand(A, y, F):
    """Drop, distance and relative residual of one head."""

    def energy(x):
        return attention_energy(x, y, A, nonlinearity=F, coupling="pooled", lam=LAM, gain=GAIN)

    x = start = A @ y
    for _ in range(NUM_STEPS):
        x = x - jax.grad(energy)(x) / (1 + LAM)
    residual = jnp.linalg.norm(jax.grad(energy)(x)) / jnp.maximum(1, jnp.linalg.norm(x))
    distance = jnp.linalg.norm(x - start) / jnp.linalg.norm(start)
    return energy(start) - energy(x), distance, residual


def test_figures_are_those_of_the_energy(encoder, run, batch):
    found = run(encoder, *batch)
    assert sorted(found) == [0, 1]
    tokens, mask = batch

    @jax.jit
    def expected():
        x = encoder.layers[0](encoder.embed(tokens), mask)
        attention = encoder.layers[1].attention
        _, problem = attention.problems(encoder.layers[1].attention_input(x), mask=mask)
        over_heads = jax.vmap(jax.vmap(by_hand), in_axes=(0, 0, None))
        return over_heads(problem.weights, problem.values, problem.options["nonlinearity"])

    drop, distance, residual = expected()
    # The first head is linear: the columns are the other three.
    np.testing.assert_allclose(found[1].drop, drop, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1].distance, distance, rtol=1e-4)
    np.testing.assert_array_equal(found[1].is_converged, residual <= RESIDUAL_TOLERANCE)
    assert np.all(found[1].is_finite)
    np.testing.assert_array_equal(found[1].alpha, encoder.layers[1].attention.alpha[1:])
    assert found[1].spline.size == 0


@pytest.mark.parametrize(("num_steps", "arrives"), [(0, False), (60, True)])
def test_converged_is_a_small_residual(num_steps, arrives, batch):
    encoder = small_encoder(heads="log_cosh", lam=1.0, num_steps=num_steps, alpha_init=0.9)
    found = jax.jit(lambda: layer_energies(encoder, *batch)[0].is_converged)()
    np.testing.assert_array_equal(found, np.full((BATCH, 2), arrives))


def test_one_example_never_changes_the_figures_of_another(encoder, run, batch):
    tokens, mask = batch
    before, after = run(encoder, tokens, mask), run(encoder, tokens.at[1, 2].set(BAD), mask)
    for index in before:
        for name in ("drop", "distance", "is_converged", "is_finite"):
            a, b = (np.asarray(getattr(found[index], name)) for found in (before, after))
            np.testing.assert_array_equal(np.delete(a, 1, axis=0), np.delete(b, 1, axis=0))
        np.testing.assert_array_equal(after[index].is_finite, [[True] * 3, [False] * 3, [True] * 3])


def test_an_energy_that_overflows_is_not_finite(encoder, run, batch):
    graphdef, state = nnx.split(encoder)
    large = nnx.merge(graphdef, jax.tree.map(jnp.copy, state))
    kernel = large.layers[1].attention.value.kernel
    kernel[...] = 1e25 * kernel[...]
    found = run(large, *batch)
    assert np.all(found[0].is_finite)
    assert not np.any(found[1].is_finite)


def test_strengths_are_of_the_heads_that_have_one():
    encoder = small_encoder(heads="square:1,spline:1", alpha_init=-0.25)
    tokens = jnp.zeros((1, LENGTH), jnp.int32)
    found = jax.jit(lambda: [layer_energies(encoder, tokens)[0]._asdict()[k] for k in
                             ("alpha", "spline")])()  # fmt: skip
    np.testing.assert_array_equal(found[0], [-0.25])
    np.testing.assert_array_equal(found[1], encoder.layers[0].attention.spline_values[1:])
    shapes = jax.eval_shape(lambda: layer_energies(encoder, tokens))
    assert shapes[0].drop.shape == (1, 2)


def test_layers_without_non_linear_heads_are_left_out():
    encoder = small_encoder(heads="identity")
    assert layer_energies(encoder, jnp.zeros((1, LENGTH), jnp.int32)) == {}
