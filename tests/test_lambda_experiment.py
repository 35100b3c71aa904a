"""Experiment 04: its smoke form runs, and its tables say what the runs found."""

import json
import os
import subprocess

import pytest

from tests.scripts import ROOT, load_script

FOLDER = "experiments/04_lambda"
SMOKE = (
    "--config.train.num_steps=4",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=2",
    "--config.data.num_eval_examples=8",
)


@pytest.fixture
def collect(tmp_path):
    """The collecting script, with results of its own."""
    module = load_script(f"{FOLDER}/collect.py")
    module.RESULTS = tmp_path / "results"
    return module


def made_up(lam, seed, accuracy, failure=""):
    row = {"lam": lam, "seed": seed, "failure": failure}
    return row if failure else row | {
        "test_accuracy": accuracy,
        "validation_accuracies": [[100, accuracy / 2], [200, accuracy]],
        "steps_per_second": 10.0,
        "baselines": {"chance_accuracy": 0.5},
        "layers": {"layer_1/energy_drop": 0.5, "layer_2/energy_drop": 1.5},
    }  # fmt: skip


def test_smoke_form_descends_random_heads(capsys):
    assert load_script(f"{FOLDER}/heads.py").main(["--smoke"]) == 0
    assert "'lam': 'auto', 'num_steps': 4" in capsys.readouterr().out


def test_distance_of_random_heads_falls_as_the_tie_grows():
    heads = load_script(f"{FOLDER}/heads.py")
    loose, tied = (heads.row(0, "pooled", lam, 200) for lam in (10.0, 100.0))
    assert tied["unconverged"] == 0
    # Where λ is large the distance goes as 1/(1+λ).
    assert tied["distance"] == pytest.approx(loose["distance"] * 11 / 101, rel=0.1)


def test_exponent_is_the_slope_from_the_large_tie_on(collect):
    rows = [{"lam": lam, "distance": 2.0 / (1 + lam) ** 1.5} for lam in (3.0, 10.0, 100.0)]
    others = [{"lam": 0.1, "distance": 9.0}, {"lam": "auto", "distance": 9.0}]
    assert collect.exponent(rows + others, "distance") == pytest.approx(-1.5)


def test_table_names_the_runs_that_failed(collect):
    runs = [made_up("linear", s, 0.5 + s / 100) for s in range(3)]
    runs += [made_up(1.0, s, 0.9 + s / 50) for s in range(3)]
    runs += [made_up(0.0, 0, 0.6), made_up(0.0, 1, None, "exit code 1")]
    rows = [
        [cell.strip() for cell in line.split(" | ")]
        for line in collect.task_table("match3", runs).splitlines()[4:7]
    ]
    assert [row[0] for row in rows] == ["| linear", "| 0", "| 1"]
    assert rows[1][1] == "1" and rows[1][-1] == "seed 1: exit code 1 |"
    assert rows[2][3] == "+0.4100 ± 0.0058 *" and rows[2][6] == "1 (0.5 to 1.5)"
    assert rows[0][-1] == "none |"


@pytest.mark.slow
def test_smoke_sweep_is_collected(collect, tmp_path):
    runs = tmp_path / "runs"
    subprocess.run(
        [ROOT / FOLDER / "run.sh", runs, "0", "match3", *SMOKE],
        check=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    collect.collect(runs)
    rows = json.loads((collect.RESULTS / "match3.json").read_text())["runs"]
    assert [row["lam"] for row in rows] == ["linear", 0, 0.1, 0.3, 1, 3, 10, 100, "auto"]
    assert all(not row["failure"] and len(row["validation_accuracies"]) == 2 for row in rows)
    assert "layer_1/energy_drop" in rows[-1]["layers"] and not rows[0]["layers"]
    collect.FIGURE = tmp_path / "lambda.png"
    collect.draw()
    assert collect.FIGURE.is_file()
    assert "**9 of 90 training runs are there.**" in collect.tables()
