"""Writes the tables of the README from results/.

python experiments/05_wells/collect.py            # the tables
python experiments/05_wells/collect.py --check    # exit 1 if they are stale
"""

import json
import statistics
import sys
from pathlib import Path

from experiments.page import run_collector

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
    """One row a run."""
    header = [
        "run", "heads × texts", "with one well", "certified convex", "α",
        "certified α over the size of α",
        "distance to plain attention",
    ]  # fmt: skip
    rows = []
    for name, value in values.items():
        found = value["rows"]
        alphas = [row["alpha"] for row in found]
        ratios = [row["certified_alpha"] / max(abs(row["alpha"]), 1e-9) for row in found]
        distances = [row["distance"] for row in found]
        convex = sum(row["regime"] == "convex" and row["is_certified"] for row in found)
        rows.append([
            f"{name}: `{value['heads']}`", str(len(found)),
            str(sum(row["wells"] == 1 for row in found)), str(convex),
            f"{min(alphas):+.3f} to {max(alphas):+.3f}",
            f"{min(ratios):.1f} at least, median {statistics.median(ratios):.1f}",
            f"{min(distances):.2%} to {max(distances):.2%}",
        ])  # fmt: skip
    return markdown(header, rows)


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
        parts += ["**Trained heads**, three texts of up to 24 tokens", trained_table(trained)]
    return "\n\n".join(parts) or "Not run yet."


def ledger_row() -> str:
    """What was found, in one line of the ledger."""
    parts = []
    value = read(HERE / "results" / "random.json")
    for coupling in dict.fromkeys(row["coupling"] for row in value["rows"]):
        found = [row for row in value["rows"] if row["coupling"] == coupling]
        onsets = [row["onset"] for row in found if row["onset"] is not None]
        parts.append(f"{coupling} {statistics.median(onsets):.2f}")
    trained = [
        row for path in sorted((HERE / "results").glob("trained-*")) for row in read(path)["rows"]
    ]
    single = sum(row["wells"] == 1 for row in trained)
    return (
        f"second well at, in certified α, random heads: {', '.join(parts)}; "
        f"trained heads with one well: {single} of {len(trained)}"
    )


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}))
