"""What a run writes while it goes: metrics.jsonl, metrics.csv, and a progress bar."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hopfield_attn.checks import printable
from hopfield_attn.files import write_text
from hopfield_attn.train.row_file import RowFile, read_rows
from hopfield_attn.train.tracking import Track

METRICS_FILE = "metrics.jsonl"
NEEDED = ("step", "loss")


def say(console: Console, text: str) -> None:
    """Prints a line as it is: no part of it is markup, and control characters are spelled out."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The logged steps of a run, in order; empty when there are none.

    Raises:
      ValueError: as :func:`read_rows`, and for a row without a loss.
    """
    return read_rows(workdir / METRICS_FILE, needed=NEEDED)


class Reporter(NamedTuple):
    """Who is training, and where to say so."""

    title: str
    console: Console

    def say(self, text: str) -> None:
        """Prints a line that starts with the title."""
        say(self.console, f"{self.title}: {text}")


class MetricsLog:
    """Appends one JSON object a logged step to ``metrics.jsonl``, and keeps a CSV of the same.

    Every row has ``step``, ``loss`` and ``loss_hex`` = ``float.hex(loss)``: losses of two runs are
    equal when the hex strings are. A value that is not finite is ``null``, as JSON has no NaN.
    """

    def __init__(
        self, workdir: Path, *, start_step: int, track: Track | None = None, writes: bool = True
    ):
        """Opens the log; lines after ``start_step`` (a run that got further) are dropped.

        Args:
          workdir: the run folder.
          start_step: step at which this process goes on.
          track: gets every row as well, see :mod:`hopfield_attn.train.tracking`.
          writes: of several processes with one folder, one does; the others keep rows in memory.
        """
        self._file = RowFile(
            workdir / METRICS_FILE, start_step=start_step, needed=NEEDED, writes=writes
        )
        self._csv = workdir / "metrics.csv"
        self._track = track
        self._writes = writes

    def write(self, step: int, loss: float, **values: float) -> None:
        """Appends one row."""
        self._file.add(step, {"loss": loss, "loss_hex": float(loss).hex(), **values})
        if self._track is not None:
            self._track(step, {"loss": loss, **values})

    def lacks_figures(self, step: int) -> bool:
        """Whether the newest row is of ``step`` and has no figures of layers."""
        row = self._file.rows[-1] if self._file.rows else {}
        return row.get("step") == step and not any("/" in name for name in row)

    def extend(self, step: int, figures: dict[str, float]) -> None:
        """Adds figures to the row of ``step``, the newest one."""
        self._file.extend(step, figures)
        if self._track is not None:
            self._track(step, figures)

    def write_csv(self) -> None:
        """Writes ``metrics.csv``, one line a row and one column a value."""
        rows = self._file.rows
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._csv, text.getvalue())

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes the CSV, and the rows that a full disk left out, however the run ended.

        Where there is no room for them either, the error that ended the run comes first.
        """
        try:
            self._file.flush()
            if self._writes:
                self.write_csv()
        except OSError:
            if kind is None:
                raise


class ProgressLog:
    """A bar with loss, tokens/s and remaining time; plain lines where there is no terminal."""

    def __init__(self, reporter: Reporter, *, num_steps: int, start_step: int):
        """Starts at ``start_step`` of ``num_steps``."""
        console = reporter.console
        self._reporter = reporter
        self._num_steps = num_steps
        self._lines_at = set(_tenths(num_steps))
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            reporter.title, total=num_steps, completed=start_step, values="compiling"
        )

    def say(self, text: str) -> None:
        """Prints a line."""
        self._reporter.say(text)

    def advance(self, step: int) -> None:
        """Moves the bar to ``step``."""
        self._progress.update(self._task, completed=step)

    def show(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Shows the figures of a logged step."""
        values = f"loss {loss:.4f}  {tokens_per_second:,.0f} tokens/s"
        self._progress.update(self._task, values=values)
        if not self._reporter.console.is_terminal and any(s <= step for s in self._lines_at):
            self._lines_at = {s for s in self._lines_at if s > step}
            self._reporter.say(f"step {step}/{self._num_steps}  {values}")

    def __enter__(self) -> "ProgressLog":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the bar where it is."""
        self._progress.stop()


def _tenths(num_steps: int) -> Iterable[int]:
    return (max(1, round(num_steps * k / 10)) for k in range(1, 11))
