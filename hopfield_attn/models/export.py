"""Our models in the format that transformers reads."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.checks import check_choice
from hopfield_attn.models.bert_config import OURS, BertSizes, bert_config
from hopfield_attn.models.bert_folder import DTYPES, write_bert_folder
from hopfield_attn.models.bert_names import (
    PREFIX,
    Model,
    Parameter,
    bert_parameters,
    is_part_of_bert,
)
from hopfield_attn.models.choice_head import MultipleChoice
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.heads import Classifier


def model_tensors(model: Model, *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The parameters of a model as tensors under the names that transformers uses.

    Args:
      model: an encoder, masked-language model or classifier.
      dtype: "float32", "float16" or "bfloat16".
    """
    check_choice("dtype", dtype, DTYPES)
    parameters = bert_parameters(model)
    prefix = "" if all(map(is_part_of_bert, parameters)) else PREFIX
    return {
        (prefix if is_part_of_bert(name) else "") + name: _to_file(parameter, DTYPES[dtype])
        for name, parameter in parameters.items()
    }


def save_pretrained(
    model: Model,
    path: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer | None,
    dtype: str = "float32",
    extra_config: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model as a folder that transformers and :func:`load_pretrained` read.

    α and splines are further tensors, and the options of the heads stand under the key
    ``hopfield_attn`` of ``config.json``: transformers passes over both, and so computes what the
    model computes at α = 0.

    Args:
      model: an encoder, masked-language model or classifier; post-norm.
      path: the folder.
      tokenizer: written beside it; ``None``: not.
      dtype: of the tensors.
      extra_config: further keys of ``config.json`` (``id2label``, say).
    """
    encoder = model if isinstance(model, Encoder) else model.encoder
    tensors = model_tensors(model, dtype=dtype)
    architecture = {
        "MaskedLanguageModel": "BertForMaskedLM",
        "Classifier": "BertForSequenceClassification",
        "MultipleChoice": "BertForMultipleChoice",
        "SpanPredictor": "BertForQuestionAnswering",
    }.get(type(model).__name__, "BertModel")
    options = head_options(encoder)
    classifier = model.classifier if isinstance(model, MultipleChoice) else model
    if isinstance(classifier, Classifier) and classifier.pooling != "cls":
        # BERT's classifier pools the first token: of this one transformers reads the encoder.
        architecture, options["pooling"] = "BertModel", classifier.pooling
    config = bert_config(encoder_sizes(encoder), architecture=architecture)
    config |= {OURS: options, **(extra_config or {})}
    write_bert_folder(path, config, tensors, tokenizer)


def encoder_sizes(encoder: Encoder) -> BertSizes:
    """The sizes that an encoder was made with."""
    vocab_size, width = encoder.tokens.embedding.shape
    return BertSizes(
        vocab_size=vocab_size,
        max_length=encoder.max_length,
        width=width,
        num_layers=len(encoder.layers),
        num_heads=encoder.layers[0].attention.num_heads,
        mlp_width=encoder.layers[0].mlp_in.kernel.shape[1],
        num_types=encoder.types.embedding.shape[0],
        activation=encoder.activation,
        epsilon=float(encoder.norm.epsilon),
    )


def head_options(encoder: Encoder) -> dict[str, Any]:
    """What has to be known of the heads of an encoder to make it again."""
    first = encoder.layers[0].attention
    names = ("coupling", "lam", "num_steps", "step_size", "gain")
    return {
        "layer_heads": [layer.attention.heads for layer in encoder.layers],
        **{name: getattr(first, name) for name in names},
    }


def _to_file(parameter: Parameter, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(parameter.variable[...])
    return (array.T if parameter.is_kernel else array).astype(dtype)
