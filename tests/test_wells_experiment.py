"""Experiment 05: its smoke forms run, and it counts as its page says."""

import json

import numpy as np
import pytest
from rich.console import Console

from configs import synthetic
from configs.mlm import get_config
from hopfield_attn.analysis.phases import Phases
from hopfield_attn.train import main
from tests.scripts import load_script

FOLDER = "experiments/05_wells"


@pytest.fixture
def wells():
    return load_script(f"{FOLDER}/run.py")


def phases(counts):
    alphas = np.array([1.0, 2.0, 3.0, 4.0])
    return Phases("log_cosh", alphas, np.array([0.0, 1.0]), np.array(counts).T, alphas - 1.5)


def test_onset_is_the_first_strength_with_several_wells(wells):
    assert wells.onset(phases([[1, 1, 2, 3], [1, 1, 1, 1]]), 1.5) == 2.0
    assert wells.onset(phases([[1, 1, 1, 1], [1, 1, 1, 2]]), 1.5) is None


def test_counts_have_to_depend_on_the_strength_over_the_tie_alone(wells):
    # At λ = 1 the strengths are worth 0.5, 1, 1.5 and 2.
    assert wells.scaling_violations(phases([[1, 2, 2, 2], [1, 1, 2, 2]])) == 0
    assert wells.scaling_violations(phases([[1, 1, 3, 5], [1, 1, 1, 1]])) == 0
    assert wells.scaling_violations(phases([[1, 1, 1, 2], [1, 1, 1, 3]])) == 1


@pytest.mark.slow
def test_smoke_form_finds_no_second_well_in_a_certified_cell(wells, capsys, x64):
    assert wells.main(["random", "--smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("'certified_cells_with_several': 0" in line for line in lines)


def row_of(when, seed, alpha, wells):
    return {
        "when": when, "seed": seed, "alpha": alpha, "wells": wells, "regime": "convex",
        "is_certified": wells == 1, "certified_alpha": 6.0, "distance": abs(alpha) / 100,
    }  # fmt: skip


def test_table_has_heads_before_and_after_training(monkeypatch, tmp_path):
    collect = load_script(f"{FOLDER}/collect.py")
    rows = [row_of("before", seed, 0.0, 1) for seed in (0, 1)]
    rows += [row_of("after", 0, 0.5, 1), row_of("after", 1, -12.0, 3)]
    scores = {"0": {"test accuracy": 0.25}, "1": {"test accuracy": 0.75}}
    setting = {"heads": "log_cosh", "coupling": "pooled", "alpha_init": 0.0}
    values = {
        "mine": {**setting, "scores": scores, "rows": rows},
        "linear": {**setting, "heads": "identity", "scores": scores, "rows": []},
    }
    lines = collect.trained_table(values).splitlines()
    assert len(lines) == 3  # no row without heads
    assert lines[2].strip("| ").split(" | ") == [
        "mine: `log_cosh`, pooled", "0, 1", "2", "2 → 1", "1 → 3", "2 → 1",
        "0 → -12.000 to +0.500", "none → 12 at least, median 12 (1)", "0 → 0.50% to 12.00%",
    ]  # fmt: skip
    worth = collect.scores_table(values).splitlines()[2:]
    assert worth == [
        f"| {name} | test accuracy | 2 | 0.5000 ± 0.2500 |" for name in ("mine", "linear")
    ]
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(collect, "HERE", tmp_path)
    for name, value in values.items():
        (tmp_path / "results" / f"trained-{name}.json").write_text(json.dumps(value))
    random = {"rows": [{"coupling": "pooled", "onset": 1.5}]}
    (tmp_path / "results" / "random.json").write_text(json.dumps(random))
    assert "heads with one well: 1 of 2 trained from α = 0" in collect.ledger_row()


def test_wrong_arguments_print_how_it_is_called(wells, capsys):
    assert wells.main(["trained", "name"]) == 2
    assert "RUN_FOLDER" in capsys.readouterr().err


@pytest.mark.slow
def test_wells_of_generated_examples_are_counted_and_drawn(wells, tmp_path, monkeypatch):
    config = synthetic.get_config("task=recall,smoke")
    config.model.update(heads="log_cosh", coupling="pairwise", alpha_init=200.0)
    main.run(config, tmp_path / "run", console=Console(quiet=True))
    monkeypatch.setattr(wells, "HERE", tmp_path)
    monkeypatch.setattr(wells, "TEXTS", ("one", "two"))
    run = str(tmp_path / "run")
    assert wells.main(["trained", "large", run, run]) == 0
    found = json.loads((tmp_path / "results" / "trained-large.json").read_text())
    rows = found["rows"]
    num_heads = config.model.num_layers * config.model.num_heads
    assert len(rows) == 2 * 2 * 2 * num_heads  # runs, examples, before and after
    assert {row["text"] for row in rows} == {0, 1}
    several = [row for row in rows if row["wells"] > 1]
    assert several and all(row["alpha"] > row["certified_alpha"] for row in several)
    assert wells.main(["diagram", "large", run, "1", "2"]) == 0
    assert (tmp_path / "pictures" / "phases_large.png").stat().st_size > 10_000


@pytest.mark.slow
def test_wells_of_a_trained_run_are_counted(wells, tmp_path, monkeypatch):
    config = get_config("smoke")
    main.run(config, tmp_path / "run", console=Console(quiet=True))
    monkeypatch.setattr(wells, "HERE", tmp_path)
    monkeypatch.setattr(wells, "TEXTS", ("the head settles into a well",))
    assert wells.main(["trained", "smoke", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "results" / "trained-smoke.json").read_text())
    assert found["heads"] == config.model.heads and found["step"] == config.train.num_steps
    assert list(found["scores"]) == [str(config.seed)]
    rows = found["rows"]
    assert {row["family"] for row in rows} == {"quadratic"}
    before, after = ([row for row in rows if row["when"] == when] for when in ("before", "after"))
    assert len(before) == len(after) > 0
    assert {row["alpha"] for row in before} == {0.0} and {row["distance"] for row in before} == {
        0.0
    }
    assert 0.0 not in {row["alpha"] for row in after}
    for row in rows:
        # Hardly trained, α is close to 0: one well, and known before iterating.
        assert (row["wells"], row["regime"], row["is_certified"]) == (1, "convex", True)
        assert abs(row["alpha"]) < row["certified_alpha"]
