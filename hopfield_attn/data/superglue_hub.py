"""Reads the SuperGLUE tasks from the hub: its rows as rows of the official files, then as those."""

import itertools
import reprlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data.hub import HUB_PREFIX, load_hub_rows, parse_rows
from hopfield_attn.data.json_fields import JsonObject, read_field
from hopfield_attn.data.superglue_rows import PARSERS
from hopfield_attn.data.superglue_tasks import SPLITS, SUPERGLUE_TASKS, SuperGlueTask


def read_superglue_hub(
    repository: str, task: str, split: str, *, revision: str, max_bad_rows: int = 0
) -> tuple[list[Any], list[str]]:
    """Reads one split of one task from a hub repository, downloading it on the first use.

    Args:
      repository: "aps/super_glue", or a copy of it with the same columns.
      task: a key of ``SUPERGLUE_TASKS``.
      split: "train", "val" or "test".
      revision: as of :func:`hopfield_attn.data.hub.load_hub_rows`.
      max_bad_rows: how many bad rows to leave out before one is an error.

    Returns:
      As of :func:`hopfield_attn.data.superglue.read_superglue`.

    Raises:
      ModuleNotFoundError: the extra ``hf`` is not installed.
      ValueError: a revision that is no commit, unknown task or split, the bad row after
        ``max_bad_rows``, or no usable row.
    """
    check_choice("SuperGLUE task", task, SUPERGLUE_TASKS)
    check_choice(f"split of {task}", split, SPLITS)
    spec, labelled = SUPERGLUE_TASKS[task], split != "test"
    found = load_hub_rows(repository, task, split.replace("val", "validation"), revision=revision)
    rows = _multirc_rows(found) if task == "multirc" else found
    convert = _CONVERTERS.get(task, _flat_row)

    def parse(row: JsonObject) -> list[Any]:
        return PARSERS[task](convert(row, spec, labelled), task=spec, labelled=labelled)

    source = f"{HUB_PREFIX}{repository} {task} {split}"
    return parse_rows(rows, parse, source=source, max_bad_rows=max_bad_rows)


def _file_label(row: JsonObject, task: SuperGlueTask) -> Any:
    number = read_field(row, "label", int)
    if number not in range(len(task.file_labels)):
        raise ValueError(f"column label: must be below {len(task.file_labels)}, got {number}")
    return task.file_labels[number]


def _flat_row(row: JsonObject, task: SuperGlueTask, labelled: bool) -> JsonObject:
    """BoolQ, CB, COPA, RTE, WiC: the columns of the files, and a label as a number."""
    return {**row, "label": _file_label(row, task)} if labelled else row


def _wsc_row(row: JsonObject, task: SuperGlueTask, labelled: bool) -> JsonObject:
    names = (f"span{k}_{part}" for k in (1, 2) for part in ("index", "text"))
    target = {name: row[name] for name in names if name in row}
    return {**_flat_row(row, task, labelled), "target": target}


def _record_row(row: JsonObject, task: SuperGlueTask, labelled: bool) -> JsonObject:
    spans = read_field(row, "entity_spans", dict)
    starts, ends = (read_field(spans, name, list, inside="entity_spans") for name in _ENDS)
    # In the files an end is that of the last character.
    if len(starts) != len(ends) or any(type(end) is not int for end in ends):
        raise ValueError(
            "column entity_spans: expected a number in end for each in start, got "
            f"{reprlib.repr(starts)} and {reprlib.repr(ends)}"
        )
    entities = [{"start": start, "end": end - 1} for start, end in zip(starts, ends, strict=True)]
    answers = [{"text": text} for text in read_field(row, "answers", list)]
    query = {"query": row.get("query"), "answers": answers}
    return {"passage": {"text": row.get("passage"), "entities": entities}, "qas": [query]}


_ENDS = ("start", "end")


def _multirc_rows(rows: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """One row a question, of the hub's rows, one an answer, in order."""

    def question_of(row: JsonObject) -> object:
        try:
            return _question(row)
        except ValueError:
            return object()  # a question of its own, whose parser says what is wrong

    for _, group in itertools.groupby(rows, question_of):
        yield {"rows": list(group)}


def _question(row: JsonObject) -> tuple[int, int]:
    index = read_field(row, "idx", dict)
    paragraph, question = (
        read_field(index, name, int, inside="idx") for name in ("paragraph", "question")
    )
    return paragraph, question


def _multirc_row(row: JsonObject, task: SuperGlueTask, labelled: bool) -> JsonObject:
    answers = [
        {"text": answer.get("answer")} | ({"label": _file_label(answer, task)} if labelled else {})
        for answer in row["rows"]
    ]
    first = row["rows"][0]
    _question(first)
    question = {"question": first.get("question"), "answers": answers}
    return {"passage": {"text": first.get("paragraph"), "questions": [question]}}


_CONVERTERS: dict[str, Callable[[JsonObject, SuperGlueTask, bool], JsonObject]] = {
    "multirc": _multirc_row,
    "record": _record_row,
    "wsc": _wsc_row,
}
"""Task → (row of the hub, task, labelled) → row of its file; the others differ in labels alone."""
