"""Energies of trained heads are those of the attention energy, head by head."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.analysis.energies import HeadEnergies, as_rows, head_energies
from hopfield_attn.energies import nonlinearities
from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.models.encoder import Encoder

WIDTH, NUM_HEADS, LENGTH, BATCH, NUM_STEPS = 16, 4, 6, 3, 3
HEAD_WIDTH = WIDTH // NUM_HEADS
LAM, GAIN = 0.7, 0.9
HEADS = "identity:1,quadratic:2,log_cosh:1"


def make_encoder(*, heads=HEADS, norm="post", num_layers=2):
    encoder = Encoder(
        vocab_size=20,
        max_length=LENGTH,
        width=WIDTH,
        num_layers=num_layers,
        num_heads=NUM_HEADS,
        mlp_width=WIDTH,
        norm=norm,
        attention={"heads": heads, "lam": LAM, "gain": GAIN, "num_steps": NUM_STEPS},
        rngs=nnx.Rngs(params=0),
    )
    for index, layer in enumerate(encoder.layers):
        # Every head of every layer has a strength of its own; the queries are far from uniform.
        layer.attention.alpha[...] = jnp.array([0.0, 0.3, -0.2, 0.5]) * (index + 1)
        layer.attention.query.kernel[...] = 4 * layer.attention.query.kernel[...]
    return encoder


@pytest.fixture(scope="module")
def batch():
    tokens = jax.random.randint(jax.random.key(1), (BATCH, LENGTH), 0, 20)
    mask = jnp.arange(LENGTH)[None] < jnp.array([6, 4, 5])[:, None]
    token_types = (jnp.arange(LENGTH)[None] >= 3).astype(jnp.int32) * jnp.ones((BATCH, 1), int)
    return tokens, mask, token_types


def layer_input(encoder, index, batch):
    tokens, mask, token_types = batch
    x = encoder.embed(tokens, token_types)
    for layer in list(encoder.layers)[:index]:
        x = layer(x, mask)
    layer = encoder.layers[index]
    return x if encoder.is_post_norm else layer.attention_norm(x)


def energies_by_hand(encoder, layer, head, family, batch):
    """Mean E and ‖∇E‖ over the steps of one head, without any of the fast paths."""
    attention = encoder.layers[layer].attention
    columns = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
    F = nonlinearities.make_nonlinearity(family, attention.alpha[head])

    def follow(rows, real):
        q, k, y = (
            (rows @ linear.kernel[...] + linear.bias[None])[:, columns]
            for linear in (attention.query, attention.key, attention.value)
        )
        logits = jnp.where(real[None], q @ k.T / np.sqrt(HEAD_WIDTH), -jnp.inf)
        weights = jax.nn.softmax(logits, axis=-1) * real[:, None]

        def energy(x):
            return attention_energy(
                x, y * real[:, None], weights, nonlinearity=F, coupling="pooled", lam=LAM, gain=GAIN
            )

        x, steps = weights @ y, []
        for _ in range(NUM_STEPS + 1):
            value, grad = jax.value_and_grad(energy)(x)
            steps.append((value, jnp.linalg.norm(grad)))
            x = x - grad / (1 + LAM)
        return jnp.array(steps)

    steps = jax.jit(jax.vmap(follow))(layer_input(encoder, layer, batch), batch[1])
    return np.mean(np.asarray(steps), axis=0).T


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_energies_are_means_of_those_computed_by_hand(norm, batch):
    encoder = make_encoder(norm=norm)
    found = head_energies(encoder, *batch)
    head = found[4]
    assert (head.layer, head.head, head.family) == (1, 2, "quadratic")
    energies, norms = energies_by_hand(encoder, 1, 2, "quadratic", batch)
    # Step 0 is plain attention.
    np.testing.assert_allclose(head.energies, energies, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(head.residuals, norms, rtol=2e-4, atol=2e-5)
    assert np.ptp(energies) > 1e-3


def test_every_non_linear_head_is_listed_with_its_family_and_strength(batch):
    found = head_energies(make_encoder(), *batch)
    assert [(h.layer, h.head, h.family) for h in found] == [
        (layer, head, family)
        for layer in (0, 1)
        for head, family in ((1, "quadratic"), (2, "quadratic"), (3, "log_cosh"))
    ]
    assert [h.alpha for h in found] == pytest.approx([0.3, -0.2, 0.5, 0.6, -0.4, 1.0])
    for head in found:
        assert head.energies.shape == head.residuals.shape == (NUM_STEPS + 1,)


def test_linear_encoder_has_no_energies_to_show(batch):
    assert head_energies(make_encoder(heads="identity"), *batch) == []


def test_status_is_the_worst_of_the_examples(batch):
    encoder = make_encoder(num_layers=1)
    tokens, mask, token_types = batch
    assert [head.status for head in head_energies(encoder, tokens, mask, token_types)] == [0, 0, 0]
    # So stiff that every step overshoots, but not where there is nothing but padding: E = 0.
    encoder.layers[0].attention.alpha[...] = jnp.array([0.0, -400.0, -0.2, 0.5])
    for example in range(BATCH):
        padded = mask & (jnp.arange(BATCH) == example)[:, None]
        statuses = [head.status for head in head_energies(encoder, tokens, padded, token_types)]
        assert statuses[0] > 0
        assert statuses[1:] == [0, 0]


def make_head(*energies):
    return HeadEnergies(0, 1, "quadratic", 0.5, np.array(energies), np.zeros(len(energies)), 0)


@pytest.mark.core
def test_rows_are_plain_values():
    (row,) = json.loads(json.dumps(as_rows([make_head(1.0, 0.5)])))
    assert row == {
        "layer": 0,
        "head": 1,
        "family": "quadratic",
        "alpha": 0.5,
        "energies": [1.0, 0.5],
        "residuals": [0.0, 0.0],
        "status": 0,
    }
