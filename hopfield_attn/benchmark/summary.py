"""Tables and growth exponents of a profile, as Markdown."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hopfield_attn.benchmark.candidates import AUTO, BASELINES
from hopfield_attn.benchmark.cells import CENTRAL_STEPS, DIRECTIONS

Row = dict[str, Any]
SLOW_CHOICE = 1.1
"""A choice this many times slower than the best named implementation is flagged."""
SHORTEST_FITTED = 512
_SERIES = ("F", "coupling", "implementation")


def fit_exponent(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The p of y ≈ c·xᵖ by least squares of log y on log x; ``None`` with fewer than two x.

    Example:
      >>> round(fit_exponent([1, 2, 4], [3, 12, 48]), 6)
      2.0
    """
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measured(rows: Iterable[Row]) -> list[Row]:
    """The rows that have figures."""
    return [row for row in rows if row["status"] == "measured"]


def central_steps(rows: Iterable[Row]) -> int | None:
    """T = 3, or the smallest T measured if that is not among them."""
    steps = sorted({row["T"] for row in rows if row["T"] is not None})
    return CENTRAL_STEPS if CENTRAL_STEPS in steps else (steps[0] if steps else None)


def central_length(rows: Iterable[Row]) -> int:
    """Length 1024, or the largest n measured if that is not among them."""
    lengths = {row["n"] for row in rows}
    return 1024 if 1024 in lengths else max(lengths)


def markdown(rows: Sequence[Row]) -> str:
    """All tables of a profile."""
    found = measured(rows)
    if not found:
        return "No cell was measured."
    T, n = central_steps(found), central_length(found)
    at_T = [row for row in found if row["T"] in (None, T)]
    at_n = [row for row in found if row["n"] == n and row["T"] is not None]
    parts = [
        f"**Time over n at T = {T}**, ratio to `jax.nn.dot_product_attention` of the same shape, "
        "forward / forward + backward:",
        table(at_T, "n", lambda row: f"{row['ratio']:.2f}"),
        f"**Time over T at n = {n}**, the same ratio:",
        table(at_n, "T", lambda row: f"{row['ratio']:.2f}"),
        f"**Milliseconds over n at T = {T}** (medians; b·h is in the JSON):",
        table(at_T, "n", lambda row: f"{row['median_ms']:.3g}"),
    ]
    with_memory = [row for row in at_T if row.get("temp_bytes") is not None]
    if with_memory:
        parts += [
            f"**Temporaries over n at T = {T}**, MiB that the compiled program reserves:",
            table(with_memory, "n", lambda row: f"{row['temp_bytes'] / 2**20:.3g}"),
        ]
    with_resident = [row for row in at_T if row.get("resident_bytes") is not None]
    if with_resident:
        parts += [
            f"**Growth of the peak resident memory over n at T = {T}**, MiB:",
            table(with_resident, "n", lambda row: f"{row['resident_bytes'] / 2**20:.3g}"),
        ]
    parts += ["**Exponents**, least squares of logarithms:", exponents_table(found)]
    parts += [choice_part(found), noise_part(found), left_out_part(rows)]
    return "\n\n".join(part for part in parts if part)


def table(rows: Sequence[Row], over: str, text_fn: Callable[[Row], str]) -> str:
    """One line a series, one column a value of n or T, "forward / forward + backward" in each."""
    columns = sorted({row[over] for row in rows})
    header = ["F", "coupling", "implementation", *(f"{over} = {value}" for value in columns)]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    found = {(*_series(row), row[over], row["direction"]): row for row in rows}
    for series in dict.fromkeys(map(_series, rows)):
        cells = []
        for value in columns:
            pair = [found.get((*series, value, direction)) for direction in DIRECTIONS]
            cells.append(" / ".join("–" if row is None else text_fn(row) for row in pair))
        names = [name or "" for name in series[:2]] + [f"`{series[2]}`"]
        lines.append("| " + " | ".join([*names, *cells]) + " |")
    return "\n".join(lines)


def exponents(rows: Sequence[Row]) -> dict[tuple[Any, ...], dict[str, float | None]]:
    """Exponents of every series: of time in n and T, and of temporaries in n.

    In n: at T = 3, n ≥ 512. Time is taken per batch × head, whose number changes with n.
    Temporaries are compared at the batch × heads of the longest n only: an implementation may go
    through the heads one after the other, and then they don't add up. In T: at n = 1024.
    """
    T, n = central_steps(rows), central_length(rows)
    result = {}
    for key in dict.fromkeys((*_series(row), row["direction"]) for row in rows):
        own = [row for row in rows if (*_series(row), row["direction"]) == key]
        long = [r for r in own if r["n"] >= SHORTEST_FITTED and r["T"] in (None, T)]
        long.sort(key=lambda row: row["n"])
        over_T = [r for r in own if r["n"] == n and r["T"]]
        kept = [
            r for r in long if r.get("temp_bytes") and _batch_heads(r) == _batch_heads(long[-1])
        ]
        result[key] = {
            "time in n": _fit(long, "n", lambda r: r["median_ms"] / _batch_heads(r)),
            "time in T": _fit(over_T, "T", lambda r: r["median_ms"]),
            "memory in n": _fit(kept, "n", lambda r: r["temp_bytes"]),
        }
    return result


def exponents_table(rows: Sequence[Row]) -> str:
    """The exponents as a table, forward / forward + backward."""
    found = exponents(rows)
    T, n = central_steps(rows), central_length(rows)
    kinds = {
        "time in n": f"time in n (n ≥ {SHORTEST_FITTED}, T = {T})",
        "time in T": f"time in T (n = {n})",
        "memory in n": f"temporaries in n (n ≥ {SHORTEST_FITTED}, T = {T})",
    }
    header = ["F", "coupling", "implementation", *kinds.values()]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    for series in dict.fromkeys(key[:3] for key in found):
        cells = []
        for kind in kinds:
            pair = [found.get((*series, d), {}).get(kind) for d in DIRECTIONS]
            cells.append(" / ".join("–" if p is None else f"{p:.2f}" for p in pair))
        names = [name or "" for name in series[:2]] + [f"`{series[2]}`"]
        lines.append("| " + " | ".join([*names, *cells]) + " |")
    return "\n".join(lines)


def choices(rows: Sequence[Row]) -> list[Row]:
    """How the choice of ``implementation=None`` compares with the best named one, cell by cell.

    The choice is one of the named programs, measured a second time: its time is the smaller of the
    two, as the best's is the smallest of several.

    Returns:
      Rows with n, T, F, coupling, direction, ``chosen``, ``best``, ``slower``: time of the choice
      over time of the best, and ``again``: larger over smaller time of the program measured twice.
    """
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row["implementation"] not in BASELINES:
            key = row["n"], row["T"], row["F"], row["coupling"], row["direction"]
            groups.setdefault(key, {})[row["implementation"]] = row
    found = []
    for key, group in groups.items():
        named = [row for name, row in group.items() if name != AUTO]
        if AUTO in group and group[AUTO]["chosen"] in group:
            # Of ratios, not of milliseconds: the two were not measured at the same moment.
            best = min(named, key=lambda row: row["ratio"])
            names = dict(zip(("n", "T", "F", "coupling", "direction"), key, strict=True))
            chosen = group[AUTO]["chosen"]
            twice = sorted((group[AUTO]["ratio"], group[chosen]["ratio"]))
            found.append(
                names
                | {"chosen": chosen, "best": best["implementation"]}
                | {"slower": max(1.0, twice[0] / best["ratio"]), "again": twice[1] / twice[0]}
            )
    return found


def choice_part(rows: Sequence[Row]) -> str:
    """The choices as Markdown: a summary, and every cell where the choice is slow."""
    found = choices(rows)
    if not found:
        return ""
    slow = [row for row in found if row["slower"] > SLOW_CHOICE]
    worst = max(row["slower"] for row in found)
    again = np.quantile([row["again"] for row in found], [0.5, 0.9])
    text = (
        f"**The choice** of `implementation=None` against the best named one: {len(found)} cells, "
        f"median {np.median([row['slower'] for row in found]):.2f}, largest {worst:.2f} (the same "
        f"program measured twice: median {again[0]:.2f}, nine in ten below {again[1]:.2f}); "
        f"above {SLOW_CHOICE} in {len(slow)}"
    )
    if not slow:
        return text + "."
    lines = ["| n | T | F | coupling | direction | choice | best | ratio |", "|" + " --- |" * 8]
    for row in sorted(slow, key=lambda row: -row["slower"]):
        direction = row["direction"].replace("_", " + ")
        names = f"`{row['chosen']}` | `{row['best']}`"
        cells = [row["n"], row["T"], row["F"], row["coupling"], direction, names]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['slower']:.2f}"])) + " |")
    return text + ":\n\n" + "\n".join(lines)


def noise_part(rows: Sequence[Row]) -> str:
    """How far the baseline is from itself, and how wide the quartiles are."""
    own = [row["ratio"] for row in rows if row["implementation"] == "jax.nn"]
    widths = [(row["ratio_iqr"][1] - row["ratio_iqr"][0]) / row["ratio"] for row in rows]
    text = f"Noise: the quartiles of a ratio are {100 * np.median(widths):.0f} % apart (median)"
    if own:
        text += f"; the baseline measured against itself gave {min(own):.2f} to {max(own):.2f}"
    return text + "."


def left_out_part(rows: Sequence[Row]) -> str:
    """What was not applicable or failed, with the first reason of each."""
    lines = []
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["status"] != "measured":
            key = row["status"], row["implementation"], row["F"] or "", row["coupling"] or ""
            groups.setdefault(key, []).append(row)
    for (status, name, F, coupling), group in groups.items():
        words = " ".join(filter(None, [F, coupling]))
        lines.append(f"* `{name}` {words}: {status} in {len(group)} cells. {group[0]['reason']}")
    return "\n".join(["Left out:", "", *lines]) if lines else ""


def _series(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SERIES)


def _batch_heads(row: Row) -> int:
    return int(row["batch"] * row["heads"])


def _fit(rows: Sequence[Row], over: str, value_fn: Callable[[Row], float]) -> float | None:
    return fit_exponent([row[over] for row in rows], [value_fn(row) for row in rows])
