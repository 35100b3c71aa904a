"""Accuracy curves of runs: rows with ``validation_accuracies``, pairs of a step and an accuracy."""

from typing import Any

Run = dict[str, Any]


def accuracy_at(run: Run, seconds: float) -> float:
    """Accuracy at the last evaluation within a time of training; 0 before the first one."""
    before = [
        a for step, a in run["validation_accuracies"] if step <= seconds * run["steps_per_second"]
    ]
    return before[-1] if before else 0.0


def at_equal_time(run: Run, linear: Run | None) -> float | None:
    """Accuracy in the time in which the linear run of the same seed made all of its steps."""
    if not linear or not linear["steps_per_second"]:
        return None
    last = linear["validation_accuracies"][-1][0]
    return accuracy_at(run, last / linear["steps_per_second"])


def differences(runs: dict[int, Run], linear: dict[int, Run]) -> list[float]:
    """Of the test accuracies, seed by seed."""
    seeds = sorted(runs.keys() & linear.keys())
    return [runs[s]["test_accuracy"] - linear[s]["test_accuracy"] for s in seeds]


def read_curve(result: dict[str, Any]) -> list[list[float]]:
    """``validation_accuracies`` from the ``result.json`` of a run on a generated task."""
    accuracies = [[row["step"], row["validation/accuracy"]] for row in result["history"]]
    return [*accuracies, [result["num_steps"], result["evaluations"]["validation"]["accuracy"]]]
