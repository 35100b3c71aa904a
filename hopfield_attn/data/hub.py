"""Rows of data sets on the Hugging Face hub, through the optional library ``datasets``."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hopfield_attn.checks import check_count
from hopfield_attn.data.json_fields import JsonObject

HUB_PREFIX = "hub:"
"""Begins a ``data.dir`` that names a repository of the hub."""

_T = TypeVar("_T")


def load_hub_rows(repository: str, config: str | None, split: str, *, revision: str) -> Any:
    """One split of a repository, downloaded on the first use.

    Args:
      repository: "nyu-mll/glue".
      config: a configuration of it, or ``None``.
      split: its own name of the split.
      revision: commit of the repository, 40 hexadecimal digits, so that a result names its data: a
        branch or a tag may be another set tomorrow.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: the revision is no commit.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(
            f"data.revision must be the commit of {repository} to read, 40 hexadecimal digits (its "
            f"page on the hub lists them under History); got {revision!r}"
        )
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{HUB_PREFIX}{repository} needs the library datasets: "
            "install the extra with HOPFIELD_EXTRAS=hf ./scripts/train …"
        ) from error
    return datasets.load_dataset(repository, config, split=split, revision=revision)


def parse_rows(
    rows: Iterable[JsonObject],
    parse: Callable[[JsonObject], Sequence[_T]],
    *,
    source: str,
    max_bad_rows: int,
) -> tuple[list[_T], list[str]]:
    """Parses rows, and counts bad ones.

    Args:
      rows: the rows.
      parse: a row → its examples; its ``ValueError`` begins with ``column NAME:``.
      source: where they are from, for the lines.
      max_bad_rows: how many bad rows to leave out before one is an error.

    Returns:
      The examples, and a line ``SOURCE row NUMBER column NAME: reason`` for each row left out.

    Raises:
      ValueError: the bad row after ``max_bad_rows``, or no usable one.

    Example:
      >>> parse_rows([{"x": 1}], lambda row: [row["x"]], source="hub:mine train", max_bad_rows=0)
      ([1], [])
    """
    check_count(0, max_bad_rows=max_bad_rows)
    examples: list[_T] = []
    skipped: list[str] = []
    for number, row in enumerate(rows):
        try:
            examples.extend(parse(row))
        except ValueError as error:
            skipped.append(f"{source} row {number} {error}")
            if len(skipped) > max_bad_rows:
                raise ValueError(skipped[-1]) from None
    if not examples:
        raise ValueError(f"{source}: there is no usable row")
    return examples, skipped
