"""Classes of single tokens on top of the encoder."""

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.models.encoder import Encoder
from hopfield_attn.typing import Array, Bool, Float, Int


class TokenClassifier(nnx.Module):
    """Encoder with a linear layer on the states of some tokens.

    Attributes:
      encoder: the encoder.
      out: the linear layer to ``num_outputs`` numbers.
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
          dropout_rate: of the states that are classified.
          rngs: source of the initial parameters.
        """
        width = encoder.tokens.embedding.shape[1]
        self.encoder = encoder
        self.dropout = nnx.Dropout(dropout_rate)
        self.out = nnx.Linear(width, num_outputs, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None,
        token_types: Int[Array, "b n"] | None,
        positions: Int[Array, "b p"],
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b p outputs"]:
        """Logits of the classes of the tokens at ``positions``, (b, p, num_outputs), float32.

        Args:
          tokens: (b, n), as for the encoder.
          mask: (b, n), as for the encoder.
          token_types: (b, n), as for the encoder.
          positions: (b, p) places in the sequence.
          rngs: with it dropout runs.
        """
        states = self.encoder(tokens, mask, token_types, rngs=rngs)
        chosen = jnp.take_along_axis(states, positions[:, :, None], axis=1)
        if rngs is not None:
            chosen = self.dropout(chosen, deterministic=False, rngs=rngs)
        return self.out(chosen)
