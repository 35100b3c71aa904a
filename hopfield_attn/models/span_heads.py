"""Heads on top of the encoder for spans: two that are given, or one that is looked for."""

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.models.encoder import Encoder
from hopfield_attn.typing import Array, Bool, Float, Int

_UNLIKELY = -1e9
"""Logit of padding: finite, so that sums of two and their differences are numbers."""


class SpanPairClassifier(nnx.Module):
    """Classifies two marked spans: [CLS] and the means of both, side by side, to a linear layer.

    Attributes:
      encoder: the encoder.
      out: the linear layer from 3 · width to ``num_outputs`` numbers.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        num_outputs: int,
        dropout_rate: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates the head's parameters.

        Args:
          encoder: the encoder.
          num_outputs: number of classes.
          dropout_rate: of the three states side by side.
          rngs: source of the initial parameters.
        """
        width = encoder.tokens.embedding.shape[1]
        self.encoder = encoder
        self.dropout = nnx.Dropout(dropout_rate)
        self.out = nnx.Linear(3 * width, num_outputs, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None,
        token_types: Int[Array, "b n"] | None,
        spans: Int[Array, "b 2 2"],
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b outputs"]:
        """Logits of the classes, (b, num_outputs), float32.

        Args:
          tokens: (b, n), as for the encoder.
          mask: (b, n), as for the encoder.
          token_types: (b, n), as for the encoder.
          spans: (b, 2, 2) positions [first, last + 1) of both spans; none is empty.
          rngs: with it dropout runs.
        """
        states = self.encoder(tokens, mask, token_types, rngs=rngs)
        means = [_span_mean(states, spans[:, k]) for k in range(2)]
        joined = jnp.concatenate([states[:, 0], *means], axis=-1)
        if rngs is not None:
            joined = self.dropout(joined, deterministic=False, rngs=rngs)
        return self.out(joined)


class SpanPredictor(nnx.Module):
    """Scores every token as the first and as the last of an answer.

    Attributes:
      encoder: the encoder.
      out: the linear layer to two numbers.
    """

    def __init__(self, encoder: Encoder, *, rngs: nnx.Rngs):
        """Creates the head's parameters for ``encoder``."""
        width = encoder.tokens.embedding.shape[1]
        self.encoder = encoder
        self.out = nnx.Linear(width, 2, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None = None,
        token_types: Int[Array, "b n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
        """Logits of the first and of the last token, float32, −1e9 at padding."""
        states = self.encoder(tokens, mask, token_types, rngs=rngs)
        logits = self.out(states)
        if mask is not None:
            logits = jnp.where(mask[:, :, None], logits, _UNLIKELY)
        return logits[:, :, 0], logits[:, :, 1]


def _span_mean(states: Array, span: Array) -> Array:
    positions = jnp.arange(states.shape[1])[None]
    inside = (positions >= span[:, :1]) & (positions < span[:, 1:])
    return jnp.mean(states, axis=1, where=inside[:, :, None])
