"""Writes the tables of the README from results/.

python experiments/05_wells/collect.py            # the tables
python experiments/05_wells/collect.py --check    # exit 1 if they are stale
"""

import json
import statistics
import sys
from pathlib import Path

from experiments.page import run_collector
from experiments.seeds import over_seeds

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def random_table(value: dict) -> str:
    """One row a coupling: where the second well appears, in units of the certified α."""
    header = [
        "coupling", "heads", "cells", "certified cells", "of them with several wells",
        "second well at, in certified α: median (range)", "no second well up to 12 ×", "most wells",
    ]  # fmt: skip
    rows = []
    for coupling in dict.fromkeys(row["coupling"] for row in value["rows"]):
        found = [row for row in value["rows"] if row["coupling"] == coupling]
        ratios = [row["onset"] for row in found]
        seen = [ratio for ratio in ratios if ratio is not None]
        total = {
            name: sum(row[name] for row in found)
            for name in ("cells", "certified_cells", "certified_cells_with_several")
        }
        where = (
            f"{statistics.median(seen):.2f} ({min(seen):.2f} to {max(seen):.2f})" if seen else "–"
        )
        rows.append([
            coupling, str(len(found)), f"{total['cells']:,}", f"{total['certified_cells']:,}",
            str(total["certified_cells_with_several"]), where,
            f"{len(ratios) - len(seen)} of {len(ratios)}",
            str(max(row["largest_count"] for row in found)),
        ])  # fmt: skip
    return markdown(header, rows)


def trained_table(values: dict[str, dict]) -> str:
    """One row a setting: before → after training."""
    header = [
        "runs", "seeds", "heads × texts", "with one well", "most wells", "certified convex", "α",
        "certified α / α, heads with α > 0", "distance to plain attention",
    ]  # fmt: skip
    rows = []
    for name, value in values.items():
        if not value["rows"]:
            continue  # linear
        before, after = (
            [row for row in value["rows"] if row["when"] == when] for when in ("before", "after")
        )
        seeds = sorted({row["seed"] for row in after})
        rows.append([
            f"{name}: `{value['heads']}`, {value['coupling']}", ", ".join(map(str, seeds)),
            str(len(after)), *map(" → ".join, zip(cells(before), cells(after), strict=True)),
        ])  # fmt: skip
    return markdown(header, rows)


def scores_table(values: dict[str, dict]) -> str:
    """What the runs are worth: mean ± standard error over the seeds."""
    rows = []
    for name, value in values.items():
        for metric in next(iter(value["scores"].values())):
            found = [scores[metric] for scores in value["scores"].values()]
            rows.append([name, metric, str(len(found)), over_seeds(found)])
    return markdown(["runs", "metric", "n", "mean ± standard error"], rows)


def cells(rows: list[dict]) -> list[str]:
    """The figures of a set of heads."""
    alphas = [row["alpha"] for row in rows]
    # Below 0 one well is certified whatever the size is.
    ratios = [row["certified_alpha"] / row["alpha"] for row in rows if row["alpha"] > 0]
    distances = [row["distance"] for row in rows]
    convex = sum(row["regime"] == "convex" and row["is_certified"] for row in rows)
    return [
        str(sum(row["wells"] == 1 for row in rows)),
        str(max(row["wells"] for row in rows)),
        str(convex),
        between(alphas, "+.3f"),
        f"{min(ratios):.2g} at least, median {statistics.median(ratios):.3g} ({len(ratios)})"
        if ratios
        else "none",
        between(distances, ".2%"),
    ]


def between(values: list[float], form: str) -> str:
    """The range, or the one value that all have."""
    if min(values) == max(values):
        return f"{values[0]:g}"
    return f"{min(values):{form}} to {max(values):{form}}"


def tables() -> str:
    results = HERE / "results"
    parts = []
    if (results / "random.json").is_file():
        value = read(results / "random.json")
        size = f"{value['length']} tokens, width {value['width']}"
        parts += [f"**Random heads**, log cosh, {size}", random_table(value)]
    trained = {
        path.stem.removeprefix("trained-"): read(path) for path in sorted(results.glob("trained-*"))
    }
    if trained:
        parts += [
            "**Heads before → after training**, three texts of up to 24 tokens, or three examples",
            trained_table(trained),
            scores_table(trained),
        ]
    return "\n\n".join(parts) or "Not run yet."


def ledger_row() -> str:
    """What was found, in one line of the ledger."""
    parts = []
    value = read(HERE / "results" / "random.json")
    for coupling in dict.fromkeys(row["coupling"] for row in value["rows"]):
        found = [row for row in value["rows"] if row["coupling"] == coupling]
        onsets = [row["onset"] for row in found if row["onset"] is not None]
        parts.append(f"{coupling} {statistics.median(onsets):.2f}")
    trained = [read(path) for path in sorted((HERE / "results").glob("trained-*"))]
    counts = []
    for is_zero, start in ((True, "α = 0"), (False, "a large α")):
        wells = [
            row["wells"]
            for value in trained if (value["alpha_init"] == 0) == is_zero
            for row in value["rows"] if row["when"] == "after"
        ]  # fmt: skip
        if wells:
            counts.append(f"{wells.count(1)} of {len(wells)} trained from {start}")
    return (
        f"second well at, in certified α, random heads: {', '.join(parts)}; "
        f"heads with one well: {', '.join(counts)}"
    )


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}))
