"""A file with one JSON object a line, which a run appends to while it goes."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hopfield_attn.data.json_fields import column_name, read_field, read_number
from hopfield_attn.files import parse_object, without_nonfinite, write_text


class RowFile:
    """The rows of a run, each with its ``step``; what is not finite is null, as JSON has no NaN.

    A full disk ends no run: rows that found no room are kept, and written with the next one.

    Attributes:
      rows: what the file holds, in order.
    """

    def __init__(
        self, path: Path, *, start_step: int, needed: Sequence[str] = ("step",), writes: bool = True
    ):
        """Opens the file; rows after ``start_step`` (a run that got further) are dropped.

        Args:
          path: the file.
          start_step: step at which this process goes on.
          needed: values that every row has.
          writes: of several processes with one folder, one does; the others keep rows in memory.

        Raises:
          ValueError: as :func:`read_rows`.
        """
        self._path = path
        self._writes = writes
        found = read_rows(path, needed=needed)
        self.rows: list[dict[str, Any]] = [row for row in found if row["step"] <= start_step]
        self._is_behind = path.is_file()
        with contextlib.suppress(OSError):
            self.flush()

    def add(self, step: int, values: dict[str, Any]) -> None:
        """Appends a row; a row of this step, or of later ones, is written over."""
        while self.rows and self.rows[-1]["step"] >= step:
            self.rows.pop()
            self._is_behind = True
        self.rows.append(without_nonfinite({"step": step, **values}))
        with contextlib.suppress(OSError):
            if self._is_behind:
                self.flush()
            elif self._writes:
                self._append()

    def extend(self, step: int, values: dict[str, Any]) -> None:
        """Adds values to the newest row if that is of ``step``; else nothing happens."""
        if self.rows and self.rows[-1]["step"] == step:
            self.add(step, self.rows[-1] | values)

    def _append(self) -> None:
        # Until the line is whole.
        self._is_behind = True
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_as_line(self.rows[-1]))
        self._is_behind = False

    def flush(self) -> None:
        """Writes what a full disk has left out.

        Raises:
          OSError: there is no room now either.
        """
        if self._is_behind and self._writes:
            write_text(self._path, "".join(map(_as_line, self.rows)))
            self._is_behind = False


def _as_line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def read_rows(path: Path, *, needed: Sequence[str] = ("step",)) -> list[dict[str, Any]]:
    """The rows of a file with one JSON object a line; none where there is no file.

    A last line that a crash has cut off is left out.

    Args:
      path: the file.
      needed: values that every row has; ``step`` is a count.

    Raises:
      ValueError: ``FILE:LINE column NAME: reason`` for any other line that is no such row; all its
        values are numbers or null, and ``loss_hex`` is text.
    """
    if not path.is_file():
        return []
    rows = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                rows.append(_check_row(parse_object(line), needed))
        except ValueError as error:
            # Only what comes after the last line feed was cut off.
            if number < len(lines):
                raise ValueError(f"{path}:{number} {error}") from None
    return rows


def _check_row(row: dict[str, Any], needed: Sequence[str]) -> dict[str, Any]:
    if read_field(row, "step", int) < 0:
        raise ValueError(f"column step: expected a count, got {row['step']}")
    for name in (*needed, *row):
        if not name.isprintable():
            raise ValueError(f"column {column_name(name, inside='')}: no name of a value")
        if name == "loss_hex":
            read_field(row, name, str)
        elif row.get(name, 0) is not None:
            read_number(row, name)
    return row
