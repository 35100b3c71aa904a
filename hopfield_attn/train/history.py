"""The evaluations made while a run goes on, in evaluations.jsonl and at its end in result.json."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hopfield_attn.train.row_file import RowFile

HISTORY_FILE = "evaluations.jsonl"


class EvaluationHistory:
    """One JSON object an evaluation, in ``evaluations.jsonl``; what is not finite is null there."""

    def __init__(self, workdir: Path, *, start_step: int, writes: bool = True):
        """Opens the history; evaluations after ``start_step`` (a run that got further) are dropped.

        Args:
          workdir: the run folder.
          start_step: step at which this process goes on.
          writes: of several processes with one folder, one does; the others keep rows in memory.
        """
        self._file = RowFile(workdir / HISTORY_FILE, start_step=start_step, writes=writes)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Step and metrics by "set/metric" of every evaluation, in order."""
        return self._file.rows

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
        self._file.add(step, dict(scores))

    def close(self) -> None:
        """Writes what a full disk has left out, if there is room now."""
        with contextlib.suppress(OSError):
            self._file.flush()
