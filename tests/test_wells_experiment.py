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
