"""Task heads on top of the encoder: masked-language model and classifier."""

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.models.encoder import ACTIVATIONS, Encoder
from hopfield_attn.typing import Array, Bool, Float, Int

POOLINGS = ("cls", "mean")


class MaskedLanguageModel(nnx.Module):
    """Encoder with BERT's masked-token head: dense, GELU, layer norm, tied decoder with a bias.

    Logits are computed at the masked positions only: most of a batch's positions have no label.

    Attributes:
      encoder: the encoder.
      transform, norm: the dense layer and its layer norm.
      bias: one number a token of the vocabulary.
    """

    def __init__(self, encoder: Encoder, *, rngs: nnx.Rngs):
        """Creates the head's parameters for ``encoder``."""
        vocab_size, width = encoder.tokens.embedding.shape
        self.encoder = encoder
        self.transform = nnx.Linear(width, width, dtype=encoder.tokens.dtype, rngs=rngs)
        self.norm = nnx.LayerNorm(
            width, epsilon=encoder.norm.epsilon, dtype=encoder.tokens.dtype, rngs=rngs
        )
        self.bias = nnx.Param(jnp.zeros((vocab_size,), jnp.float32))

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None,
        positions: Int[Array, "b p"],
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b p vocab"]:
        """Logits of the tokens at ``positions``, (b, p, vocab_size), float32."""
        states = self.encoder(tokens, mask, rngs=rngs)
        chosen = jnp.take_along_axis(states, positions[:, :, None], axis=1)
        chosen = self.norm(ACTIVATIONS[self.encoder.activation](self.transform(chosen)))
        table = self.encoder.tokens.embedding[...].astype(chosen.dtype)
        logits = jnp.dot(chosen, table.T, preferred_element_type=jnp.float32)
        return logits + self.bias[None, None]


class Classifier(nnx.Module):
    """Encoder with a pooled representation and a linear layer: classes, or one number.

    ``"cls"`` pools as BERT does, tanh(dense(state of token 0)); ``"mean"`` averages real tokens.

    Attributes:
      encoder: the encoder.
      pooler: the dense layer of "cls" pooling; absent with "mean".
      out: the linear layer to ``num_outputs`` numbers.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        num_outputs: int,
        pooling: str = "cls",
        dropout_rate: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates the head's parameters.

        Args:
          encoder: the encoder.
          num_outputs: number of classes; 1 for regression.
          pooling: "cls" or "mean".
          dropout_rate: of the pooled representation.
          rngs: source of the initial parameters.
        """
        check_choice("pooling", pooling, POOLINGS)
        width = encoder.tokens.embedding.shape[1]
        dtype = encoder.tokens.dtype
        self.encoder = encoder
        self.pooling = pooling
        if pooling == "cls":
            self.pooler = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(dropout_rate)
        self.out = nnx.Linear(width, num_outputs, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None = None,
        token_types: Int[Array, "b n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b outputs"]:
        """Logits of the classes, or the predicted number, (b, num_outputs), float32."""
        states = self.encoder(tokens, mask, token_types, rngs=rngs)
        pooled = self._pool(states, mask)
        if rngs is not None:
            pooled = self.dropout(pooled, deterministic=False, rngs=rngs)
        return self.out(pooled)

    def _pool(self, states: Array, mask: Array | None) -> Array:
        if self.pooling == "cls":
            return jnp.tanh(self.pooler(states[:, 0]))
        return jnp.mean(states, axis=1, where=None if mask is None else mask[:, :, None])
