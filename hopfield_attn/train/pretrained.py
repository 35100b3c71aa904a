"""A run that starts from a pretrained BERT: its sizes, then its weights."""

import re
from pathlib import Path
from typing import Any

from rich.console import Console

from hopfield_attn.files import write_json
from hopfield_attn.models.bert_config import bert_sizes, own_options
from hopfield_attn.models.bert_folder import read_bert_config
from hopfield_attn.models.pretrained import LoadReport, load_weights
from hopfield_attn.train.logging import say
from hopfield_attn.train.pretrained_heads import check_learned_heads
from hopfield_attn.train.processes import is_writer
from hopfield_attn.train.run_folder import absolute_path, begun_config, flatten
from hopfield_attn.train.state import split_model

NUM_TYPES = 2
"""Token types of a run; of a BERT with more the first ones are taken."""
ADOPTED = (
    "data.vocab_size",
    "model.width",
    "model.num_layers",
    "model.num_heads",
    "model.mlp_width",
    "model.activation",
    "model.norm_epsilon",
    "model.norm",
    "model.num_positions",
)
"""Keys of a config that a BERT sets."""


def adopt_pretrained(config: Any, workdir: Path | None = None) -> None:
    """Sets the sizes in ``config`` to those of the BERT in ``config.model.pretrained``, if any.

    So the config that is recorded is the one of the model that is trained. A run that has begun
    has recorded them, and the BERT need not be there any more.

    Args:
      config: a training config; changed in place.
      workdir: the run folder, if there is one.

    Raises:
      FileNotFoundError: the folder has no ``config.json``.
      ValueError: it is not a BERT's, has one token type only, or learned heads that the run would
        change or leave out.
    """
    path = config.model.pretrained
    if not path or (workdir is not None and _adopt_recorded(config, workdir)):
        return
    if not Path(path).expanduser().is_dir():
        raise FileNotFoundError(
            f"model.pretrained={path}: no such folder; name that of a Hugging Face BERT with "
            "--config.model.pretrained=FOLDER"
        )
    found = read_bert_config(path)
    sizes = bert_sizes(found, source=f"model.pretrained={path}")
    if sizes.num_types < NUM_TYPES:
        raise ValueError(
            f"model.pretrained={path}: type_vocab_size must be at least {NUM_TYPES}, a token type "
            f"for each text of a pair; got {sizes.num_types}"
        )
    options = own_options(found, source=f"model.pretrained={path}")
    heads = options.get("layer_heads")
    if heads and config.model.heads == "identity":
        raise ValueError(
            f"model.pretrained={path} has non-linear heads ({heads}), and "
            "model.heads='identity' would leave them out; name the heads of this run"
        )
    config.data.vocab_size = sizes.vocab_size
    config.model.update(
        width=sizes.width,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        mlp_width=sizes.mlp_width,
        activation=sizes.activation,
        norm_epsilon=sizes.epsilon,
        norm="post",
        num_positions=max(sizes.max_length, config.data.length),
    )
    check_learned_heads(config.model, options, path)


def _adopt_recorded(config: Any, workdir: Path) -> bool:
    """Takes the sizes that the run in ``workdir`` started with, if it did from the same BERT."""
    flat = flatten(begun_config(workdir) or {})
    path, asked = flat.get("model.pretrained"), absolute_path(config.model.pretrained)
    if not isinstance(path, str) or absolute_path(path) != asked:
        return False
    # One that an older version has not recorded is told when the configs are compared.
    config.update_from_flattened_dict({key: flat[key] for key in ADOPTED if key in flat})
    return True


def start_from_pretrained(model: Any, path: str, workdir: Path, console: Console) -> dict[str, Any]:
    """Loads the weights in ``path`` into ``model``, says what was loaded, and records it.

    Args:
      model: the model of the run.
      path: the folder of the BERT.
      workdir: the run folder; gets ``pretrained.json``.
      console: where to print.

    Returns:
      The parameters, a nested dict.
    """
    report = load_weights(model, path)
    if is_writer():
        write_json(workdir / "pretrained.json", {"source": path, **report._asdict()})
    parts = [f"{len(report.loaded)} tensors from {path}"]
    # α is fresh in a plain BERT, in every layer: one word for all of them.
    parts += [f"{name}: {_kinds(names)}" for name, names in _left(report) if names]
    say(console, f"Pretrained: {'; '.join(parts)}")
    return split_model(model)[1]


def _left(report: LoadReport) -> list[tuple[str, tuple[str, ...]]]:
    return [("not in it, so fresh", report.fresh), ("in it and not used", report.unused)]


def _kinds(names: tuple[str, ...]) -> str:
    """The names, with layer numbers left out."""
    return ", ".join(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
