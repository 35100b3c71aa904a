"""A BERT folder with other heads: the same tensors, and options for the non-linear ones."""

import os
from pathlib import Path
from typing import Any

from hopfield_attn.models.bert_config import OURS
from hopfield_attn.models.bert_folder import (
    read_bert_folder,
    read_bert_tokenizer,
    write_bert_folder,
)
from hopfield_attn.models.bert_names import ALPHA, PREFIX, SPLINE
from hopfield_attn.models.export import head_options, model_tensors
from hopfield_attn.models.pretrained import LoadReport, load_pretrained


def convert_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    heads: str | None = None,
    head_layers: str = "",
    **attention: Any,
) -> LoadReport:
    """Reads a Hugging Face BERT folder, checks it, and writes it with heads of one's choice.

    Every tensor of the source is written as it is, bit for bit, with its name and dtype, those of
    heads on top too. Non-linear heads add their α (0 unless the source or ``alpha_init`` says
    otherwise) and splines, and their options to ``config.json``.

    Args:
      source: the folder.
      target: the new folder; must be another one.
      heads: as of :func:`hopfield_attn.models.load_pretrained`.
      head_layers: the same.
      **attention: the same.

    Returns:
      What of the source an encoder is made of, and what it has no place for.

    Raises:
      FileExistsError: the target holds a model already.
      FileNotFoundError: as :func:`hopfield_attn.models.load_pretrained`.
      ValueError: the same.
    """
    if (Path(target).expanduser() / "config.json").exists():
        raise FileExistsError(f"{os.fspath(target)}: has a config.json; name a new folder")
    model = load_pretrained(source, heads=heads, head_layers=head_layers, **attention)
    folder = read_bert_folder(source)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in folder.tensors) else ""
    added = {
        prefix + name: array
        for name, array in model_tensors(model.encoder).items()
        if name.endswith((ALPHA, SPLINE))
    }
    kept = {
        name: array
        for name, array in folder.tensors.items()
        # A head that becomes linear again takes its α along.
        if not name.endswith((ALPHA, SPLINE))
    }
    config = {key: value for key, value in folder.config.items() if key != OURS}
    pooling = {k: v for k, v in folder.config.get(OURS, {}).items() if k == "pooling"}
    if added or pooling:
        config[OURS] = head_options(model.encoder) | pooling
    write_bert_folder(target, config, kept | added, read_bert_tokenizer(source))
    return model.report
