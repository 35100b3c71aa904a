"""Experiment 03: what it reads from runs, and what it makes of the figures."""

import io
import json
import sys
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from configs.synthetic import get_config
from experiments import curves, seeds
from experiments.finished_run import failed_runs
from hopfield_attn.train import main
from tests.scripts import load_script

FOLDER = "experiments/03_attention_patterns"
collect = load_script(f"{FOLDER}/collect.py")


def made_up(heads, coupling, seed, accuracies, *, speed=10.0):
    return {
        "task": "recall",
        "heads": heads,
        "coupling": coupling,
        "num_steps": 2 if coupling else 0,
        "seed": seed,
        "batch_size": 64,
        "test_accuracy": accuracies[-1],
        "validation_accuracies": [[100 * (k + 1), a] for k, a in enumerate(accuracies)],
        "steps_per_second": speed,
        "baselines": {"chance_accuracy": 0.125, "best_accuracy": 1.0},
        "difficulty": "RecallTask()",
        "masses": [[0.1, 0.2], [0.3, 0.6]],
        "plain_masses": [[0.1, 0.5], [0.3, 0.4]],
        "uniform_mass": 0.15,
    }


RUNS = [made_up("identity", "", s, [0.2, 0.4, 0.95 + s / 100]) for s in range(3)] + [
    made_up("quadratic", "pairwise", s, [0.3, 0.92, 0.97 + 0.0101 * s], speed=5.0) for s in range(3)
]


def test_level_is_reached_where_accuracy_stays_above_it():
    run = made_up("identity", "", 0, [0.5, 0.95, 0.8, 0.91, 0.99])
    assert collect.steps_to_level(run) == 400
    assert collect.steps_to_level(made_up("identity", "", 0, [0.95, 0.8])) is None
    # 90 % of what is possible.
    noisy = made_up("identity", "", 0, [0.6, 0.75]) | {"baselines": {"best_accuracy": 0.8}}
    assert collect.steps_to_level(noisy) == 200


def test_accuracy_at_a_time_is_that_of_the_last_evaluation_before_it():
    run = made_up("identity", "", 0, [0.2, 0.4, 0.9])
    steps = (90, 100, 290, 300, 990)
    assert [curves.accuracy_at(run, n) for n in steps] == [0.125, 0.2, 0.4, 0.9, 0.9]


def test_equal_time_goes_by_the_median_speeds_of_both_settings():
    curve = [0.2, 0.4, 0.6, 0.8]
    linear = [made_up("identity", "", s, curve, speed=v) for s, v in enumerate((1.0, 10.0, 10.0))]
    slower = [made_up("square", "pooled", s, curve, speed=v) for s, v in enumerate((5.0, 5.0, 9.0))]
    # 400 steps of linear heads are 200 of these, though one of them was disturbed.
    assert curves.at_equal_time(slower, linear) == [0.4, 0.4, 0.4]
    untimed = made_up("square", "pooled", 0, curve, speed=0.0)
    assert curves.at_equal_time([untimed], linear) == []
    assert curves.at_equal_time([*slower, untimed], linear) == [0.4] * 4


def test_a_run_that_failed_counts_as_a_guess():
    linear = {s: made_up("identity", "", s, [0.9]) for s in range(2)}
    runs = {0: made_up("square", "pooled", 0, [0.8]), 1: {"seed": 1, "failure": "exit code 1"}}
    assert curves.differences(runs, linear) == pytest.approx([-0.1, 0.125 - 0.9])
    assert curves.differences({1: runs[1]}, linear) == pytest.approx([0.125 - 0.9])
    assert curves.differences({1: runs[1]}, {1: runs[1]}) == []


def test_failed_runs_are_named_and_no_figure_of_them_is_used(tmp_path):
    failed = {
        key: value
        for key, value in made_up("exponential", "pairwise", 1, [0.5]).items()
        if key in ("task", "heads", "coupling", "num_steps", "seed", "batch_size")
    } | {"failure": "exit code 1, loss not finite"}
    alone = failed | {"heads": "square", "seed": 0}
    rows = collect.table("recall", [*RUNS, failed, alone]).splitlines()
    named = [row for row in rows if "exit code 1" in row]
    assert named[0].startswith("| exponential, pairwise, T = 2 | 0 | – |")
    assert named[0].endswith("| seed 1: exit code 1, loss not finite |")
    assert len(named) == 2 and {row.count("|") for row in rows if row.startswith("|")} == {
        len(collect.COLUMNS) + 1
    }
    assert collect.table("recall", [failed]).endswith("No run is finished.")
    sweep = tmp_path / "recall-nonlinear" / "sweep.json"
    sweep.parent.mkdir()
    missing = [
        {"name": "a", "reason": "exit code 1, loss not finite; try less"},
        {"name": "b", "reason": "not started"},
    ]
    sweep.write_text(json.dumps({"missing": missing}))
    assert failed_runs(tmp_path, "recall") == {sweep.parent / "a": "exit code 1, loss not finite"}


@pytest.mark.parametrize("speed", [43.51, 17.3, 29.97, 31.6, 1 / 3])
def test_a_linear_run_has_all_its_evaluations_in_its_own_time(speed):
    for steps in range(2, 40):
        run = made_up("identity", "", 0, [0.1] * (steps - 1) + [0.9], speed=speed)
        assert curves.at_equal_time([run], [run]) == [0.9]


def test_holm_stops_at_the_first_comparison_that_does_not_count():
    # 5 % / 3, / 2 and / 1, from the smallest up.
    assert seeds.holm([0.01, 0.04, 0.024]) == [True, True, True]
    assert seeds.holm([0.02, 0.04, 0.03]) == [False, False, False]
    assert seeds.holm([0.04, 0.001, 0.03]) == [False, True, False]
    # Those that are not made yet are counted.
    assert seeds.holm([0.01, 0.02], planned=5) == [True, False]


def test_p_value_is_that_of_students_test():
    # Mean 2, standard error 1/√3, two degrees of freedom.
    t = 2 * np.sqrt(3)
    assert seeds.p_value([1.0, 2.0, 3.0]) == pytest.approx(1 - t / np.sqrt(t**2 + 2), rel=1e-6)
    assert [seeds.p_value(d) for d in ([0.5], [0.0, 0.0], [0.1, 0.3 - 0.2, 0.1])] == [
        1.0,
        1.0,
        0.25,
    ]


def test_table_has_every_figure_of_a_setting(tmp_path):
    linear, quadratic = collect.table("recall", RUNS).splitlines()[4:6]
    assert linear.split(" | ")[1:4] == ["3", "0.960 ± 0.006", ""]
    cells = [cell.strip(" |") for cell in quadratic.split(" | ")]
    assert cells[0] == "quadratic, pairwise, T = 2"
    assert cells[3] == "+0.020 ± 0.000 *"
    # Half as fast: of its 300 steps the first 100 in the time of the linear run.
    assert cells[4] == "0.300 ± 0.000"
    assert cells[5:9] == ["3", "12,800", "40.0", "5.0"]
    assert cells[9:12] == ["0.600 ± 0.000", "0.300 ± 0.000", "0.500 ± 0.000"]
    collect.draw({"recall": RUNS}, tmp_path / "accuracy.png")
    assert matplotlib.image.imread(tmp_path / "accuracy.png").shape[1] > 600


def test_a_difference_counts_among_all_that_are_planned():
    # 0.040, 0.031 and 0.022: p is 0.03, below 5 % and not below 5 % / 30.
    weaker = [made_up("quadratic", "pairwise", s, [0.3, 0.92, 0.99 + s / 1000]) for s in range(3)]
    row = collect.table("recall", [*RUNS[:3], *weaker]).splitlines()[5]
    assert " | +0.031 ± 0.005 | " in row
    assert seeds.p_value([0.04, 0.031, 0.022]) == pytest.approx(0.0273, abs=1e-3)


def test_ledger_names_how_many_settings_count(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "recall.json").write_text(json.dumps(RUNS))
    # Differences of 0.0200, 0.0201 and 0.0202: p is far below 5 % / 30.
    assert collect.ledger_row().endswith("linear heads: recall 1 better, 0 worse of 1 (6 runs)")


def test_runs_are_added_to_those_collected_before(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "recall-linear" / "seed=1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    monkeypatch.setattr(collect, "HERE", tmp_path)
    found = made_up("identity", "", 1, [0.5])
    readers = SimpleNamespace(read_run=lambda path: found, read_failed=None)
    monkeypatch.setitem(sys.modules, "measure", readers)
    (tmp_path / "results").mkdir()
    earlier = [made_up("identity", "", seed, [0.25]) for seed in (1, 2)]
    (tmp_path / "results" / "recall.json").write_text(json.dumps(earlier))
    collect.collect(tmp_path / "runs")
    rows = collect.read_results()["recall"]
    assert [(row["seed"], row["test_accuracy"]) for row in rows] == [(1, 0.5), (2, 0.25)]


@pytest.mark.slow
def test_smoke_run_is_read(tmp_path):
    config = get_config("task=retrieval,smoke")
    config.model.heads = "quadratic"
    config.model.alpha_init = 0.5
    main.run(config, tmp_path, console=Console(file=io.StringIO()))
    run = load_script(f"{FOLDER}/measure.py").read_run(tmp_path)
    assert (run["task"], run["heads"], run["coupling"], run["num_steps"]) == (
        "retrieval",
        "quadratic",
        "pooled",
        2,
    )
    assert [step for step, _ in run["validation_accuracies"]] == [4, 8]
    masses = np.array(run["masses"])
    assert masses.shape == (config.model.num_layers, config.model.num_heads)
    # Hardly trained: close to uniform attention, and not exactly.
    assert masses == pytest.approx(run["uniform_mass"], rel=0.5)
    assert len(np.unique(masses)) > 1
    # The steps have moved it.
    assert np.abs(masses - np.array(run["plain_masses"])).max() > 1e-3
    assert collect.table("retrieval", [run]).count("quadratic, pooled, T = 2") == 1
