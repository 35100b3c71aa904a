"""From the ``model`` part of a config to a model."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.models.choice_head import MultipleChoice
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.heads import Classifier, MaskedLanguageModel
from hopfield_attn.models.layers import heads_by_layer
from hopfield_attn.models.span_heads import SpanPairClassifier, SpanPredictor
from hopfield_attn.models.token_head import TokenClassifier

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ATTENTION_KEYS = (
    "coupling",
    "lam",
    "num_steps",
    "step_size",
    "gain",
    "alpha_init",
    "gradient_mode",
    "implementation",
)
"""Keys of the config that go to every ``EnergyAttention`` as they are."""


def make_encoder(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, rngs: nnx.Rngs
) -> Encoder:
    """Builds the encoder that ``config.model`` describes.

    Args:
      config: width, num_layers, num_heads, mlp_width, norm, activation, norm_epsilon,
        num_positions, dropout_rate, attention_dropout_rate, remat, dtype, heads, head_layers,
        auto_lam, and the keys of :data:`ATTENTION_KEYS`.
      vocab_size: number of token ids.
      max_length: longest sequence, if ``num_positions`` is 0.
      rngs: source of the initial parameters.
    """
    check_choice("model.dtype", config["dtype"], DTYPES)
    attention = {key: config[key] for key in ATTENTION_KEYS}
    if config["auto_lam"]:
        attention["lam"] = "auto"
    return Encoder(
        vocab_size=vocab_size,
        max_length=config["num_positions"] or max_length,
        width=config["width"],
        num_layers=config["num_layers"],
        num_heads=config["num_heads"],
        mlp_width=config["mlp_width"],
        norm=config["norm"],
        activation=config["activation"],
        epsilon=config["norm_epsilon"],
        dropout_rate=config["dropout_rate"],
        attention={**attention, "dropout_rate": config["attention_dropout_rate"]},
        layer_heads=heads_by_layer(
            config["heads"], config["head_layers"], num_layers=config["num_layers"]
        ),
        remat=config["remat"],
        dtype=DTYPES[config["dtype"]],
        rngs=rngs,
    )


def make_masked_language_model(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, seed: int
) -> MaskedLanguageModel:
    """Builds the masked-language model of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return MaskedLanguageModel(encoder, rngs=rngs)


def make_classifier(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, num_outputs: int, seed: int
) -> Classifier:
    """Builds the classifier of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return Classifier(
        encoder,
        num_outputs=num_outputs,
        pooling=config["pooling"],
        dropout_rate=config["dropout_rate"],
        rngs=rngs,
    )


def make_token_classifier(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, num_outputs: int, seed: int
) -> TokenClassifier:
    """Builds the token classifier of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return TokenClassifier(
        encoder, num_outputs=num_outputs, dropout_rate=config["dropout_rate"], rngs=rngs
    )


def make_multiple_choice(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, seed: int
) -> MultipleChoice:
    """Builds the multiple-choice model of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return MultipleChoice(
        encoder, pooling=config["pooling"], dropout_rate=config["dropout_rate"], rngs=rngs
    )


def make_span_pair_classifier(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, num_outputs: int, seed: int
) -> SpanPairClassifier:
    """Builds the classifier of two spans of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return SpanPairClassifier(
        encoder, num_outputs=num_outputs, dropout_rate=config["dropout_rate"], rngs=rngs
    )


def make_span_predictor(
    config: Mapping[str, Any], *, vocab_size: int, max_length: int, seed: int
) -> SpanPredictor:
    """Builds the span predictor of ``config.model`` with parameters from ``seed``."""
    rngs = nnx.Rngs(params=seed)
    encoder = make_encoder(config, vocab_size=vocab_size, max_length=max_length, rngs=rngs)
    return SpanPredictor(encoder, rngs=rngs)


def num_parameters(model: nnx.Module) -> int:
    """Number of trained numbers in ``model``."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
