"""What the experiments read from the folder of a finished run."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hopfield_attn.data.json_fields import read_field, read_number
from hopfield_attn.files import write_json
from hopfield_attn.train.run_files import read_result, read_run_config, read_versions
from hopfield_attn.train.sweep.runs import read_failures

Row = TypeVar("Row")
"""What a page keeps of a run."""


class FinishedRun(NamedTuple):
    """A run folder's files."""

    folder: Path
    config: dict[str, Any]
    result: dict[str, Any]
    versions: dict[str, Any]

    def metric(self, split: str, name: str) -> float:
        """A held-out metric.

        Raises:
          ValueError: the run has none of that name, or it was not finite.
        """
        try:
            scores = read_field(self.result["evaluations"], split, dict, inside="evaluations")
            return read_number(scores, name, inside=f"evaluations.{split}")
        except ValueError as error:
            raise ValueError(f"{self.folder / 'result.json'} {error}") from None

    @property
    def task(self) -> str:
        """The name of what it was trained on, as it may stand in a file's name.

        Raises:
          ValueError: it is no name.
        """
        config = self.config
        task: str = config["data"]["task"] if config["task"] == "glue" else config["task"]
        if not task.isidentifier():
            raise ValueError(f"{self.folder / 'config.json'} has a task that is no name: {task!r}")
        return task


def merge_runs(
    earlier: Iterable[Row], found: Iterable[Row], key: Callable[[Row], Any]
) -> list[Row]:
    """Runs collected before and those found now, which take their place, in the order of a key."""
    rows = {key(row): row for row in (*earlier, *found)}
    return [rows[place] for place in sorted(rows)]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The rows of a page's results/TASK.json; none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []


def add_runs(
    path: Path, found: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], Any]
) -> None:
    """Writes results/TASK.json anew, with what was found merged into it; no file without rows."""
    rows = merge_runs(read_runs(path), found, key)
    if rows:
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"task": path.stem, "runs": rows})


def failed_runs(runs: Path, task: str) -> dict[Path, str]:
    """Folder → why it has no result, of the runs that failed in the sweeps RUNS/TASK-*."""
    return {
        sweep / name: reason.partition(";")[0]
        for sweep in sorted(runs.glob(f"{task}-*"))
        for name, reason in read_failures(sweep).items()
        # One that was finished since, by the training command.
        if read_result(sweep / name) is None
    }


def named_failures(rows: Iterable[dict[str, Any]]) -> str:
    """Which seeds failed, and how, in a cell of a table; "" where none did."""
    failed = [row for row in rows if row.get("failure")]
    return ", ".join(f"seed {row['seed']}: {row['failure']}" for row in failed)


def read_finished(folder: Path) -> FinishedRun:
    """Reads config, result and versions.

    Raises:
      FileNotFoundError: the folder holds no run, or one that is not finished.
      ValueError: a file cannot be read.
    """
    config, result = read_run_config(folder), read_result(folder)
    if result is None:
        raise FileNotFoundError(f"{folder} holds no finished run: there is no result.json")
    return FinishedRun(folder, config, result, read_versions(folder))
