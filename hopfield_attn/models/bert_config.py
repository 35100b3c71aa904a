"""The ``config.json`` of a Hugging Face BERT folder, as the sizes of an encoder, and back."""

import math
from collections.abc import Mapping
from reprlib import repr as shown
from typing import Any, NamedTuple

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.data.json_fields import read_field, read_number

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_NAMES = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
_KEYS = {
    "vocab_size": "vocab_size",
    "max_length": "max_position_embeddings",
    "width": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "num_types": "type_vocab_size",
}
OURS = "hopfield_attn"
"""The key of ``config.json`` with what BERT does not have: options of the non-linear heads."""
_OPTIONS: dict[str, tuple[type, ...]] = {
    "layer_heads": (list,),
    "pooling": (str,),
    "coupling": (str,),
    "lam": (float, int, str),
    "num_steps": (int,),
    "step_size": (float, int, str, type(None)),
    "gain": (float, int, type(None)),
}
_LONGEST_TEXT = 500


class BertSizes(NamedTuple):
    """What of a BERT's config an :class:`hopfield_attn.models.encoder.Encoder` is made from.

    Attributes:
      vocab_size: number of token ids.
      max_length: rows of the position table.
      width: of the token states.
      num_layers: number of layers.
      num_heads: heads a layer.
      mlp_width: hidden width of the feed-forward part.
      num_types: token types.
      activation: of the feed-forward part, a key of ``ACTIVATIONS``.
      epsilon: of every layer norm.
    """

    vocab_size: int
    max_length: int
    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    num_types: int
    activation: str
    epsilon: float


def bert_sizes(config: Mapping[str, Any], *, source: str) -> BertSizes:
    """Reads the sizes of a BERT.

    Args:
      config: the object of ``config.json``.
      source: where it comes from, for messages.

    Raises:
      ValueError: for another kind of model, a key that is missing, and what an encoder here does
        not have (relative positions, another activation, cross-attention).

    Example:
      >>> config = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512,
      ...     "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
      ...     "intermediate_size": 1536, "type_vocab_size": 2, "hidden_act": "gelu"}
      >>> bert_sizes(config, source="config.json").mlp_width
      1536
    """
    kind = config.get("model_type")
    if kind != "bert":
        more = (
            ": its positions start behind the padding id and its special tokens have other names"
            if kind in ("roberta", "xlm-roberta", "camembert")
            else ""
        )
        raise ValueError(f"{source}: model_type must be 'bert'; got {shown(kind)}{more}")
    missing = [key for key in _KEYS.values() if key not in config]
    if missing:
        raise ValueError(f"{source}: lacks the keys {', '.join(missing)}")
    try:
        check_count(1, **{f"{source}: {key}": config[key] for key in _KEYS.values()})
    except TypeError as error:
        raise ValueError(str(error)) from None
    if config["hidden_size"] % config["num_attention_heads"]:
        raise ValueError(
            f"{source}: hidden_size must be divisible by num_attention_heads; got "
            f"{config['hidden_size']} and {config['num_attention_heads']}"
        )
    for key, expected in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(key, expected) != expected:
            raise ValueError(f"{source}: {key} must be {expected!r}; got {shown(config[key])}")
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ValueError(f"{source}: hidden_act must be one of {known}; got {shown(activation)}")
    return BertSizes(
        **{ours: config[theirs] for ours, theirs in _KEYS.items()},
        activation=_ACTIVATIONS[activation],
        epsilon=_epsilon(config, source),
    )


def _epsilon(config: Mapping[str, Any], source: str) -> float:
    try:
        epsilon = float(read_number({"layer_norm_eps": 1e-12, **config}, "layer_norm_eps"))
        check_at_least(0, layer_norm_eps=epsilon)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return epsilon


def own_options(config: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """What the config of a folder says of its non-linear heads; nothing in that of a plain BERT.

    Args:
      config: the object of ``config.json``.
      source: where it comes from, for messages.

    Raises:
      ValueError: for an option that heads do not have, or a value of another kind.
    """
    try:
        options = read_field({OURS: {}, **config}, OURS, dict)
        for name, value in options.items():
            if name not in _OPTIONS:
                raise ValueError(
                    f"{OURS} has no option {shown(name)}; known: {', '.join(_OPTIONS)}"
                )
            texts = [value] if type(value) is str else value if type(value) is list else []
            if (
                type(value) not in _OPTIONS[name]
                or (type(value) is float and not math.isfinite(value))
                or any(type(text) is not str or len(text) > _LONGEST_TEXT for text in texts)
            ):
                raise ValueError(f"{OURS}.{name} cannot be {shown(value)}")
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return dict(options)


def bert_config(sizes: BertSizes, *, architecture: str) -> dict[str, Any]:
    """The ``config.json`` that :func:`bert_sizes` reads, and transformers too.

    Args:
      sizes: of the encoder.
      architecture: class of transformers that the tensors fit, "BertModel" for example.
    """
    return {
        "architectures": [architecture],
        "model_type": "bert",
        **{key: getattr(sizes, name) for name, key in _KEYS.items()},
        "hidden_act": _NAMES[sizes.activation],
        "layer_norm_eps": sizes.epsilon,
        "position_embedding_type": "absolute",
    }
