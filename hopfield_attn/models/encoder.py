"""A BERT-like encoder whose attention heads may be non-linear."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.nn.energy_attention import EnergyAttention
from hopfield_attn.ops.partition import BATCH, CONTEXT, TENSOR, constrain
from hopfield_attn.typing import Array, Bool, DTypeLike, Float, Int

NORMS = ("post", "pre")
EPSILON = 1e-12
"""Of every layer norm, as in BERT."""
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": functools.partial(nnx.gelu, approximate=False),
    "gelu_tanh": functools.partial(nnx.gelu, approximate=True),
    "relu": nnx.relu,
}
"""Name → activation of the feed-forward part."""


class Encoder(nnx.Module):
    """Token, position and type embeddings, then layers of attention and feed-forward.

    Post-norm is BERT: x ← LN(x + f(x)), after a layer norm of the embeddings. Pre-norm is
    x ← x + f(LN(x)), with a layer norm at the end instead.

    Attributes:
      tokens, positions, types: the embeddings.
      layers: ``nnx.List`` of :class:`EncoderLayer`.
      norm: the layer norm of the embeddings (post) or of the last output (pre).
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        max_length: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_width: int,
        norm: str = "post",
        dropout_rate: float = 0.0,
        num_types: int = 2,
        activation: str = "gelu",
        epsilon: float = EPSILON,
        attention: dict[str, Any] | None = None,
        layer_heads: Sequence[str] | None = None,
        remat: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the parameters.

        Args:
          vocab_size: number of token ids.
          max_length: longest sequence; one learned embedding a position.
          width: width of the token states.
          num_layers: number of layers.
          num_heads: heads a layer.
          mlp_width: hidden width of the feed-forward part; BERT has 4 · width.
          norm: "post" or "pre".
          dropout_rate: of embeddings and of both branches of a layer.
          num_types: token types (sentence A, sentence B).
          activation: of the feed-forward part, a key of :data:`ACTIVATIONS`.
          epsilon: of every layer norm.
          attention: keyword arguments of :class:`hopfield_attn.nn.EnergyAttention`.
          layer_heads: ``heads`` of every layer; ``None``: all have those of ``attention``.
          remat: layers are computed again in the reverse pass, which then keeps one token state a
            layer; the values are the same, dropout included.
          dtype: computation dtype; parameters are float32.
          rngs: source of the initial parameters.

        Raises:
          ValueError: for an unknown ``norm`` or ``activation``, or options that do not fit.
        """
        check_choice("norm", norm, NORMS)
        check_choice("activation", activation, ACTIVATIONS)
        own_heads: Sequence[dict[str, Any]] = [{}] * num_layers
        if layer_heads is not None:
            if len(layer_heads) != num_layers:
                raise ValueError(
                    f"layer_heads must have num_layers={num_layers} parts; got {len(layer_heads)}"
                )
            own_heads = [{"heads": heads} for heads in layer_heads]
        self.max_length = max_length
        self.activation = activation
        self.remat = remat
        self.is_post_norm = norm == "post"
        # With the tied decoder, logits start with variance 1, for any width.
        embed_init = nnx.initializers.normal(width**-0.5)

        def embedding(size: int) -> nnx.Embed:
            return nnx.Embed(size, width, embedding_init=embed_init, dtype=dtype, rngs=rngs)

        self.tokens = embedding(vocab_size)
        self.positions = embedding(max_length)
        self.types = embedding(num_types)
        self.norm = nnx.LayerNorm(width, epsilon=epsilon, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(dropout_rate)
        self.layers = nnx.List(
            EncoderLayer(
                width=width,
                num_heads=num_heads,
                mlp_width=mlp_width,
                norm=norm,
                dropout_rate=dropout_rate,
                activation=activation,
                epsilon=epsilon,
                attention={**(attention or {}), **heads},
                dtype=dtype,
                rngs=rngs,
            )
            for heads in own_heads
        )

    def __call__(
        self,
        tokens: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None = None,
        token_types: Int[Array, "b n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b n width"]:
        """Encodes a batch of token ids.

        Args:
          tokens: (b, n) ids in [0, vocab_size), n ≤ max_length.
          mask: (b, n), True for real tokens; ``None``: all are.
          token_types: (b, n) ids; ``None``: all 0.
          rngs: with it dropout runs (stream ``dropout``).

        Returns:
          Token states, (b, n, width).

        Raises:
          ValueError: if the sequence is longer than ``max_length``.
        """
        x = self.embed(tokens, token_types, rngs=rngs)
        apply = nnx.remat(_apply_layer) if self.remat else _apply_layer
        for layer in self.layers:
            x = constrain(apply(layer, x, mask, rngs), BATCH, CONTEXT, None)
        return x if self.is_post_norm else self.norm(x)

    def embed(
        self,
        tokens: Int[Array, "b n"],
        token_types: Int[Array, "b n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b n width"]:
        """The input of the first layer, (b, n, width); arguments as in the call."""
        length = tokens.shape[1]
        if length > self.max_length:
            raise ValueError(f"tokens have length {length}; the encoder has {self.max_length=}")
        types = jnp.zeros_like(tokens) if token_types is None else token_types
        x = self.tokens(tokens) + self.positions(jnp.arange(length))[None] + self.types(types)
        x = constrain(x, BATCH, CONTEXT, None)
        return _drop(self.dropout, self.norm(x) if self.is_post_norm else x, rngs)


class EncoderLayer(nnx.Module):
    """Attention and feed-forward, each with dropout, a residual connection and a layer norm."""

    def __init__(
        self,
        *,
        width: int,
        num_heads: int,
        mlp_width: int,
        norm: str,
        dropout_rate: float,
        activation: str,
        epsilon: float,
        attention: dict[str, Any],
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        """Creates the parameters; arguments as in :class:`Encoder`."""
        self.is_post_norm = norm == "post"
        self.activation = activation
        self.attention = EnergyAttention(width, num_heads, **attention, dtype=dtype, rngs=rngs)
        self.attention_norm = nnx.LayerNorm(width, epsilon=epsilon, dtype=dtype, rngs=rngs)
        self.mlp_in = nnx.Linear(width, mlp_width, dtype=dtype, rngs=rngs)
        self.mlp_out = nnx.Linear(mlp_width, width, dtype=dtype, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(width, epsilon=epsilon, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(dropout_rate)

    def __call__(
        self,
        x: Float[Array, "b n width"],
        mask: Bool[Array, "b n"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b n width"]:
        """One layer; ``mask`` is True for real tokens, ``rngs`` turns dropout on."""
        attended = self.attention(self.attention_input(x), mask=mask, rngs=rngs)
        x = x + _drop(self.dropout, attended, rngs)
        x = self.attention_norm(x) if self.is_post_norm else x
        hidden = self.mlp_in(x if self.is_post_norm else self.mlp_norm(x))
        hidden = ACTIVATIONS[self.activation](constrain(hidden, BATCH, CONTEXT, TENSOR))
        x = x + _drop(self.dropout, self.mlp_out(hidden), rngs)
        return self.mlp_norm(x) if self.is_post_norm else x

    def attention_input(self, x: Float[Array, "b n width"]) -> Float[Array, "b n width"]:
        """What the attention of this layer sees: x itself, or its layer norm (pre-norm)."""
        return x if self.is_post_norm else self.attention_norm(x)


def _apply_layer(layer: EncoderLayer, x: Array, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
    return layer(x, mask, rngs=rngs)


def _drop(dropout: nnx.Dropout, x: Array, rngs: nnx.Rngs | None) -> Array:
    return x if rngs is None else dropout(x, deterministic=False, rngs=rngs)
