"""Multiple choice on top of the encoder: one score a choice."""

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.heads import Classifier
from hopfield_attn.typing import Array, Bool, Float, Int


class MultipleChoice(nnx.Module):
    """Scores the choices of a question one by one; a softmax over them makes probabilities.

    Attributes:
      classifier: encoder, pooling and the linear layer to one number.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        pooling: str = "cls",
        dropout_rate: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates the head's parameters; arguments as in :class:`Classifier`."""
        self.classifier = Classifier(
            encoder, num_outputs=1, pooling=pooling, dropout_rate=dropout_rate, rngs=rngs
        )

    @property
    def encoder(self) -> Encoder:
        """The encoder."""
        return self.classifier.encoder

    def __call__(
        self,
        tokens: Int[Array, "b choices n"],
        mask: Bool[Array, "b choices n"] | None = None,
        token_types: Int[Array, "b choices n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b choices"]:
        """Scores of the choices, (b, choices), float32; arguments as of the encoder, per choice."""
        length = tokens.shape[-1]
        scores = self.classifier(
            tokens.reshape(-1, length),
            None if mask is None else mask.reshape(-1, length),
            None if token_types is None else token_types.reshape(-1, length),
            rngs=rngs,
        )
        return scores.reshape(tokens.shape[:2])


def max_over_windows(
    scores: Float[Array, "b choices windows"], windows: Bool[Array, "b choices windows"]
) -> Float[Array, "b choices"]:
    """The highest score among the windows that a document has.

    A choice is as good as the passage that supports it best, wherever that is.

    Args:
      scores: (b, choices, windows).
      windows: (b, choices, windows), False for windows that are filling; the first is real.

    Returns:
      (b, choices).

    Example:
      >>> max_over_windows(jnp.array([[[1.0, 3.0, 9.0]]]), jnp.array([[[True, True, False]]]))
      Array([[3.]], dtype=float32)
    """
    return jnp.max(scores, axis=-1, where=windows, initial=-jnp.inf)
