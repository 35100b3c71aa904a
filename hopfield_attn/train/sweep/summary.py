"""What the runs of a sweep say together: means over seeds, and differences with seeds matched."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COSTS = ("wall_seconds", "tokens_per_second", "num_parameters")
"""Entries of ``result.json`` that stand beside the metrics."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
      name: of its folder.
      setting: the values that vary, by key, without the seed.
      seed: the seed.
      result: what ``result.json`` holds; ``None`` while the run is not finished.
      missing: why there is no result.
    """

    name: str
    setting: Mapping[str, Any]
    seed: int
    result: Mapping[str, Any] | None
    missing: str = ""


def summarise(runs: Sequence[SweepRun]) -> dict[str, Any]:
    """Gathers the runs by setting.

    Args:
      runs: of the whole grid, finished or not; the first one has the setting to compare with.

    Returns:
      What ``sweep.json`` holds: ``settings``, a list in the order of the grid, each with
      ``setting``, ``seeds`` (of the finished runs), ``metrics`` and ``costs`` by name as
      :func:`mean_and_error` has them, and, after the first, ``difference`` with the ``seeds`` that
      both have and its ``metrics``, setting minus first setting; ``runs``, the figures of each
      finished one; and ``missing``, the others, each with ``name`` and ``reason``.

    Example:
      >>> def run(lam, seed, accuracy):
      ...     result = {"evaluations": {"test": {"accuracy": accuracy}}}
      ...     return SweepRun(name="", setting={"lam": lam}, seed=seed, result=result)
      >>> first, second = summarise(
      ...     [run(1, 0, 0.5), run(2, 0, 0.5), run(1, 1, 0.75), run(2, 1, 1.0)]
      ... )["settings"]
      >>> first["metrics"]["test accuracy"]
      {'mean': 0.625, 'standard_error': 0.125, 'num': 2}
      >>> second["difference"]["metrics"]["test accuracy"]
      {'mean': 0.125, 'standard_error': 0.125, 'num': 2}
    """
    groups: list[list[SweepRun]] = []
    for run in runs:
        same = next((group for group in groups if group[0].setting == run.setting), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    finished = [[run for run in group if run.result is not None] for group in groups]
    settings = [
        {
            "setting": dict(group[0].setting),
            "seeds": [run.seed for run in done],
            "metrics": _over_runs(done, metrics_of),
            "costs": _over_runs(done, _costs_of),
        }
        for group, done in zip(groups, finished, strict=True)
    ]
    for entry, done in zip(settings[1:], finished[1:], strict=True):
        entry["difference"] = _difference(done, finished[0])
    return {
        "settings": settings,
        "runs": [_figures(run) for run in runs if run.result is not None],
        "missing": [{"name": r.name, "reason": r.missing} for r in runs if r.result is None],
    }


def mean_and_error(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, standard error s/√n with s² the unbiased variance, and n.

    Args:
      values: at least one number. The error of a single one is not known: ``None``.

    Example:
      >>> mean_and_error([1.0, 2.0, 3.0, 6.0])
      {'mean': 3.0, 'standard_error': 1.08, 'num': 4}
    """
    num = len(values)
    error = statistics.stdev(values) / math.sqrt(num) if num > 1 else None
    return {"mean": statistics.fmean(values), "standard_error": error, "num": num}


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The held-out metrics of a result by "set metric"; one that was not finite is left out.

    Example:
      >>> metrics_of({"evaluations": {"test": {"accuracy": 0.5, "loss": 2.0}}})
      {'test accuracy': 0.5, 'test loss': 2.0}
    """
    evaluations = result["evaluations"]
    return {
        f"{name} {metric}": value
        for name, scores in evaluations.items()
        for metric, value in scores.items()
        if value is not None
    }


def _figures(run: SweepRun) -> dict[str, Any]:
    assert run.result is not None
    values = {"name": run.name, "setting": dict(run.setting), "seed": run.seed}
    return values | {"metrics": metrics_of(run.result), "costs": _costs_of(run.result)}


def _costs_of(result: Mapping[str, Any]) -> dict[str, float]:
    # A run that was too short to be timed has no speed.
    return {name: result[name] for name in COSTS if result.get(name) is not None}


def _over_runs(
    runs: Iterable[SweepRun], values_of: Callable[[Mapping[str, Any]], dict[str, float]]
) -> dict[str, Any]:
    columns: dict[str, list[float]] = {}
    for run in runs:
        assert run.result is not None
        for name, value in values_of(run.result).items():
            columns.setdefault(name, []).append(value)
    return {name: mean_and_error(values) for name, values in columns.items()}


def _difference(runs: Sequence[SweepRun], others: Sequence[SweepRun]) -> dict[str, Any]:
    """Of ``runs`` to ``others``, seed by seed; seeds that one of them lacks are left out."""
    other_metrics = {run.seed: metrics_of(run.result) for run in others if run.result is not None}
    seeds, columns = [], dict[str, list[float]]()
    for run in runs:
        if run.result is None or run.seed not in other_metrics:
            continue
        seeds.append(run.seed)
        other = other_metrics[run.seed]
        for name, value in metrics_of(run.result).items():
            if name in other:
                columns.setdefault(name, []).append(value - other[name])
    metrics = {name: mean_and_error(values) for name, values in columns.items()}
    return {"seeds": seeds, "metrics": metrics}
