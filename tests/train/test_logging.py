import csv
import io
import json

import pytest
from rich.console import Console

from hopfield_attn.files import write_json
from hopfield_attn.train.logging import (
    METRICS_FILE,
    MetricsLog,
    ProgressLog,
    Reporter,
    read_metrics,
)

pytestmark = pytest.mark.core

AWKWARD = (0.1, 1 / 3, 2.0**-149, 1e300, 12345678.9)


def write_rows(workdir, steps, *, start_step=0):
    with MetricsLog(workdir, start_step=start_step) as log:
        for step in steps:
            log.write(step, AWKWARD[step % len(AWKWARD)] + step, grad_norm=step / 7)


def test_loss_hex_is_the_loss_exactly(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as log:
        for step, loss in enumerate(AWKWARD, start=1):
            log.write(step, loss)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for row, loss in zip(rows, AWKWARD, strict=True):
        assert row["loss"] == loss
        assert float.fromhex(row["loss_hex"]) == loss


def test_csv_has_the_rows_and_columns_of_the_jsonl(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as log:
        log.write(1, 0.1, grad_norm=2.5)
        log.write(2, 1 / 3, grad_norm=1.5, learning_rate=1e-3)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["step", "loss", "loss_hex", "grad_norm", "learning_rate"]
    rows = read_metrics(tmp_path)
    assert [float(line["loss"]) for line in table] == [row["loss"] for row in rows]
    assert [line["loss_hex"] for line in table] == [row["loss_hex"] for row in rows]
    assert [line["learning_rate"] for line in table] == ["", "0.001"]


def test_csv_is_written_although_the_run_fails(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), MetricsLog(tmp_path, start_step=0) as log:
        log.write(1, 0.5)
        raise RuntimeError("boom")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].startswith("1,0.5,")


def test_line_cut_off_by_a_crash_is_left_out_and_written_over(tmp_path):
    write_rows(tmp_path, [1, 2, 3])
    path = tmp_path / METRICS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]
    write_rows(tmp_path, [3], start_step=2)
    assert path.read_bytes() == whole


def test_lines_after_the_step_a_run_starts_from_are_dropped(tmp_path):
    write_rows(tmp_path, range(1, 7))
    whole = (tmp_path / METRICS_FILE).read_bytes()
    with MetricsLog(tmp_path, start_step=4):
        assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4]
    write_rows(tmp_path, [5, 6], start_step=4)
    assert (tmp_path / METRICS_FILE).read_bytes() == whole


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as log:
        log.write(1, 0.5)
        assert [row["loss"] for row in read_metrics(tmp_path)] == [0.5]


def test_folder_without_metrics_has_no_rows(tmp_path):
    assert read_metrics(tmp_path) == []
    write_rows(tmp_path, [])
    assert read_metrics(tmp_path) == []


def test_json_file_that_cannot_be_written_keeps_the_old_one(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def progress_lines(*, num_steps, start_step=0, log_every=1, terminal=False) -> list[str]:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    progress = ProgressLog(Reporter("a title", console), num_steps=num_steps, start_step=start_step)
    with progress:
        for step in range(start_step + 1, num_steps + 1):
            progress.advance(step)
            if step % log_every == 0:
                progress.show(step, 1.25, 34567.8)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("num_steps", [10, 12, 500, 1003])
def test_progress_is_ten_lines_where_there_is_no_terminal(num_steps):
    lines = progress_lines(num_steps=num_steps)
    assert len(lines) == 10
    assert lines[-1] == f"a title: step {num_steps}/{num_steps}  loss 1.2500  34,568 tokens/s"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"num_steps": 3}, 3),
        ({"num_steps": 1}, 1),
        ({"num_steps": 500, "log_every": 200}, 2),  # never more than what is logged
        ({"num_steps": 500, "start_step": 250}, 6),  # one at once, then the tenths that are left
    ],
)
def test_progress_prints_no_more_than_there_is_to_say(options, count):
    assert len(progress_lines(**options)) == count


def test_terminal_gets_a_bar_and_no_lines():
    text = "\n".join(progress_lines(num_steps=20, terminal=True))
    assert "a title" in text
    assert "20/20" in text
    assert "a title: step" not in text
