"""Reads the splits of a task from ``config.data.dir``, a folder or a repository of the hub."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from hopfield_attn.data.hub import HUB_PREFIX


class Splits(NamedTuple):
    """The rows of a task.

    Attributes:
      train: rows to train on.
      held_out: rows to evaluate on.
      facts: what to record of them.
    """

    train: list[Any]
    held_out: list[Any]
    facts: dict[str, Any]


Reader = Callable[..., tuple[list[Any], list[str]]]
"""(folder or repository, *options, split, max_bad_rows=…) → rows, and a line for each left out."""


def read_splits(
    data: Any,
    read: Reader,
    read_hub: Reader,
    *options: str,
    held_out: str,
    files: str,
) -> Splits:
    """Reads the training split, up to ``data.max_train_examples``, and a labelled other one.

    Args:
      data: the ``data`` part of a config.
      read: reads a split from a folder.
      read_hub: reads it from a repository of the hub, at ``revision=…``.
      *options: what both take between the place and the split.
      held_out: the split to evaluate on.
      files: what the folder should hold, for the message where none is named.

    Raises:
      ValueError: no folder is named, or a row is bad.
      FileNotFoundError: the folder or a file does not exist.
    """
    if not data.dir:
        raise ValueError(
            f"data.dir must name the folder with {files}; set it with --config.data.dir=FOLDER"
        )
    place = data.dir
    if place.startswith(HUB_PREFIX):
        place = place.removeprefix(HUB_PREFIX)
        read = functools.partial(read_hub, revision=data.revision)
    train, skipped = read(place, *options, "train", max_bad_rows=data.max_bad_rows)
    rows, also_skipped = read(place, *options, held_out, max_bad_rows=data.max_bad_rows)
    train = train[: data.max_train_examples or None]
    facts = {
        "num_train_examples": len(train),
        "num_held_out_examples": len(rows),
        "bad_rows": skipped + also_skipped,
    }
    return Splits(train, rows, facts)
