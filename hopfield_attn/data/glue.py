"""Reads the GLUE tasks from the TSV files of the official archives."""

import math
import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.data.folders import find_file
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import GLUE_TASKS, Example, GlueTask, find_task
from hopfield_attn.data.json_fields import column_name
from hopfield_attn.files import BYTE_ORDER_MARK

__all__ = [
    "GLUE_TASKS",
    "Example",
    "GlueTask",
    "encode_examples",
    "find_task",
    "read_glue",
]


def read_glue(
    data_dir: str | os.PathLike[str], task: str, split: str, *, max_bad_rows: int = 0
) -> tuple[list[Example], list[str]]:
    r"""Reads one split of one task.

    Args:
      data_dir: the folder that holds ``CoLA``, ``RTE`` and the others; may begin with ``~``.
      task: a key of ``GLUE_TASKS``.
      split: one of the task's ``splits``.
      max_bad_rows: how many bad rows to leave out before one is an error. The official QQP files
        hold a few that are cut in two.

    Returns:
      The good rows in the order of the file, sentences stripped, and one line
      ``FILE:LINE column NAME: reason`` for each row left out. Rows of a test split have label None.

    Raises:
      ValueError: unknown task or split, the bad row after ``max_bad_rows``, or no usable row.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Path(folder, "SST-2").mkdir()
      ...     _ = Path(folder, "SST-2", "dev.tsv").write_text("sentence\tlabel\ngreat \t1\n")
      ...     read_glue(folder, "sst2", "dev")
      ([Example(sentence1='great', sentence2=None, label=1)], [])
    """
    check_count(0, max_bad_rows=max_bad_rows)
    spec = find_task(task)
    check_choice(f"split of {task}", split, spec.splits)
    path = find_file(data_dir, spec.folder, f"{split}.tsv")
    examples: list[Example] = []
    skipped: list[str] = []
    for row in _read_rows(path, spec, labelled=not split.startswith("test")):
        if isinstance(row, Example):
            examples.append(row)
            continue
        skipped.append(row)
        if len(skipped) > max_bad_rows:
            raise ValueError(row)
    if not examples:
        raise ValueError(f"{path}:1 column {spec.sentence1}: the file has no usable row")
    return examples, skipped


@dataclass(frozen=True)
class _Layout:
    """The columns of a file, and where among them those are that an example is made of."""

    task: GlueTask
    columns: tuple[str, ...]
    used: dict[str, int]


def _read_rows(path: Path, spec: GlueTask, *, labelled: bool) -> Iterator[Example | str]:
    """Yields an example, or what is wrong, for each row that has a gold label."""
    # Only "\n" ends a row, and quotes mean nothing: the csv module's defaults merge rows here,
    # and str.splitlines would cut sentences at exotic separators.
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path}:1 column {spec.sentence1}: the file is empty")
        has_mark = file.seek(0) == 0 and file.read(3) == BYTE_ORDER_MARK
        file.seek(3 if has_mark else 0)
        has_header = spec.columns is None or not labelled
        columns = _read_header(file.readline(), path) if has_header else spec.columns
        layout = _make_layout(columns or (), spec, path, labelled=labelled)
        for line_number, line in enumerate(file, start=2 if has_header else 1):
            fields = _split_fields(line)
            if fields == [b""]:
                continue
            try:
                example = _parse_row(fields, layout)
            except ValueError as error:
                yield f"{path}:{line_number} {error}"
                continue
            if example is not None:
                yield example


def _split_fields(line: bytes) -> list[bytes]:
    return line.rstrip(b"\r\n").split(b"\t")


def _read_header(line: bytes, path: Path) -> tuple[str, ...]:
    try:
        return tuple(_decode(field, str(i)) for i, field in enumerate(_split_fields(line), start=1))
    except ValueError as error:
        raise ValueError(f"{path}:1 {error}") from None


def _make_layout(
    columns: tuple[str, ...], task: GlueTask, path: Path, *, labelled: bool
) -> _Layout:
    names = (task.sentence1, task.sentence2, task.label if labelled else None)
    used = [name for name in names if name is not None]
    for name in used:
        if name not in columns:
            raise ValueError(f"{path}:1 column {name}: not in the header {reprlib.repr(columns)}")
    return _Layout(task, columns, {name: columns.index(name) for name in used})


def _parse_row(fields: list[bytes], layout: _Layout) -> Example | None:
    if len(fields) != len(layout.columns):
        name = column_name(layout.columns[min(len(fields), len(layout.columns) - 1)], inside="")
        raise ValueError(
            f"column {name}: expected {len(layout.columns)} columns, got {len(fields)}"
        )
    texts = {name: _decode(fields[i], name) for name, i in layout.used.items()}
    task = layout.task
    label = texts.get(task.label)
    if label is not None and label == task.dropped_label:
        return None
    return Example(
        sentence1=texts[task.sentence1],
        sentence2=None if task.sentence2 is None else texts[task.sentence2],
        label=None if label is None else _parse_label(label, task),
    )


def _decode(field: bytes, name: str) -> str:
    try:
        return field.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"column {name}: not UTF-8 at byte {error.start} of the field ({error.reason})"
        ) from None


def _parse_label(text: str, task: GlueTask) -> int | float:
    if task.label_names is None:
        return _parse_score(text, task)
    if text not in task.file_labels:
        known = ", ".join(task.file_labels)
        raise ValueError(
            f"column {task.label}: unknown label {reprlib.repr(text)}, expected one of {known}"
        )
    return task.file_labels.index(text)


def _parse_score(text: str, task: GlueTask) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= task.max_score:
        raise ValueError(
            f"column {task.label}: expected a number in [0, {task.max_score:g}], "
            f"got {reprlib.repr(text)}"
        )
    return score
