"""The all-identity encoder against transformers' BertModel with the same random weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.models.encoder import Encoder

REASON = "transformers and torch are not installed: scripts/test --all brings them"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
pytestmark = pytest.mark.heavy

SIZES = {"vocab_size": 60, "num_layers": 3, "num_heads": 4, "width": 32, "mlp_width": 64}
LENGTH = 12


def bert():
    config = transformers.BertConfig(
        vocab_size=SIZES["vocab_size"],
        hidden_size=SIZES["width"],
        num_hidden_layers=SIZES["num_layers"],
        num_attention_heads=SIZES["num_heads"],
        intermediate_size=SIZES["mlp_width"],
        max_position_embeddings=LENGTH,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        # Biases and layer norms start at 0 and 1, where a mistake in them would not show.
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def copy_weights(encoder, state):
    def linear(ours, name):
        ours.kernel[...] = jnp.asarray(state[f"{name}.weight"].numpy().T)
        ours.bias[...] = jnp.asarray(state[f"{name}.bias"].numpy())

    def norm(ours, name):
        ours.scale[...] = jnp.asarray(state[f"{name}.weight"].numpy())
        ours.bias[...] = jnp.asarray(state[f"{name}.bias"].numpy())

    for ours, theirs in (("tokens", "word"), ("positions", "position"), ("types", "token_type")):
        table = state[f"embeddings.{theirs}_embeddings.weight"].numpy()
        getattr(encoder, ours).embedding[...] = jnp.asarray(table)
    norm(encoder.norm, "embeddings.LayerNorm")
    for i, layer in enumerate(encoder.layers):
        prefix = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            linear(getattr(layer.attention, name), f"{prefix}.attention.self.{name}")
        linear(layer.attention.out, f"{prefix}.attention.output.dense")
        norm(layer.attention_norm, f"{prefix}.attention.output.LayerNorm")
        linear(layer.mlp_in, f"{prefix}.intermediate.dense")
        linear(layer.mlp_out, f"{prefix}.output.dense")
        norm(layer.mlp_norm, f"{prefix}.output.LayerNorm")


@pytest.mark.parametrize("heads", ["identity", "identity:2,quadratic:1,exponential:1"])
def test_encoder_equals_transformers_bert_also_with_nonlinear_heads_at_alpha_zero(heads):
    theirs = bert()
    ours = Encoder(
        **SIZES,
        max_length=LENGTH,
        attention={"heads": heads, "num_steps": 3, "alpha_init": 0.0},
        rngs=nnx.Rngs(0),
    )
    copy_weights(ours, theirs.state_dict())
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, SIZES["vocab_size"], size=(3, LENGTH))
    types = (np.arange(LENGTH) >= 5).astype(int)[None].repeat(3, 0)
    mask = np.arange(LENGTH)[None] < np.array([[12], [9], [5]])
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(tokens),
            token_type_ids=torch.tensor(types),
            attention_mask=torch.tensor(mask.astype(int)),
        ).last_hidden_state.numpy()
    out = ours(jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(types))
    np.testing.assert_allclose(np.asarray(out)[mask], expected[mask], atol=1e-5)
