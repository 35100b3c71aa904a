"""What a training run needs to know of its task."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from hopfield_attn.data import tokenizer as tokenizers
from hopfield_attn.data.source import RandomAccess
from hopfield_attn.models.bert_folder import read_bert_tokenizer
from hopfield_attn.train.accumulate import WeightFn, num_rows
from hopfield_attn.train.step import Batch, LossFn
from hopfield_attn.typing import Array

Outputs = dict[str, np.ndarray]
"""Outputs of a model and columns of the data, one row an example."""

ModelMaker = Callable[[Any, int], nnx.Module]
"""(config.model, seed) → module."""


class Blueprint(NamedTuple):
    """Model and training step of a task, known without any data.

    Attributes:
      make_model: (config.model, seed) → module.
      loss_fn: (model, batch, rngs) → mean loss.
      rows: name → shape and dtype of one example, as the loss reads them.
      weight_fn: batch → what its loss weighs in a mean over several batches.
    """

    make_model: ModelMaker
    loss_fn: LossFn
    rows: dict[str, jax.ShapeDtypeStruct]
    weight_fn: WeightFn = num_rows


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything a run needs to know of its task; made once, shared by the runs compared.

    Attributes:
      batches: ``batches[s]`` is the global batch of step s.
      evaluation_sets: name → examples, scored at the end of a run.
      watched_set: the one that is scored during the run as well.
      blueprint: model, loss, and the weight of a batch.
      predict_fn: (model, batch) → outputs, the batch as their leading axis.
      score_fn: outputs and targets of a whole set → metrics.
      main_metric: the one to report.
      baselines: name → what no model at all reaches, in the units of the metrics.
      facts: what to record of the data.
    """

    batches: Any
    evaluation_sets: dict[str, RandomAccess[Any]]
    watched_set: str
    blueprint: Blueprint
    predict_fn: Callable[[Any, Batch], dict[str, Array]]
    score_fn: Callable[[Outputs], dict[str, float]]
    main_metric: str
    baselines: dict[str, float]
    facts: dict[str, Any]


def model_maker(make: Callable[..., nnx.Module], data: Any, **options: int) -> ModelMaker:
    """Binds a function of :mod:`hopfield_attn.models.registry` to the sizes of ``config.data``."""

    def make_model(model_config: Any, seed: int) -> nnx.Module:
        sizes = {"vocab_size": data.vocab_size, "max_length": data.length}
        return make(model_config, **sizes, **options, seed=seed)

    return make_model


def token_rows(*shape: int, **dtypes: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Tokens of ``shape`` with mask and token types, and a number for each of ``dtypes``."""
    sequences = {"tokens": np.int32, "mask": np.bool_, "token_types": np.int32}
    rows = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in sequences.items()}
    return rows | {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in dtypes.items()}


def window_rows(*shape: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Windows of ``length`` tokens in ``shape``, which of them there are, and a class."""
    windows = jax.ShapeDtypeStruct(shape, np.bool_)
    return token_rows(*shape, length, labels=np.int32) | {"windows": windows}


def run_tokenizer(texts: Sequence[str], config: Any, workdir: Path) -> Tokenizer:
    """The tokenizer of the run, in its folder: found there, or put there.

    Args:
      texts: what it is trained on, if the run does not start from a pretrained BERT.
      config: ``data.vocab_size`` ids are trained, or that of ``model.pretrained`` is taken.
      workdir: the run folder.

    Raises:
      ValueError: it has more ids than the model.
    """
    path = workdir / "tokenizer.json"
    if path.is_file():
        return checked_tokenizer(tokenizers.load_tokenizer(path), config, source=path)
    if config.model.pretrained:
        folder = config.model.pretrained
        tokenizer = checked_tokenizer(read_bert_tokenizer(folder), config, source=folder)
    else:
        tokenizer = tokenizers.train_tokenizer(texts, vocab_size=config.data.vocab_size)
    tokenizers.save_tokenizer(tokenizer, path)
    return tokenizer


def checked_tokenizer(tokenizer: Tokenizer, config: Any, *, source: str | Path) -> Tokenizer:
    """The tokenizer, if the model of ``config`` has a row for each of its ids.

    Args:
      tokenizer: from a file.
      config: ``data.vocab_size`` is that of the model.
      source: the file or folder, for messages.

    Raises:
      ValueError: it has more ids; a lookup would take the last row for them without a word.
    """
    num_ids, vocab_size = tokenizer.get_vocab_size(), config.data.vocab_size
    if num_ids > vocab_size:
        raise ValueError(
            f"{source}: the tokenizer has {num_ids} ids, and the model takes data.vocab_size="
            f"{vocab_size}; expected a tokenizer of at most as many"
        )
    return tokenizer
