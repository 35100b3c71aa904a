"""Accuracy curves of runs: rows with ``validation_accuracies``, pairs of a step and an accuracy."""

from typing import Any

Run = dict[str, Any]


def accuracy_at(run: Run, seconds: float) -> float:
    """Accuracy at the last evaluation within a time of training; 0 before the first one."""
    # The last step of the run that the time is taken from has to be within it, rounded or not.
    num_steps = seconds * run["steps_per_second"] * (1 + 1e-9)
    before = [accuracy for step, accuracy in run["validation_accuracies"] if step <= num_steps]
    return before[-1] if before else 0.0


def at_equal_time(run: Run, linear: Run | None) -> float | None:
    """Validation accuracy in the time that the linear run of the same seed took for all steps."""
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
