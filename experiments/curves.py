"""Accuracy curves of runs: rows with ``validation_accuracies``, pairs of a step and an accuracy.

A run that failed is a row with its ``seed`` and a ``failure``, and without figures.
"""

import statistics
from collections.abc import Iterable
from typing import Any

from experiments.seeds import holm, p_value

Run = dict[str, Any]


def finished(runs: Iterable[Run]) -> list[Run]:
    """Those that did not fail."""
    return [run for run in runs if not run.get("failure")]


def median_speed(runs: Iterable[Run]) -> float | None:
    """Steps a second of a setting, over the runs that could be timed."""
    speeds = [run["steps_per_second"] for run in runs if run.get("steps_per_second")]
    return statistics.median(speeds) if speeds else None


def accuracy_at(run: Run, num_steps: float) -> float:
    """Accuracy at the last evaluation within some steps; that of a guess before the first one."""
    # The last step of the setting that the time is taken from has to be within it, rounded or not.
    last = num_steps * (1 + 1e-9)
    before = [accuracy for step, accuracy in run["validation_accuracies"] if step <= last]
    return float(before[-1] if before else run["baselines"]["chance_accuracy"])


def at_equal_time(runs: Iterable[Run], linear: Iterable[Run]) -> list[float]:
    """Validation accuracies of a setting in the time that linear heads took for all steps.

    By the median speeds of both, as a run that shares its machine for a while is slower.
    """
    runs, linear = list(runs), list(linear)
    speed, linear_speed = median_speed(runs), median_speed(linear)
    if not speed or not linear_speed:
        return []
    last = linear[0]["validation_accuracies"][-1][0]
    return [accuracy_at(run, last * speed / linear_speed) for run in runs]


def differences(runs: dict[int, Run], linear: dict[int, Run]) -> list[float]:
    """Of the test accuracies, seed by seed; a run that failed has that of a guess."""
    done = finished([*runs.values(), *linear.values()])
    if not done:
        return []
    guess = done[0]["baselines"]["chance_accuracy"]

    def score(run: Run) -> float:
        return float(run.get("test_accuracy", guess))

    return [score(runs[s]) - score(linear[s]) for s in sorted(runs.keys() & linear.keys())]


def judge(
    settings: dict[Any, dict[int, Run]], *, linear: Any, planned: int
) -> tuple[dict[Any, list[float]], dict[Any, bool]]:
    """Setting → its differences to linear heads, and → whether they count by the rule.

    Args:
      settings: setting → seed → run.
      linear: which of the settings has linear heads.
      planned: how many others there are to be.
    """
    paired = {
        name: differences(group, settings.get(linear, {}))
        for name, group in settings.items()
        if name != linear
    }
    counts = holm([p_value(values) for values in paired.values()], planned=planned)
    return paired, dict(zip(paired, counts, strict=True))


def read_curve(result: dict[str, Any]) -> list[list[float]]:
    """``validation_accuracies`` from the ``result.json`` of a run on a generated task."""
    accuracies = [[row["step"], row["validation/accuracy"]] for row in result["history"]]
    return [*accuracies, [result["num_steps"], result["evaluations"]["validation"]["accuracy"]]]
