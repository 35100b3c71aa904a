"""The evaluations made while a run goes on, in evaluations.jsonl and at its end in result.json."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hopfield_attn.files import without_nonfinite, write_text
from hopfield_attn.train.logging import read_rows

HISTORY_FILE = "evaluations.jsonl"


class EvaluationHistory:
    """One JSON object an evaluation, in ``evaluations.jsonl``; what is not finite is null there.

    Attributes:
      rows: what the file holds, in order: each has ``step`` and the metrics by "set/metric".
    """

    def __init__(self, workdir: Path, *, start_step: int, writes: bool = True):
        """Opens the history; evaluations after ``start_step`` (a run that got further) are dropped.

        Args:
          workdir: the run folder.
          start_step: step at which this process goes on.
          writes: of several processes with one folder, one does; the others keep rows in memory.
        """
        self._path = workdir / HISTORY_FILE
        self._writes = writes
        self._is_behind = False
        found = read_rows(self._path)
        self.rows: list[dict[str, Any]] = [row for row in found if row["step"] <= start_step]
        if self._path.is_file():
            self._write()

    def has(self, step: int) -> bool:
        """Whether ``step`` was evaluated."""
        return any(row["step"] == step for row in self.rows)

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Appends one evaluation; the same step twice is written once.

        Args:
          step: updates that were made before it.
          scores: "set/metric" → value.
        """
        # A run that is stopped right after its evaluation makes it again when it goes on.
        self.rows = [row for row in self.rows if row["step"] != step]
        self.rows.append(without_nonfinite({"step": step, **scores}))
        # A full disk ends no run: the rows are kept, and written with the next one.
        with contextlib.suppress(OSError):
            self._write()

    def close(self) -> None:
        """Writes what a full disk has left out, if there is room now."""
        with contextlib.suppress(OSError):
            if self._is_behind:
                self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        self._is_behind = True
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._is_behind = False
