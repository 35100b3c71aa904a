"""Reads QuALITY from the hub: a row a question, with its article."""

from hopfield_attn.checks import check_choice
from hopfield_attn.data.examples import ChoiceQuestion
from hopfield_attn.data.hub import HUB_PREFIX, load_hub_rows, parse_rows
from hopfield_attn.data.json_fields import JsonObject
from hopfield_attn.data.quality import QUALITY_SPLITS, parse_article


def read_quality_hub(
    repository: str, split: str, *, revision: str, max_bad_rows: int = 0
) -> tuple[list[ChoiceQuestion], list[str]]:
    """Reads one split from a hub repository, downloading it on the first use.

    Args:
      repository: "tasksource/QuALITY", or another with the columns article, question, options,
        gold_label (from 1) and difficult.
      split: "train", "dev" or "test", if it has that.
      revision: as of :func:`hopfield_attn.data.hub.load_hub_rows`.
      max_bad_rows: how many bad rows to leave out before one is an error.

    Returns:
      As of :func:`hopfield_attn.data.quality.read_quality`.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: a revision that is no commit, unknown split, the bad row after ``max_bad_rows``,
        or no usable row.
    """
    check_choice("split of quality", split, QUALITY_SPLITS)
    rows = load_hub_rows(repository, None, split.replace("dev", "validation"), revision=revision)

    def parse(row: JsonObject) -> list[ChoiceQuestion]:
        article = {name: row[name] for name in ("article",) if name in row}
        return parse_article(article | {"questions": [row]}, labelled=split != "test")

    source = f"{HUB_PREFIX}{repository} {split}"
    return parse_rows(rows, parse, source=source, max_bad_rows=max_bad_rows)
