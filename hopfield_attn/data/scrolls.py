"""Reads tasks in the format of SCROLLS (Shaham et al. 2022): a long input, and a text as output."""

import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

from hopfield_attn.checks import check_choice
from hopfield_attn.data.folders import find_file
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.json_fields import JsonObject, read_field
from hopfield_attn.data.json_lines import read_json_lines

SCROLLS_SPLITS = ("train", "validation", "test")

SCROLLS_CLASSES = {"contract_nli": ("Entailment", "Contradiction", "Not mentioned")}
"""Task whose outputs are classes → how it spells them, by class id."""


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
    check_choice(f"split of {task}", split, SCROLLS_SPLITS)
    path = find_file(data_dir, task, f"{split}.jsonl")
    parse = functools.partial(_parse_row, labelled=split != "test")
    return read_json_lines(path, parse, max_bad_rows=max_bad_rows)


def scrolls_classification(examples: Sequence[ScrollsExample], task: str) -> list[Example]:
    r"""Examples whose outputs are classes as pairs: the document, and what is asked of it.

    Args:
      examples: examples of the task.
      task: a key of ``SCROLLS_CLASSES``.

    Returns:
      Pairs with the document first; inputs have it after the first empty line.

    Raises:
      ValueError: unknown task, or an output that is no class of it.

    Example:
      >>> example = ScrollsExample("7", "7_0", "It rains.\n\nToday\n\nit rains.", "Entailment")
      >>> scrolls_classification([example], "contract_nli")
      [Example(sentence1='Today\n\nit rains.', sentence2='It rains.', label=0)]
    """
    check_choice("SCROLLS task with classes", task, SCROLLS_CLASSES)
    pairs = []
    for example in examples:
        asked, _, document = example.input_text.partition("\n\n")
        label = None
        if example.output_text is not None:
            classes = SCROLLS_CLASSES[task]
            check_choice(f"output of {example.pair_id}", example.output_text, classes)
            label = classes.index(example.output_text)
        pairs.append(Example(document.strip(), asked.strip(), label))
    return pairs


def _parse_row(row: JsonObject, *, labelled: bool) -> list[ScrollsExample]:
    return [
        ScrollsExample(
            example_id=read_field(row, "id", str),
            pair_id=read_field(row, "pid", str),
            input_text=read_field(row, "input", str),
            output_text=read_field(row, "output", str) if labelled else None,
        )
    ]
