"""Reads the SuperGLUE tasks from the JSON-lines files of the official archives."""

import functools
import os
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data.folders import find_file
from hopfield_attn.data.json_lines import read_json_lines
from hopfield_attn.data.superglue_rows import PARSERS
from hopfield_attn.data.superglue_tasks import SPLITS, SUPERGLUE_TASKS


def read_superglue(
    data_dir: str | os.PathLike[str], task: str, split: str, *, max_bad_rows: int = 0
) -> tuple[list[Any], list[str]]:
    r"""Reads one split of one task.

    Args:
      data_dir: the folder that holds ``BoolQ``, ``CB`` and the others; may begin with ``~``.
      task: a key of ``SUPERGLUE_TASKS``.
      split: "train", "val" or "test".
      max_bad_rows: how many bad lines to leave out before one is an error.

    Returns:
      The examples in the order of the file, and one line ``FILE:LINE column NAME: reason`` for
      each line left out. By the task's kind, an example is an ``Example`` ("pair"), a
      ``ChoiceQuestion``, a ``SpanPair`` or a ``CandidateQuestion``; a test split has no labels.

    Raises:
      ValueError: unknown task or split, the bad line after ``max_bad_rows``, or no usable line.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Path(folder, "RTE").mkdir()
      ...     _ = Path(folder, "RTE", "val.jsonl").write_text(
      ...         '{"premise": "It rains.", "hypothesis": "It is dry.", "label": "not_entailment"}')
      ...     read_superglue(folder, "rte", "val")
      ([Example(sentence1='It rains.', sentence2='It is dry.', label=1)], [])
    """
    check_choice("SuperGLUE task", task, SUPERGLUE_TASKS)
    check_choice(f"split of {task}", split, SPLITS)
    spec = SUPERGLUE_TASKS[task]
    path = find_file(data_dir, spec.folder, f"{split}.jsonl")
    parse = functools.partial(PARSERS[task], task=spec, labelled=split != "test")
    return read_json_lines(path, parse, max_bad_rows=max_bad_rows)
