"""Reads the GLUE tasks from the Hugging Face hub, through the optional library ``datasets``."""

from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data.glue_tasks import Example, find_task
from hopfield_attn.data.hub import load_hub_rows
from hopfield_attn.data.json_fields import read_field, read_number

HUB_COLUMNS = {
    "cola": ("sentence", None),
    "sst2": ("sentence", None),
    "mrpc": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
    "wnli": ("sentence1", "sentence2"),
}
"""Task → columns of the two sentences in ``nyu-mll/glue``; the labels have our order."""


def read_glue_hub(repository: str, task: str, split: str, *, revision: str) -> list[Example]:
    """Reads one split of one task from a hub repository, downloading it on the first use.

    Args:
      repository: "nyu-mll/glue", or a copy of it with the same columns.
      task: a key of ``GLUE_TASKS``.
      split: one of the task's splits in our names: "dev", not "validation".
      revision: commit of the repository, 40 hexadecimal digits, so that a result names its data: a
        branch or a tag may be another set tomorrow.

    Returns:
      The rows in the order of the data set. Rows of a test split have label None.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: unknown task or split, a revision that is no commit, or a row without its texts
        or with a label out of range.
    """
    spec = find_task(task)
    check_choice(f"split of {task}", split, spec.splits)
    rows = load_hub_rows(repository, task, split.replace("dev", "validation"), revision=revision)
    is_test = split.startswith("test")
    columns = HUB_COLUMNS[task]
    examples = []
    for number, row in enumerate(rows):
        try:
            examples.append(_example(row, columns, task, is_test))
        except ValueError as error:
            raise ValueError(f"{task} row {number}: {error}") from None
    return examples


def _example(
    row: dict[str, Any], columns: tuple[str, str | None], task: str, is_test: bool
) -> Example:
    texts = [None if name is None else read_field(row, name, str).strip() for name in columns]
    sentence1, sentence2 = texts
    assert sentence1 is not None
    if is_test:
        return Example(sentence1, sentence2, None)
    label, num_labels = read_number(row, "label"), find_task(task).num_labels
    if num_labels > 1 and label not in range(num_labels):
        raise ValueError(f"label must be below {num_labels}, got {label}")
    return Example(sentence1, sentence2, label)
