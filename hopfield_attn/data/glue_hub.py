"""Reads the GLUE tasks from the Hugging Face hub, through the optional library ``datasets``."""

from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data.glue_tasks import Example, find_task

HUB_PREFIX = "hub:"

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


def read_glue_hub(
    repository: str, task: str, split: str, *, revision: str | None = None
) -> list[Example]:
    """Reads one split of one task from a hub repository, downloading it on the first use.

    Args:
      repository: "nyu-mll/glue", or a copy of it with the same columns.
      task: a key of ``GLUE_TASKS``.
      split: one of the task's splits in our names: "dev", not "validation".
      revision: commit of the repository, so that a result names its data; ``None`` is the newest.

    Returns:
      The rows in the order of the data set. Rows of a test split have label None.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: unknown task or split, or a label out of range.
    """
    spec = find_task(task)
    check_choice(f"split of {task}", split, spec.splits)
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{HUB_PREFIX}{repository} needs the library datasets: "
            "install the extra with HOPFIELD_EXTRAS=hf ./scripts/train …"
        ) from error
    rows = datasets.load_dataset(
        repository, task, split=split.replace("dev", "validation"), revision=revision
    )
    is_test = split.startswith("test")
    columns = HUB_COLUMNS[task]
    return [_example(row, columns, task, is_test, number) for number, row in enumerate(rows)]


def _example(
    row: dict[str, Any], columns: tuple[str, str | None], task: str, is_test: bool, number: int
) -> Example:
    first, second = columns
    sentence2 = None if second is None else row[second].strip()
    if is_test:
        return Example(row[first].strip(), sentence2, None)
    label, num_labels = row["label"], find_task(task).num_labels
    if num_labels > 1 and label not in range(num_labels):
        raise ValueError(f"{task} row {number}: label must be below {num_labels}, got {label}")
    return Example(row[first].strip(), sentence2, label)
