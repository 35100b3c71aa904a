"""A whole run: the same model with and without non-linear heads, and what is said of them."""

import json
import re
import sys

import pytest

from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.loop import TrainedModel
from hopfield_attn.train.main import baseline_config, check_is_last, print_summary, run
from hopfield_attn.train.state import ModelDefinition
from hopfield_attn.train.tasks import make_task


@pytest.fixture
def config(make_config):
    return make_config({"baseline_heads": "identity"})


@pytest.mark.core
def test_baseline_differs_in_its_heads_only(config):
    baseline = baseline_config(config)
    changed = baseline.to_dict()
    assert changed["model"].pop("heads") == "identity"
    assert changed.pop("baseline_heads") == ""
    expected = config.to_dict()
    expected["model"].pop("heads"), expected.pop("baseline_heads")
    assert changed == expected
    assert config.baseline_heads == "identity"  # the config itself is not touched


@pytest.mark.slow
def test_run_with_a_baseline_leaves_both_runs_and_the_comparison(
    make_config, train, config, tmp_path, quiet
):
    result = run(config, tmp_path, console=quiet)
    assert result == json.loads((tmp_path / "result.json").read_text())
    baseline = json.loads((tmp_path / "baseline" / "result.json").read_text())
    # The same parameters, trained on the same batches; other heads, hence other losses.
    assert baseline["num_parameters"] == result["num_parameters"]
    losses, others = read_metrics(tmp_path), read_metrics(tmp_path / "baseline")
    assert [row["step"] for row in losses] == [row["step"] for row in others]
    assert losses[0]["loss"] != others[0]["loss"]
    # With a baseline or without: the run itself is the same.
    alone = train(make_config(), tmp_path / "alone")
    assert [row["loss_hex"] for row in read_metrics(tmp_path / "alone")] == [
        row["loss_hex"] for row in losses
    ]
    assert alone.result["evaluations"] == result["evaluations"]
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    (head,) = json.loads((tmp_path / "head_energies.json").read_text())
    assert (head["layer"], head["head"], head["family"]) == (0, 1, "quadratic")
    assert len(head["energies"]) == len(head["residuals"]) == 3
    printed = quiet.file.getvalue()
    for text in ("Held-out results", "identity:1,quadratic:1", "chance accuracy: 0.3333"):
        assert text in printed
    for what in ("Picture", "Report"):
        assert f"{what}: {tmp_path}" in printed.replace("\n", "")
    assert "without a model: chance accuracy" in (tmp_path / "report.html").read_text()
    assert f"{result['num_parameters']:,}" in printed


@pytest.mark.core
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.heads": "identity:1,qadratic:1"}, "identity.*quadratic.*did you mean 'quadratic'"),
        ({"model.heads": "identity:1,quadratic:2"}, "names 3 heads; the layer has num_heads=2"),
        ({"baseline_heads": "identiy"}, "did you mean 'identity'"),
        ({"baseline_heads": "identity:3"}, "names 3 heads"),
        ({"model.heads": "identity:2", "baseline_heads": "identity"}, "nothing to compare"),
        ({"model.heads": "identity", "baseline_heads": "identity"}, "nothing to compare"),
        ({"train.eval_every": -1}, "train.eval_every must be >= 0; got -1"),
        ({"optimizer.decay": "lineal"}, "optimizer.decay must be one of .*did you mean 'linear'"),
        ({"optimizer.warmup_fraction": 1.0}, r"warmup_fraction must be in \[0, 1\); got 1.0"),
        ({"train.tracking": "wandbs"}, "train.tracking must be one of .*did you mean 'wandb'"),
        ({"model.coupling": "pooled "}, "coupling must be one of"),
        ({"model.width": 9}, "width"),
        ({"task": "mlm", "data.packing": "line"}, "data.packing must be one of"),
        ({"task": "mlm", "data.validation_fraction": 0.0}, "validation_fraction must be > 0; got"),
    ],
)
def test_config_that_cannot_be_is_refused_before_anything_is_done(
    changes, message, make_config, tmp_path, quiet
):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        run(make_config(changes), folder, console=quiet)
    assert not folder.exists()


@pytest.mark.core
def test_tracker_that_is_not_installed_is_missed_before_anything_is_done(
    make_config, tmp_path, quiet, monkeypatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    folder = tmp_path / "run"
    with pytest.raises(ModuleNotFoundError, match="HOPFIELD_EXTRAS=tracking"):
        run(make_config({"train.tracking": "wandb"}), folder, console=quiet)
    assert not folder.exists()


@pytest.mark.core
def test_parameters_that_are_not_those_of_the_result_are_not_compared():
    definition, result = ModelDefinition(None, {}), {"num_steps": 12}
    check_is_last(TrainedModel(definition, {}, result, 12), "mixed")
    with pytest.raises(ValueError, match="mixed: result.json is of step 12, .* is missing"):
        check_is_last(TrainedModel(definition, {}, result, 0), "mixed")
    with pytest.raises(ValueError, match="newest whole checkpoint is 8"):
        check_is_last(TrainedModel(definition, {}, result, 8), "mixed")


@pytest.mark.core
def test_summary_has_a_row_a_metric_and_a_column_a_run(make_config, tmp_path, quiet):
    task = make_task(make_config(), tmp_path)
    results = {
        name: {
            "evaluations": {"validation": {"accuracy": score}, "test": {"accuracy": score / 2}},
            "num_parameters": 12345,
            "tokens_per_second": speed,
        }
        for name, score, speed in (("mixed", 0.5, 6789.1), ("linear", 0.25, None))
    }
    definition = ModelDefinition(None, {})
    runs = {name: TrainedModel(definition, {}, result, 1) for name, result in results.items()}
    print_summary(quiet, task, runs)
    printed = quiet.file.getvalue()
    rows = [[cell.strip() for cell in re.split("[│┃]", line)] for line in printed.splitlines()]
    for row in (
        ["mixed", "linear"],
        ["validation accuracy", "0.5000", "0.2500"],
        ["test accuracy", "0.2500", "0.1250"],
        ["parameters", "12,345", "12,345"],
        ["tokens/s", "6,789", "–"],
    ):
        assert row in [[cell for cell in line if cell] for line in rows]
    for name, value in task.baselines.items():
        assert f"{name.replace('_', ' ')}: {value:.4f}" in printed


def test_unknown_task_is_refused_with_the_known_ones(make_config, tmp_path):
    with pytest.raises(
        ValueError, match="task must be one of 'mlm', 'glue', .*'synthetic'; got 'mml'"
    ):
        make_task(make_config({"task": "mml"}), tmp_path)
