"""Weights of a Hugging Face BERT into our models."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from hopfield_attn.checks import printable
from hopfield_attn.models.bert_config import BertSizes, bert_sizes, own_options
from hopfield_attn.models.bert_folder import DTYPES, read_bert_folder, read_bert_tokenizer
from hopfield_attn.models.bert_names import (
    ALPHA,
    SPLINE,
    Model,
    Parameter,
    bert_parameters,
    canonical_name,
)
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.heads import MaskedLanguageModel
from hopfield_attn.models.layers import heads_by_layer

_POSITIONS = "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
"""Tensors that some files hold a second time."""
_MOST_LISTED = 5


class LoadReport(NamedTuple):
    """What loading did, by the names of the file.

    Attributes:
      loaded: tensors that became parameters.
      fresh: parameters that the file does not have; they keep their initial values.
      unused: tensors that the model has no place for.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]


class Pretrained(NamedTuple):
    """A loaded encoder.

    Attributes:
      encoder: the encoder.
      tokenizer: its tokenizer.
      report: what was loaded, and what was not.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    report: LoadReport


def load_pretrained(
    path: str | os.PathLike[str],
    *,
    heads: str | None = None,
    head_layers: str = "",
    max_length: int | None = None,
    **attention: Any,
) -> Pretrained:
    """Reads the encoder of a Hugging Face BERT folder, with heads of one's choice.

    At α = 0, which is where α starts, non-linear heads compute what the BERT computes.

    Args:
      path: folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json`` or
        ``vocab.txt``; one that ``scripts/convert`` made brings its heads, their options and α.
      heads: of the layers in ``head_layers``, ``"quadratic:4,identity:8"``; ``None`` is what the
        folder says, or identity.
      head_layers: ``"3-6"``, counted from 1; "" is all layers.
      max_length: longest sequence; beyond the folder's own the position table is repeated.
      **attention: further options of :class:`hopfield_attn.nn.EnergyAttention` (coupling, lam,
        num_steps, step_size, gain, alpha_init, gradient_mode, implementation).

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: another kind of model, a damaged file, or tensors that are missing or have
        another shape.

    Example:
      >>> model = load_pretrained("all-MiniLM-L6-v2", heads="quadratic", lam=1.0)  # doctest: +SKIP
    """
    folder = read_bert_folder(path)
    source = f"{os.fspath(path)}/config.json"
    sizes = bert_sizes(folder.config, source=source)
    _check_sizes(sizes, folder.tensors, source=os.fspath(path))
    options = own_options(folder.config, source=source)
    if heads is None:
        layer_heads = options.pop("layer_heads", None)
    else:
        options.pop("layer_heads", None)
        layer_heads = heads_by_layer(heads, head_layers, num_layers=sizes.num_layers)
    options.pop("pooling", None)
    try:
        encoder = Encoder(
            **(sizes._asdict() | {"max_length": max_length or sizes.max_length}),
            attention=options | attention,
            layer_heads=layer_heads,
            rngs=nnx.Rngs(0),
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    report = assign_tensors(encoder, folder.tensors, source=os.fspath(path))
    return Pretrained(encoder, read_bert_tokenizer(path), report)


def load_weights(model: Model, path: str | os.PathLike[str]) -> LoadReport:
    """Sets the parameters of a model to the tensors of a folder; see :func:`assign_tensors`."""
    return assign_tensors(model, read_bert_folder(path).tensors, source=os.fspath(path))


def assign_tensors(model: Model, tensors: Mapping[str, np.ndarray], *, source: str) -> LoadReport:
    """Sets the parameters of an encoder, masked-language model or classifier.

    Everything is checked before anything is set. What BERT does not have (α, splines) and heads on
    top may be missing and stay as they are; a part of the encoder may not. The classifier of
    another task, with another number of outputs, is left out, and so are token types that the
    model does not have.

    Args:
      model: the model; its parameters are float32.
      tensors: name → array, with or without the prefix ``bert.``.
      source: where they come from, for messages.

    Raises:
      ValueError: for a part of the encoder that is missing, a tensor of another shape, not
        floating-point or not finite, a name that is there twice, and an output matrix that is not
        tied to the word embeddings.
    """
    names = _canonical_names(tensors, source)
    parameters = bert_parameters(model)
    if isinstance(model, MaskedLanguageModel):
        _check_tied(tensors, names, source)
    missing, wrong, values = [], [], {}
    for name, parameter in parameters.items():
        if name not in names:
            if name.startswith(("embeddings.", "encoder.")) and not name.endswith((ALPHA, SPLINE)):
                missing.append(name)
            continue
        array, shape = tensors[names[name]], _shape(parameter)
        if array.dtype not in DTYPES.values():
            wrong.append(f"{names[name]} is {array.dtype}, expected {', '.join(DTYPES)}")
        elif name == _POSITIONS and array.shape[1:] == shape[1:]:
            values[name] = _repeat_rows(array, shape[0])
        elif name == _TYPES and array.shape[1:] == shape[1:] and len(array) > shape[0]:
            values[name] = array[: shape[0]]
        elif array.shape == shape:
            values[name] = array
        elif not name.startswith(("classifier.", "span_classifier.")):
            wrong.append(f"{names[name]} has shape {array.shape}, expected {shape}")
    wrong += [
        f"{names[name]} has values that are not finite"
        for name, array in values.items()
        if not np.all(np.isfinite(array))
    ]
    if missing or wrong:
        lacking = [f"{name} is missing" for name in missing]
        raise ValueError(f"{source}: {_listed(lacking + wrong)}")
    for name, array in values.items():
        variable, is_kernel = parameters[name]
        variable[...] = jnp.asarray((array.T if is_kernel else array).astype(np.float32))
    return LoadReport(
        loaded=tuple(names[name] for name in values),
        fresh=tuple(name for name in parameters if name not in values),
        unused=tuple(
            original
            for name, original in names.items()
            if name not in values and _TIED.get(name) not in values
        ),
    )


def _canonical_names(tensors: Mapping[str, np.ndarray], source: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for original in tensors:
        name = canonical_name(original)
        if name in names:
            both = printable(f"{names[name]} and {original}")
            raise ValueError(f"{source}: {both} are the same tensor")
        names[name] = original
    return names


def _check_sizes(sizes: BertSizes, tensors: Mapping[str, np.ndarray], *, source: str) -> None:
    """Raises ``ValueError`` for sizes that the tensors do not have, before anything is made."""
    width, last = sizes.width, sizes.num_layers - 1
    expected = {
        "embeddings.word_embeddings.weight": (sizes.vocab_size, width),
        _POSITIONS: (sizes.max_length, width),
        _TYPES: (sizes.num_types, width),
        f"encoder.layer.{last}.attention.self.query.weight": (width, width),
        f"encoder.layer.{last}.intermediate.dense.weight": (sizes.mlp_width, width),
    }
    names = _canonical_names(tensors, source)
    for name, shape in expected.items():
        if name not in names:
            raise ValueError(f"{source}: {name} is missing")
        found = tensors[names[name]].shape
        if found != shape:
            raise ValueError(f"{source}: {name} has shape {found}, expected {shape}")


def _check_tied(tensors: Mapping[str, np.ndarray], names: Mapping[str, str], source: str) -> None:
    for own, tied in _TIED.items():
        if own in names and tied in names:
            pair = names[own], names[tied]
            if not np.array_equal(tensors[pair[0]], tensors[pair[1]]):
                raise ValueError(f"{source}: {pair[0]} must be tied to {pair[1]}; it differs")


def _shape(parameter: Parameter) -> tuple[int, ...]:
    shape = tuple(parameter.variable.shape)
    return shape[::-1] if parameter.is_kernel else shape


def _repeat_rows(array: np.ndarray, num_rows: int) -> np.ndarray:
    """The first rows of a table; a table that is too short starts again from its first row."""
    return np.resize(array, (num_rows, array.shape[1])) if num_rows != len(array) else array


def _listed(problems: list[str]) -> str:
    more = len(problems) - _MOST_LISTED
    return "; ".join(problems[:_MOST_LISTED]) + (f"; and {more} more" if more > 0 else "")
