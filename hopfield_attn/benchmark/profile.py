"""Measures a grid of cells into one JSON file, cell by cell; the same call goes on from there."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hopfield_attn.benchmark.candidates import JAX_BASELINES, REFERENCE, TORCH, Program
from hopfield_attn.benchmark.candidates import make_program as default_make_program
from hopfield_attn.benchmark.cells import Cell, batch_and_heads, cell_of
from hopfield_attn.benchmark.measure import measure
from hopfield_attn.benchmark.resident import resident_bytes
from hopfield_attn.files import read_json, write_json

MEASURED, NOT_APPLICABLE, FAILED = "measured", "not applicable", "failed"
_MOST_TEXT = 300


def profile(
    cells: Sequence[Cell],
    path: Path,
    *,
    settings: dict[str, Any],
    machine: dict[str, Any],
    command: str,
    rounds: int,
    seconds_at_most: float = 8.0,
    memory: bool = True,
    resident: bool = False,
    fresh: bool = False,
    make_program: Callable[..., Program] = default_make_program,
) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Measures what the file does not have yet, and writes the file after every cell.

    A cell that failed is tried again by the next call, one that was not applicable is not.

    Args:
      cells: what to measure.
      path: the JSON file; its folder must exist.
      settings: keyword arguments of ``make_program``.
      machine: what the figures hold for, from ``describe_machine``.
      command: the command line; the file lists those of all its cells.
      rounds: at least so many a cell, unless that takes too long.
      seconds_at_most: a cell that took so long gets no further round, from the third on.
      memory: record what XLA reserves for temporaries.
      resident: also the growth of the peak resident memory, in a process of its own.
      fresh: throw away what the file has.
      make_program: builds a candidate.

    Yields:
      (index of the cell, its row, whether it was measured just now).

    Raises:
      ValueError: if the file is of another machine or other settings.
    """
    rows, commands = ({}, []) if fresh else read_profile(path, settings=settings, machine=machine)
    commands = list(dict.fromkeys([*commands, command]))
    baselines: dict[Cell, Program] = {}
    for index, cell in enumerate(cells):
        if cell in rows and rows[cell]["status"] != FAILED:
            yield index, rows[cell], False
            continue
        baseline_cell = Cell(cell.n, REFERENCE, cell.direction)
        if baseline_cell not in baselines:
            # One at a time: the inputs of a length nobody needs any more would stay in memory.
            baselines = {baseline_cell: make_program(baseline_cell, **settings)}
        limits = {"rounds": rounds, "seconds_at_most": seconds_at_most}
        row = _measure_cell(cell, baselines[baseline_cell], settings, limits, make_program)
        b, heads = batch_and_heads(cell.n, settings["batch_heads"])
        row |= cell._asdict() | {"batch": b, "heads": heads}
        if not memory:
            row.pop("temp_bytes", None)
        if resident and row["status"] == MEASURED:
            try:
                row["resident_bytes"] = resident_bytes(cell, settings)
            except RuntimeError as error:
                row["resident_error"] = _text(error)
        rows[cell] = row
        value = {"machine": machine, "settings": settings, "commands": commands}
        write_json(path, value | {"cells": list(rows.values())})
        yield index, row, True


def read_profile(
    path: Path, *, settings: dict[str, Any], machine: dict[str, Any]
) -> tuple[dict[Cell, dict[str, Any]], list[str]]:
    """The rows that a file has already, and the commands that made them.

    Raises:
      ValueError: if the file is of another machine or other settings.
    """
    if not path.is_file():
        return {}, []
    found = read_json(path)
    for name, wanted in (("machine", machine), ("settings", settings)):
        for key in sorted(wanted.keys() | found[name].keys()):
            before, now = found[name].get(key), wanted.get(key)
            if before != now:
                raise ValueError(
                    f"{path} was measured with {key} {before!r}, and this is {now!r}: "
                    "name another --output, or start over with --fresh"
                )
    return {cell_of(row): row for row in found["cells"]}, found["commands"]


def _measure_cell(
    cell: Cell,
    baseline: Program,
    settings: dict[str, Any],
    limits: dict[str, Any],
    make_program: Callable[..., Program],
) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        program = make_program(cell, **settings)
    except (ValueError, NotImplementedError) as error:
        # Plain attention applies to every cell: there it is a failure.
        is_ours = cell.implementation not in (*JAX_BASELINES, TORCH)
        return {"status": NOT_APPLICABLE if is_ours else FAILED, "reason": _text(error)}
    except Exception as error:  # one candidate must not end the run
        return {"status": FAILED, "reason": _text(error)}
    compile_seconds = round(time.perf_counter() - began, 2)
    try:
        found = measure(program, baseline, **limits)
    except Exception as error:
        return {"status": FAILED, "reason": _text(error)}
    chosen = {} if program.chosen is None else {"chosen": program.chosen}
    return {
        "status": MEASURED,
        **chosen,
        "compile_seconds": compile_seconds,
        "temp_bytes": program.temp_bytes,
        **found,
    }


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MOST_TEXT]
