"""The summary of a sweep as a Markdown page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COST_HEADERS = {
    "wall_seconds": "wall seconds",
    "tokens_per_second": "tokens/s",
    "num_parameters": "parameters",
}
_ABSENT = "–"


def markdown(summary: Mapping[str, Any], *, command: str) -> str:
    """The page ``sweep.md``: a table of the settings, one of the differences, and what is missing.

    Args:
      summary: of :func:`hopfield_attn.train.sweep.summary.summarise`.
      command: that made the sweep.
    """
    settings, missing = summary["settings"], summary["missing"]
    num_runs = len(summary["runs"]) + len(missing)
    parts = ["# Sweep", f"```sh\n{command}\n```"]
    if any(entry["seeds"] for entry in settings):
        parts += ["Mean ± standard error over the seeds; costs are means.", _values_table(settings)]
    if any(entry["difference"]["seeds"] for entry in settings[1:]):
        parts += [f"## Difference to {label(settings[0]['setting'])}, seeds matched"]
        parts += [_difference_table(settings[1:])]
    if missing:
        listed = [f"* `{run['name']}`: {run['reason']}" for run in missing]
        parts += [f"## Missing: {len(missing)} of {num_runs} runs", "\n".join(listed)]
    else:
        parts += [f"All {num_runs} runs are finished."]
    return "\n\n".join(parts) + "\n"


def label(setting: Mapping[str, Any]) -> str:
    """A setting in one line of Markdown.

    Example:
      >>> label({"model.heads": "identity", "model.lam": 0.5})
      '`model.heads=identity` `model.lam=0.5`'
    """
    return " ".join(f"`{key}={value}`" for key, value in setting.items()) or "the config"


def spread(statistic: Mapping[str, Any] | None, *, sign: str = "", digits: int = 4) -> str:
    """Mean ± standard error of one of the summary's statistics; the error of one run is unknown.

    Example:
      >>> spread({"mean": 0.5, "standard_error": 0.125, "num": 4}, sign="+")
      '+0.5000 ± 0.1250'
      >>> spread({"mean": 0.5, "standard_error": None, "num": 1})
      '0.5000'
    """
    if statistic is None:
        return _ABSENT
    error = statistic["standard_error"]
    mean = f"{statistic['mean']:{sign}.{digits}f}"
    return mean if error is None else f"{mean} ± {error:.{digits}f}"


def _values_table(settings: Sequence[Mapping[str, Any]]) -> str:
    metrics = _names(entry["metrics"] for entry in settings)
    costs = [name for name in _COST_HEADERS if any(name in entry["costs"] for entry in settings)]
    rows = [["setting", "n", "seeds", *metrics, *(_COST_HEADERS[name] for name in costs)]]
    for entry in settings:
        row = [label(entry["setting"]), *_seed_cells(entry["seeds"])]
        row += [_figure(entry["metrics"].get(name), entry["seeds"]) for name in metrics]
        row += [_cost(name, entry["costs"].get(name)) for name in costs]
        rows.append(row)
    return _table(rows)


def _difference_table(settings: Sequence[Mapping[str, Any]]) -> str:
    metrics = _names(entry["difference"]["metrics"] for entry in settings)
    rows = [["setting", "n", "seeds", *metrics]]
    for entry in settings:
        difference = entry["difference"]
        row = [label(entry["setting"]), *_seed_cells(difference["seeds"])]
        found, seeds = difference["metrics"], difference["seeds"]
        rows.append(row + [_figure(found.get(name), seeds, sign="+") for name in metrics])
    return _table(rows)


def _figure(statistic: Mapping[str, Any] | None, seeds: Sequence[int], *, sign: str = "") -> str:
    """With its own n where that is not the row's: a metric of some runs was not finite."""
    text = spread(statistic, sign=sign)
    return (
        text
        if statistic is None or statistic["num"] == len(seeds)
        else f"{text} (n = {statistic['num']})"
    )


def _seed_cells(seeds: Sequence[int]) -> list[str]:
    return [str(len(seeds)), ", ".join(map(str, seeds)) or _ABSENT]


def _cost(name: str, statistic: Mapping[str, Any] | None) -> str:
    if statistic is None:
        return _ABSENT
    return f"{statistic['mean']:,.{1 if name == 'wall_seconds' else 0}f}"


def _names(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for column in columns for name in column))


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([header, "|" + " --- |" * len(rows[0]), *body])
