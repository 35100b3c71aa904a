"""Reads SQuAD 1.1 and 2.0 from the hub."""

from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data.hub import HUB_PREFIX, load_hub_rows, parse_rows
from hopfield_attn.data.json_fields import JsonObject, read_field
from hopfield_attn.data.squad import SQUAD_VERSIONS, SpanQuestion, parse_question


def read_squad_hub(
    repository: str, version: str, split: str, *, revision: str, max_bad_rows: int = 0
) -> tuple[list[SpanQuestion], list[str]]:
    """Reads one split from a hub repository, downloading it on the first use.

    Args:
      repository: "rajpurkar/squad", "rajpurkar/squad_v2", or a copy with the same columns.
      version: a key of ``SQUAD_VERSIONS``.
      split: "train" or "dev".
      revision: as of :func:`hopfield_attn.data.hub.load_hub_rows`.
      max_bad_rows: how many bad rows to leave out before one is an error.

    Returns:
      As of :func:`hopfield_attn.data.squad.read_squad`.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: a revision that is no commit, unknown version or split, the bad row after
        ``max_bad_rows``, or no usable row.
    """
    check_choice("SQuAD version", version, SQUAD_VERSIONS)
    spec = SQUAD_VERSIONS[version]
    check_choice(f"split of {version}", split, spec.files)
    rows = load_hub_rows(repository, None, split.replace("dev", "validation"), revision=revision)

    def parse(row: JsonObject) -> list[SpanQuestion]:
        context = read_field(row, "context", str)
        entry = _file_entry(row, allows_no_answer=spec.allows_no_answer)
        return [parse_question(entry, context, "", allows_no_answer=spec.allows_no_answer)]

    source = f"{HUB_PREFIX}{repository} {split}"
    return parse_rows(rows, parse, source=source, max_bad_rows=max_bad_rows)


def _file_entry(row: JsonObject, *, allows_no_answer: bool) -> dict[str, Any]:
    """The question as the files have it: an object an answer, and whether it has any."""
    found = read_field(row, "answers", dict)
    texts, starts = (read_field(found, n, list, inside="answers") for n in ("text", "answer_start"))
    answers = [
        {"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)
    ]
    entry = {name: row[name] for name in ("id", "question") if name in row}
    return entry | {"answers": answers, "is_impossible": allows_no_answer and not answers}
