"""The figures of a sweep, against numbers computed by hand."""

import json
import math

import pytest

from hopfield_attn.train.sweep.report import markdown
from hopfield_attn.train.sweep.summary import SweepRun, mean_and_error, summarise

pytestmark = pytest.mark.core


def make_run(lam, seed, accuracy, *, seconds=10.0, speed=1000.0, **changes):
    result = None
    if accuracy is not None:
        result = {
            "evaluations": {"test": {"accuracy": accuracy, "loss": 1 - accuracy}},
            "wall_seconds": seconds,
            "tokens_per_second": speed,
            "num_parameters": 1234,
        }
    values = {"name": f"lam={lam},seed={seed}", "setting": {"lam": lam}, "seed": seed}
    return SweepRun(**(values | {"result": result} | changes))


RUNS = [
    make_run(1, 0, 0.5, seconds=10.0, speed=1000.0),
    make_run(2, 0, 0.6, seconds=30.0, speed=None),
    make_run(1, 1, 0.6, seconds=20.0, speed=2000.0),
    make_run(2, 1, None, missing="exit code 1, loss is nan"),
    make_run(1, 2, 0.7, seconds=30.0, speed=3000.0),
    make_run(2, 2, 0.9, seconds=50.0, speed=None),
]


def test_mean_and_standard_error_are_those_of_the_textbook():
    # Deviations −2, −1, 0, 3: s² = 14/3, and s/√4 = √(14/12).
    found = mean_and_error([1.0, 2.0, 3.0, 6.0])
    assert found == {"mean": 3.0, "standard_error": pytest.approx(math.sqrt(14 / 12)), "num": 4}
    assert mean_and_error([0.25]) == {"mean": 0.25, "standard_error": None, "num": 1}
    assert mean_and_error([2, 2, 2])["standard_error"] == 0.0


def test_each_setting_has_the_mean_over_its_finished_seeds():
    first, second = summarise(RUNS)["settings"]
    assert (first["setting"], first["seeds"]) == ({"lam": 1}, [0, 1, 2])
    assert (second["setting"], second["seeds"]) == ({"lam": 2}, [0, 2])
    expected = {"mean": 0.6, "standard_error": 0.1 / math.sqrt(3), "num": 3}
    assert first["metrics"]["test accuracy"] == pytest.approx(expected)
    assert first["metrics"]["test loss"] == pytest.approx(expected | {"mean": 0.4})
    # 0.6 and 0.9: s = 0.3/√2, and s/√2 = 0.15.
    expected = {"mean": 0.75, "standard_error": 0.15, "num": 2}
    assert second["metrics"]["test accuracy"] == pytest.approx(expected)


def test_costs_stand_beside_the_metrics():
    first, second = summarise(RUNS)["settings"]
    assert first["costs"]["wall_seconds"]["mean"] == 20.0
    assert first["costs"]["tokens_per_second"]["mean"] == 2000.0
    assert second["costs"]["wall_seconds"] == {"mean": 40.0, "standard_error": 10.0, "num": 2}
    assert "tokens_per_second" not in second["costs"]
    assert second["costs"]["num_parameters"]["mean"] == 1234


def test_difference_is_taken_seed_by_seed_and_over_common_seeds_only():
    first, second = summarise(RUNS)["settings"]
    assert "difference" not in first
    # 0.6 − 0.5 and 0.9 − 0.7; seed 1 has no partner.
    assert second["difference"]["seeds"] == [0, 2]
    found = second["difference"]["metrics"]
    expected = {"mean": 0.15, "standard_error": 0.05, "num": 2}
    assert found["test accuracy"] == pytest.approx(expected)
    assert found["test loss"] == pytest.approx(expected | {"mean": -0.15})
    # The other way round too: what the first setting lacks.
    runs = [make_run(1, 0, None), make_run(2, 0, 0.5), make_run(1, 1, 0.5), make_run(2, 1, 0.75)]
    difference = summarise(runs)["settings"][1]["difference"]
    assert difference["seeds"] == [1]
    assert difference["metrics"]["test accuracy"]["mean"] == 0.25


def test_missing_runs_are_named_and_finished_ones_have_their_figures():
    summary = summarise(RUNS)
    assert summary["missing"] == [{"name": "lam=2,seed=1", "reason": "exit code 1, loss is nan"}]
    assert [run["name"] for run in summary["runs"]] == [
        run.name for run in RUNS if run.result is not None
    ]
    assert summary["runs"][0] == {
        "name": "lam=1,seed=0",
        "setting": {"lam": 1},
        "seed": 0,
        "metrics": {"test accuracy": 0.5, "test loss": 0.5},
        "costs": {"wall_seconds": 10.0, "tokens_per_second": 1000.0, "num_parameters": 1234},
    }
    json.dumps(summary)


def test_settings_without_a_common_metric_are_not_compared():
    other = {"evaluations": {"dev": {"pearson": 0.5}}}
    runs = [make_run(1, 0, 0.5), make_run(2, 0, 0.5, result=other)]
    second = summarise(runs)["settings"][1]
    assert second["metrics"].keys() == {"dev pearson"}
    assert second["difference"] == {"seeds": [0], "metrics": {}}


def test_page_has_the_figures_the_differences_and_what_is_missing():
    lines = markdown(summarise(RUNS), command="./scripts/sweep lam=1,2").splitlines()
    for line in (
        "./scripts/sweep lam=1,2",
        "| setting | n | seeds | test accuracy | test loss "
        "| wall seconds | tokens/s | parameters |",
        "| `lam=1` | 3 | 0, 1, 2 | 0.6000 ± 0.0577 | 0.4000 ± 0.0577 | 20.0 | 2,000 | 1,234 |",
        "| `lam=2` | 2 | 0, 2 | 0.7500 ± 0.1500 | 0.2500 ± 0.1500 | 40.0 | – | 1,234 |",
        "## Difference to `lam=1`, seeds matched",
        "| `lam=2` | 2 | 0, 2 | +0.1500 ± 0.0500 | -0.1500 ± 0.0500 |",
        "## Missing: 1 of 6 runs",
        "* `lam=2,seed=1`: exit code 1, loss is nan",
    ):
        assert line in lines


def test_a_metric_that_was_not_finite_in_some_runs_has_its_own_n():
    runs = [make_run(lam, seed, 0.5 + seed / 4) for seed in (0, 1) for lam in (1, 2)]
    runs[3].result["evaluations"]["test"]["loss"] = None
    page = markdown(summarise(runs), command="x")
    assert "| `lam=2` | 2 | 0, 1 | 0.6250 ± 0.1250 | 0.5000 (n = 1) |" in page
    assert "| `lam=2` | 2 | 0, 1 | +0.0000 ± 0.0000 | +0.0000 (n = 1) |" in page


def test_page_of_one_setting_or_of_no_run_is_a_page_too():
    alone = [make_run(1, seed, 0.5, setting={}) for seed in (0, 1)]
    page = markdown(summarise(alone), command="x")
    assert "| the config | 2 | 0, 1 | 0.5000 ± 0.0000 |" in page
    assert "Difference" not in page
    assert page.endswith("All 2 runs are finished.\n")
    nothing = [make_run(lam, 0, None, missing="not started") for lam in (1, 2)]
    page = markdown(summarise(nothing), command="x")
    assert "| setting" not in page
    assert "## Missing: 2 of 2 runs" in page
