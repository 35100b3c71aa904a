"""Reads the splits of a task from the folder in ``config.data.dir``, bad rows counted."""

from collections.abc import Callable
from typing import Any, NamedTuple


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


def read_splits(
    data: Any,
    read: Callable[..., tuple[list[Any], list[str]]],
    *options: str,
    held_out: str,
    files: str,
) -> Splits:
    """Reads the training split, up to ``data.max_train_examples``, and a labelled other one.

    Args:
      data: the ``data`` part of a config.
      read: (folder, *options, split, max_bad_rows=…) → rows, and a line for each one left out.
      *options: what ``read`` takes between the folder and the split.
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
    train, skipped = read(data.dir, *options, "train", max_bad_rows=data.max_bad_rows)
    rows, also_skipped = read(data.dir, *options, held_out, max_bad_rows=data.max_bad_rows)
    train = train[: data.max_train_examples or None]
    facts = {
        "num_train_examples": len(train),
        "num_held_out_examples": len(rows),
        "bad_rows": skipped + also_skipped,
    }
    return Splits(train, rows, facts)
