"""The parameters of a model under the names that a Hugging Face BERT gives its tensors."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flax import nnx

from hopfield_attn.models.choice_head import MultipleChoice
from hopfield_attn.models.encoder import Encoder, EncoderLayer
from hopfield_attn.models.heads import Classifier, MaskedLanguageModel
from hopfield_attn.models.span_heads import SpanPairClassifier, SpanPredictor

ALPHA, SPLINE = "attention.self.alpha", "attention.self.spline_values"
"""Ends of the names of what BERT does not have: strengths α and splines of a layer."""
PREFIX = "bert."


Model = (
    Encoder | MaskedLanguageModel | Classifier | MultipleChoice | SpanPairClassifier | SpanPredictor
)


class Parameter(NamedTuple):
    """A parameter and how its tensor lies in a file.

    Attributes:
      variable: the parameter.
      is_kernel: a file holds (outputs, inputs), the module (inputs, outputs).
    """

    variable: Any
    is_kernel: bool = False


Named = Iterator[tuple[str, Parameter]]


def bert_parameters(model: Model) -> dict[str, Parameter]:
    """Name → parameter of a model.

    Names are those of transformers' ``BertModel``; of a head, those of ``BertForMaskedLM``,
    ``BertForSequenceClassification``, ``BertForMultipleChoice`` and ``BertForQuestionAnswering``;
    without the prefix ``bert.``. The classifier of marked spans has no counterpart there.

    Raises:
      ValueError: for a pre-norm encoder: BERT is post-norm.
    """
    encoder = model if isinstance(model, Encoder) else model.encoder
    if not encoder.is_post_norm:
        raise ValueError("a BERT is post-norm; got an encoder with norm='pre'")
    found = dict(_encoder(encoder))
    if isinstance(model, MaskedLanguageModel):
        found |= dict(_linear("cls.predictions.transform.dense", model.transform))
        found |= dict(_norm("cls.predictions.transform.LayerNorm", model.norm))
        found["cls.predictions.bias"] = Parameter(model.bias)
    if isinstance(model, MultipleChoice):
        model = model.classifier
    if isinstance(model, Classifier):
        if model.pooling == "cls":
            found |= dict(_linear("pooler.dense", model.pooler))
        found |= dict(_linear("classifier", model.out))
    if isinstance(model, SpanPairClassifier):
        found |= dict(_linear("span_classifier", model.out))
    if isinstance(model, SpanPredictor):
        found |= dict(_linear("qa_outputs", model.out))
    return found


def canonical_name(name: str) -> str:
    """The name of a tensor without the prefix, and a layer norm's as it is today.

    Example:
      >>> canonical_name("bert.embeddings.LayerNorm.gamma")
      'embeddings.LayerNorm.weight'
    """
    name = name.removeprefix(PREFIX)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(f"LayerNorm{old}"):
            name = name.removesuffix(old) + new
    return name


def is_part_of_bert(name: str) -> bool:
    """Whether a canonical name belongs to ``BertModel``, not to a head on top of it."""
    return name.startswith(("embeddings.", "encoder.", "pooler."))


def _encoder(encoder: Encoder) -> Named:
    for name, table in (
        ("word", encoder.tokens),
        ("position", encoder.positions),
        ("token_type", encoder.types),
    ):
        yield f"embeddings.{name}_embeddings.weight", Parameter(table.embedding)
    yield from _norm("embeddings.LayerNorm", encoder.norm)
    for index, layer in enumerate(encoder.layers):
        yield from _layer(f"encoder.layer.{index}", layer)


def _layer(prefix: str, layer: EncoderLayer) -> Named:
    attention = layer.attention
    for name in ("query", "key", "value"):
        yield from _linear(f"{prefix}.attention.self.{name}", getattr(attention, name))
    yield from _linear(f"{prefix}.attention.output.dense", attention.out)
    yield from _norm(f"{prefix}.attention.output.LayerNorm", layer.attention_norm)
    yield from _linear(f"{prefix}.intermediate.dense", layer.mlp_in)
    yield from _linear(f"{prefix}.output.dense", layer.mlp_out)
    yield from _norm(f"{prefix}.output.LayerNorm", layer.mlp_norm)
    if any(group.family != "identity" for group in attention.groups):
        yield f"{prefix}.{ALPHA}", Parameter(attention.alpha)
    if hasattr(attention, "spline_values"):
        yield f"{prefix}.{SPLINE}", Parameter(attention.spline_values)


def _linear(name: str, layer: nnx.Linear) -> Named:
    yield f"{name}.weight", Parameter(layer.kernel, is_kernel=True)
    yield f"{name}.bias", Parameter(layer.bias)


def _norm(name: str, norm: nnx.LayerNorm) -> Named:
    yield f"{name}.weight", Parameter(norm.scale)
    yield f"{name}.bias", Parameter(norm.bias)
