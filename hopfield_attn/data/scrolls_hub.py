"""Reads tasks in the format of SCROLLS from the hub: its rows are the lines of the files."""

import functools

from hopfield_attn.checks import check_choice
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.hub import HUB_PREFIX, load_hub_rows, parse_rows
from hopfield_attn.data.scrolls import SCROLLS_CLASSES, SCROLLS_SPLITS, parse_pair


def read_scrolls_pairs_hub(
    repository: str, task: str, split: str, *, revision: str, max_bad_rows: int = 0
) -> tuple[list[Example], list[str]]:
    """Reads one split of a task whose outputs are classes, downloading it on the first use.

    Args:
      repository: "tau/scrolls", or a copy with the columns input and output.
      task: a key of ``SCROLLS_CLASSES``, the repository's configuration.
      split: "train", "validation" or "test".
      revision: as of :func:`hopfield_attn.data.hub.load_hub_rows`; of a repository that is a
        script, a commit of its branch with parquet files.
      max_bad_rows: how many bad rows to leave out before one is an error.

    Returns:
      As of :func:`hopfield_attn.data.scrolls.read_scrolls_pairs`.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: a revision that is no commit, unknown task or split, the bad row after
        ``max_bad_rows``, or no usable row.
    """
    check_choice("SCROLLS task with classes", task, SCROLLS_CLASSES)
    check_choice(f"split of {task}", split, SCROLLS_SPLITS)
    rows = load_hub_rows(repository, task, split, revision=revision)
    classes, labelled = SCROLLS_CLASSES[task], split != "test"
    return parse_rows(
        rows,
        functools.partial(parse_pair, classes=classes, labelled=labelled),
        source=f"{HUB_PREFIX}{repository} {task} {split}",
        max_bad_rows=max_bad_rows,
    )
