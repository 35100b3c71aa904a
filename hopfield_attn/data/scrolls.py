"""Reads tasks in the format of SCROLLS (Shaham et al. 2022): a long input, and a text as output."""

import functools
import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hopfield_attn.checks import check_choice
from hopfield_attn.data.folders import find_file
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.json_fields import JsonObject, read_class, read_field
from hopfield_attn.data.json_lines import read_json_lines

SCROLLS_SPLITS = ("train", "validation", "test")

SCROLLS_CLASSES = {"contract_nli": ("Entailment", "Contradiction", "Not mentioned")}
"""Task whose outputs are classes → how it spells them, by class id."""


_T = TypeVar("_T")


class ScrollsExample(NamedTuple):
    """One line: names of the example and of its input, the input, and the output or ``None``."""

    example_id: str
    pair_id: str
    input_text: str
    output_text: str | None


def read_scrolls(
    data_dir: str | os.PathLike[str], task: str, split: str, *, max_bad_rows: int = 0
) -> tuple[list[ScrollsExample], list[str]]:
    r"""Reads one split of one task.

    Args:
      data_dir: the folder that holds the tasks' folders; may begin with ``~``.
      task: the task's folder, such as "contract_nli"; any task has this format.
      split: "train", "validation" or "test".
      max_bad_rows: how many bad lines to leave out before one is an error.

    Returns:
      The examples in the order of the file, and one line ``FILE:LINE column NAME: reason`` for
      each line left out; a test split has no outputs.

    Raises:
      ValueError: unknown split, the bad line after ``max_bad_rows``, or no usable line.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Path(folder, "qasper").mkdir()
      ...     _ = Path(folder, "qasper", "train.jsonl").write_text(
      ...         '{"id": "7", "pid": "7_0", "input": "Why?\\n\\nA text.", "output": "So."}')
      ...     read_scrolls(folder, "qasper", "train")[0]
      [ScrollsExample(example_id='7', pair_id='7_0', input_text='Why?\n\nA text.',
                      output_text='So.')]
    """
    return _read(data_dir, task, split, _parse_row, max_bad_rows)


def read_scrolls_pairs(
    data_dir: str | os.PathLike[str], task: str, split: str, *, max_bad_rows: int = 0
) -> tuple[list[Example], list[str]]:
    r"""Reads one split of a task whose outputs are classes, as pairs: document and what is asked.

    Args:
      data_dir: as for ``read_scrolls``.
      task: a key of ``SCROLLS_CLASSES``.
      split: as for ``read_scrolls``.
      max_bad_rows: as for ``read_scrolls``.

    Returns:
      Pairs with the document first, which an input has after its first empty line, and one line
      ``FILE:LINE column NAME: reason`` for each line left out; a test split has no labels.

    Raises:
      ValueError: unknown task, or as for ``read_scrolls``; an output that is no class is bad too.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> line = r'{"input": "It rains.\n\nToday\n\nit rains.", "output": "Entailment"}'
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Path(folder, "contract_nli").mkdir()
      ...     _ = Path(folder, "contract_nli", "train.jsonl").write_text(line)
      ...     read_scrolls_pairs(folder, "contract_nli", "train")[0]
      [Example(sentence1='Today\n\nit rains.', sentence2='It rains.', label=0)]
    """
    check_choice("SCROLLS task with classes", task, SCROLLS_CLASSES)
    classes = SCROLLS_CLASSES[task]
    return _read(
        data_dir, task, split, functools.partial(parse_pair, classes=classes), max_bad_rows
    )


def _read(
    data_dir: str | os.PathLike[str],
    task: str,
    split: str,
    parse: Callable[..., list[_T]],
    max_bad_rows: int,
) -> tuple[list[_T], list[str]]:
    check_choice(f"split of {task}", split, SCROLLS_SPLITS)
    path = find_file(data_dir, task, f"{split}.jsonl")
    labelled = split != "test"
    return read_json_lines(
        path, lambda row: parse(row, labelled=labelled), max_bad_rows=max_bad_rows
    )


def _parse_row(row: JsonObject, *, labelled: bool) -> list[ScrollsExample]:
    return [
        ScrollsExample(
            example_id=read_field(row, "id", str),
            pair_id=read_field(row, "pid", str),
            input_text=read_field(row, "input", str),
            output_text=read_field(row, "output", str) if labelled else None,
        )
    ]


def parse_pair(row: JsonObject, *, labelled: bool, classes: tuple[str, ...]) -> list[Example]:
    """The pair of one line; raises ``ValueError``, which begins with ``column NAME:``."""
    asked, gap, document = read_field(row, "input", str).partition("\n\n")
    if not gap:
        raise ValueError("column input: no empty line between what is asked and the document")
    label = read_class(row, "output", classes) if labelled else None
    return [Example(document.strip(), asked.strip(), label)]
