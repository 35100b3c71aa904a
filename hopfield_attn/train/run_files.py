"""The JSON files of a run folder, with everything that is taken from them checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hopfield_attn.data.json_fields import (
    JsonObject,
    column_name,
    read_field,
    read_number,
    read_objects,
)
from hopfield_attn.files import read_json

COMPARISON_FILE = "comparison.png"
REPORT_FILE = "report.html"
_COUNTS = ("num_layers", "num_heads", "width", "num_steps")
_NUMBERS = ("num_parameters", "num_steps", "wall_seconds", "tokens_per_second", "peak_memory_mib")
_LARGEST = 1e100
"""Means and charts of larger numbers would overflow."""
_MOST_HEADS = 10_000


def read_run_config(workdir: Path) -> dict[str, Any]:
    """The config of a run, from ``config.json``.

    Raises:
      FileNotFoundError: the folder holds no run.
      ValueError: ``FILE column NAME: reason`` for a file that is not the config of a run.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} holds no run: there is no {path.name}")
    return _read(path, _check_config)


def read_result(workdir: Path) -> dict[str, Any] | None:
    """The result of a finished run, from ``result.json``, or ``None``.

    A metric that was not finite is ``None``.

    Raises:
      ValueError: ``FILE column NAME: reason`` for a file that is not the result of a run.
    """
    path = workdir / "result.json"
    return _read(path, _check_result) if path.is_file() else None


def read_versions(workdir: Path) -> dict[str, Any]:
    """What ``versions.json`` holds; empty where a run has none."""
    path = workdir / "versions.json"
    return read_json(path) if path.is_file() else {}


def _read(path: Path, check: Callable[[JsonObject], None]) -> dict[str, Any]:
    value = read_json(path)
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    return value


def _check_config(config: JsonObject) -> None:
    read_field(config, "task", str)
    read_field(config, "seed", int)
    read_field(read_field(config, "data", dict), "task", str, inside="data")
    model = read_field(config, "model", dict)
    for name in ("heads", "coupling"):
        read_field(model, name, str, inside="model")
    for name in _COUNTS:
        count = read_field(model, name, int, inside="model")
        if count < 1:
            raise ValueError(f"column model.{name}: expected at least 1, got {count}")
    read_number(model, "lam", inside="model")


def _check_result(result: JsonObject) -> None:
    read_field(result, "main_metric", str)
    evaluations = read_field(result, "evaluations", dict)
    for name in evaluations:
        inside = column_name(name, inside="evaluations")
        _check_numbers(read_field(evaluations, name, dict, inside="evaluations"), inside)
    if "baselines" in result:
        _check_numbers(read_field(result, "baselines", dict), "baselines")
    _check_numbers({name: result[name] for name in _NUMBERS if name in result}, "")
    for name, check in (("history", _check_evaluation), ("alpha", _check_alpha)):
        for inside, entry in read_objects(result, name) if name in result else []:
            check(entry, inside)


def _check_numbers(values: JsonObject, inside: str) -> None:
    for name in values:
        if values[name] is not None:
            read_number(values, name, inside=inside, largest=_LARGEST)


def _check_evaluation(row: JsonObject, inside: str) -> None:
    read_field(row, "step", int, inside=inside)
    _check_numbers(row, inside)


def _check_alpha(row: JsonObject, inside: str) -> None:
    for name in ("layer", "head"):
        number = read_field(row, name, int, inside=inside)
        if not 1 <= number <= _MOST_HEADS:
            raise ValueError(f"column {inside}.{name}: expected 1 to {_MOST_HEADS}, got {number}")
    read_field(row, "family", str, inside=inside)
    read_number(row, "alpha", inside=inside, largest=_LARGEST)
