"""Sentence embeddings: mean-pooled, normalised token states of a pretrained encoder."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from hopfield_attn.checks import check_count
from hopfield_attn.data.tokenizer import encode_texts, special_ids
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.pretrained import Pretrained, load_pretrained
from hopfield_attn.typing import Array, Bool, Float, Int

_ROUND_UP = 32
"""Lengths are padded to a multiple of it: few programs are compiled, little is padding."""


def embed(
    model_dir: str | os.PathLike[str] | Pretrained,
    sentences: Sequence[str],
    *,
    max_length: int = 256,
    batch_size: int = 32,
) -> Float[np.ndarray, "sentences width"]:
    """Embeds sentences as sentence-transformers does: the mean of the real tokens' states, ‖·‖ = 1.

    Args:
      model_dir: folder of :func:`hopfield_attn.models.load_pretrained`, or what that returned.
      sentences: any number of texts.
      max_length: tokens of a sentence, ``[CLS]`` and ``[SEP]`` included; longer ones are cut.
      batch_size: sentences that are computed at a time.

    Returns:
      (sentences, width), float32, in the order of the sentences.

    Raises:
      FileNotFoundError: as :func:`hopfield_attn.models.load_pretrained`.
      ValueError: the same, and for a ``max_length`` beyond the encoder's.

    Example:
      >>> vectors = embed("all-MiniLM-L6-v2", ["A cat.", "A feline."])  # doctest: +SKIP
      >>> vectors @ vectors.T  # doctest: +SKIP
    """
    check_count(1, batch_size=batch_size)
    check_count(3, max_length=max_length)
    model = model_dir if isinstance(model_dir, Pretrained) else load_pretrained(model_dir)
    encoder = model.encoder
    if max_length > encoder.max_length:
        raise ValueError(f"max_length must be at most {encoder.max_length}; got {max_length}")
    rows = _encode(model.tokenizer, sentences, max_length)
    padding = special_ids(model.tokenizer)["[PAD]"]
    out = np.zeros((len(rows), encoder.tokens.embedding.shape[1]), np.float32)
    graphdef, state = nnx.split(encoder)

    @jax.jit
    def run(state: Any, tokens: Array, mask: Array) -> Array:
        return mean_pooled(nnx.merge(graphdef, state), tokens, mask)

    # Sentences of one length share a batch, so that the short ones are not mostly padding.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        longest = max(len(rows[i]) for i in chosen)
        width = min(-(-longest // _ROUND_UP) * _ROUND_UP, max_length)
        tokens = np.full((batch_size, width), padding, np.int32)
        mask = np.zeros((batch_size, width), np.bool_)
        for k, i in enumerate(chosen):
            tokens[k, : len(rows[i])] = rows[i]
            mask[k, : len(rows[i])] = True
        out[chosen] = np.asarray(run(state, tokens, mask))[: len(chosen)]
    return out


def mean_pooled(
    encoder: Encoder, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]
) -> Float[Array, "b width"]:
    """Mean of the states of real tokens, divided by its norm; a row without any token gives 0.

    Args:
      encoder: the encoder.
      tokens: (b, n) ids.
      mask: (b, n), True for real tokens.
    """
    states = encoder(tokens, mask).astype(jnp.float32)
    total = jnp.sum(jnp.where(mask[:, :, None], states, 0), axis=1)
    # The number of tokens drops out of the normalisation.
    norm = jnp.linalg.norm(total, axis=1, keepdims=True)
    return total / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)


def _encode(tokenizer: Tokenizer, sentences: Sequence[str], max_length: int) -> list[list[int]]:
    if isinstance(sentences, str):
        raise TypeError("sentences must be a sequence of texts; got one text")
    ids = special_ids(tokenizer)
    return [
        [ids["[CLS]"], *row[: max_length - 2], ids["[SEP]"]]
        for row in encode_texts(tokenizer, sentences)
    ]
