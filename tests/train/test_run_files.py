"""The files of a run folder: what is damaged is named, what was not finite is null."""

import json
import math

import pytest

from hopfield_attn.files import read_json
from hopfield_attn.train import program
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.logging import METRICS_FILE, MetricsLog, read_metrics
from hopfield_attn.train.main import print_summary
from hopfield_attn.train.row_file import read_rows
from hopfield_attn.train.run_files import read_result
from hopfield_attn.train.sweep.summary import SweepRun, summarise
from hopfield_attn.train.tasks import make_task
from tests.train.test_loop import linear_loss


@pytest.mark.core
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "column 1: not JSON (Expecting value)"),
        (b'{"a": 1,\n "b": }', "line 2 column 7: not JSON (Expecting value)"),
        (b'{"a": "\xff"}', "column 8: not UTF-8 at this byte (invalid start byte)"),
        (b'{"a": NaN}', "column 1: JSON that cannot be read (NaN is no JSON)"),
        (b"[1]", "column 1: expected a JSON object, got a list"),
        (b'{"a": "\\ud800"}', "column 1: JSON with half of a surrogate pair"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "column 1: JSON that is nested deeper than 32"),
    ],
)
def test_a_file_that_is_no_json_object_is_named_with_the_place(content, reason, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_json(path)
    assert str(caught.value) == f"{path} {reason}"
    path.write_bytes(b'{"a":' * 32 + b"1" + b"}" * 32)
    assert list(read_json(path)) == ["a"]
    with pytest.raises(FileNotFoundError, match="none.json: no such file"):
        read_json(tmp_path / "none.json")


@pytest.mark.core
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"step": 2, "lo', "column 13: not JSON"),
        ("3", "column 1: expected a JSON object, got a int"),
        ('{"loss": 0.5}', "column step: missing"),
        ('{"step": -1, "loss": 0.5}', "column step: expected a count, got -1"),
        ('{"step": 2}', "column loss: missing"),
        ('{"step": 2, "loss": "0.5"}', "column loss: expected a finite number, got '0.5'"),
        ('{"step": 2, "loss": 1e999}', "column loss: expected a finite number, got inf"),
        ('{"step": 2, "loss": NaN}', "column 1: JSON that cannot be read"),
    ],
)
def test_a_damaged_row_among_others_is_named_and_not_dropped_with_those_after_it(
    line, reason, tmp_path
):
    path = tmp_path / METRICS_FILE
    good = '{"step": 1, "loss": 0.5}\n'
    path.write_text(f"{good}{line}\n{good}")
    with pytest.raises(ValueError) as caught:
        read_metrics(tmp_path)
    assert str(caught.value).startswith(f"{path}:2 {reason}")
    before = path.read_text()
    with pytest.raises(ValueError), MetricsLog(tmp_path, start_step=1):
        pass
    assert path.read_text() == before
    # Without its line feed it is what a crash has left.
    path.write_text(f"{good}{line}")
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]


@pytest.mark.core
def test_an_evaluation_that_is_not_finite_is_null_in_its_file(tmp_path):
    history = EvaluationHistory(tmp_path, start_step=0)
    history.add(2, {"validation/loss": math.inf, "validation/accuracy": 0.5})
    expected = [{"step": 2, "validation/loss": None, "validation/accuracy": 0.5}]
    assert history.rows == read_rows(tmp_path / "evaluations.jsonl") == expected


def test_a_result_that_is_not_finite_is_null_said_and_left_out_of_means(
    make_config, train, tmp_path, monkeypatch, quiet
):
    config = make_config({"model.heads": "identity"})
    monkeypatch.setattr(program, "evaluate", lambda *_, **__: {"accuracy": math.nan, "loss": 0.5})
    model = train(config, tmp_path, loss_fn=linear_loss)
    json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    found = read_result(tmp_path)
    assert found == model.result
    assert found["evaluations"]["test"] == {"accuracy": None, "loss": 0.5}
    print_summary(quiet, make_task(config, tmp_path), {"identity": model})
    assert "not finite" in quiet.file.getvalue()
    (setting,) = summarise([SweepRun(name="a", setting={}, seed=0, result=found)])["settings"]
    assert setting["metrics"].keys() == {"validation loss", "test loss"}
