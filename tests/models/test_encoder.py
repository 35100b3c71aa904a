import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.models.encoder import Encoder

VOCAB, WIDTH, HEADS, MLP, LENGTH = 50, 16, 4, 32, 8
TOKENS = jax.random.randint(jax.random.key(0), (2, LENGTH), 0, VOCAB)
MASK = jnp.array([[True] * 8, [True] * 5 + [False] * 3])


def encoder(heads="identity", norm="post", num_layers=2, dropout_rate=0.0, **attention):
    return Encoder(
        vocab_size=VOCAB,
        max_length=LENGTH,
        width=WIDTH,
        num_layers=num_layers,
        num_heads=HEADS,
        mlp_width=MLP,
        norm=norm,
        dropout_rate=dropout_rate,
        attention={"heads": heads, "num_steps": 2, "alpha_init": 0.4, **attention},
        rngs=nnx.Rngs(params=0),
    )


class PlainLayer(nnx.Module):
    """A BERT layer of flax's own attention with the weights of one of ours."""

    def __init__(self, ours):
        self.ours = ours
        self.attention = nnx.MultiHeadAttention(
            HEADS, WIDTH, decode=False, deterministic=True, rngs=nnx.Rngs(0)
        )
        shape = (WIDTH, HEADS, WIDTH // HEADS)
        for name in ("query", "key", "value"):
            source, target = getattr(ours.attention, name), getattr(self.attention, name)
            target.kernel[...] = source.kernel[...].reshape(shape)
            target.bias[...] = source.bias[...].reshape(shape[1:])
        self.attention.out.kernel[...] = ours.attention.out.kernel[...].reshape(*shape[1:], WIDTH)
        self.attention.out.bias[...] = ours.attention.out.bias[...]

    def __call__(self, x, mask):
        attended = self.attention(x, mask=mask[:, None, None, :])
        x = layer_norm(x + attended, self.ours.attention_norm)
        hidden = x @ self.ours.mlp_in.kernel[...] + self.ours.mlp_in.bias[None, None]
        hidden = 0.5 * hidden * (1 + jax.scipy.special.erf(hidden / np.sqrt(2)))
        out = hidden @ self.ours.mlp_out.kernel[...] + self.ours.mlp_out.bias[None, None]
        return layer_norm(x + out, self.ours.mlp_norm)


def layer_norm(x, norm):
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * norm.scale[None, None] + norm.bias[None, None]


def test_all_identity_encoder_equals_a_plain_bert_layer_stack():
    ours = encoder()
    for i, layer in enumerate(ours.layers):
        layer.attention_norm.scale[...] = 1 + 0.1 * jnp.arange(WIDTH)
        layer.mlp_norm.bias[...] = 0.01 * (i + 1) * jnp.arange(WIDTH)
    types = jnp.arange(LENGTH)[None].repeat(2, 0) // 4
    x = ours.tokens.embedding[...][TOKENS] + ours.types.embedding[...][types]
    x = layer_norm(x + ours.positions.embedding[...][None], ours.norm)
    for layer in ours.layers:
        x = PlainLayer(layer)(x, MASK)
    np.testing.assert_allclose(ours(TOKENS, MASK, types)[MASK], x[MASK], atol=2e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_padding_changes_no_real_token(norm, coupling):
    model = encoder("quadratic:2,identity:2", norm, coupling=coupling)
    short = model(TOKENS[1:, :5])
    padded = model(TOKENS, MASK)[1:, :5]
    np.testing.assert_allclose(padded, short, atol=2e-6)


def test_pre_norm_is_residual_branches_and_one_norm_at_the_end():
    model = encoder(norm="pre", num_layers=1)
    layer = model.layers[0]
    x = model.embed(TOKENS)
    x = x + layer.attention(layer.attention_norm(x))
    x = x + layer.mlp_out(nnx.gelu(layer.mlp_in(layer.mlp_norm(x)), approximate=False))
    np.testing.assert_allclose(model(TOKENS), model.norm(x), atol=1e-6)


def test_dropout_acts_only_with_rngs():
    model = encoder(dropout_rate=0.5)
    np.testing.assert_array_equal(model(TOKENS), model(TOKENS))
    assert np.abs(model(TOKENS, rngs=nnx.Rngs(dropout=0)) - model(TOKENS)).max() > 0.01


def test_nonlinear_encoder_at_alpha_zero_equals_the_linear_one():
    linear, mixed = encoder(), encoder("quadratic:2,identity:2", alpha_init=0.0)
    np.testing.assert_allclose(mixed(TOKENS, MASK), linear(TOKENS, MASK), atol=1e-5)
    shifted = encoder("quadratic:2,identity:2", alpha_init=0.4)
    assert np.abs(shifted(TOKENS, MASK) - linear(TOKENS, MASK)).max() > 1e-3


def test_too_long_sequences_and_unknown_norms_are_refused():
    with pytest.raises(ValueError, match="tokens have length 9"):
        encoder()(jnp.zeros((1, 9), int))
    with pytest.raises(ValueError, match=r"norm must be one of 'post', 'pre'; got 'prae'"):
        encoder(norm="prae")


def test_works_in_flax_announced_default_mode(tmp_path):
    # Flax has announced graph mode off as its default; it is read when flax is imported.
    import os
    import subprocess
    import sys

    code = """
import jax, jax.numpy as jnp
from flax import nnx
from hopfield_attn.models.encoder import Encoder
model = Encoder(vocab_size=9, max_length=4, width=8, num_layers=2, num_heads=2, mlp_width=8,
                dropout_rate=0.1, attention={"heads": "identity:1,quadratic:1"}, rngs=nnx.Rngs(0))
graphdef, params, rest = nnx.split(model, nnx.Param, ...)
params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
def loss(params, key):
    model = nnx.merge(graphdef, params, rest)
    return jnp.sum(model(jnp.zeros((2, 4), int), rngs=nnx.Rngs(dropout=key)) ** 2)
grads = jax.jit(jax.grad(loss))(params, jax.random.key(0))
print(all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(grads)))
"""
    environment = os.environ | {"NNX_GRAPH_MODE": "false", "NNX_GRAPH_UPDATES": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
