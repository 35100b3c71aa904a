"""Collects finished runs into results/, and writes the tables of the README from results/.

  python experiments/00_quickstart/collect.py RUN_FOLDER ...   # adds runs, then the tables
  python experiments/00_quickstart/collect.py                  # the tables only
  python experiments/00_quickstart/collect.py --check          # exit 1 if the tables are stale

A run with a linear baseline gives two rows: itself and the baseline.
"""

import json
import sys
from pathlib import Path

from experiments.finished_run import read_finished
from experiments.page import run_collector
from experiments.seeds import over_seeds
from hopfield_attn.files import write_json

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"


def collect(run: Path) -> None:
    """Writes results/TASK-seedN.json from a run folder."""
    folders = [run] + [run / "baseline"] * (run / "baseline" / "result.json").is_file()
    finished = [read_finished(folder) for folder in folders]
    for each in finished:
        each.config["data"]["dir"] = ""  # a place on one machine
    rows = [{"config": each.config, "result": each.result} for each in finished]
    first = finished[0]
    path = HERE / "results" / f"{first.task}-seed{first.config['seed']}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"versions": first.versions, "runs": rows})


def tables() -> str:
    """The Markdown tables of all results, one a task."""
    by_task: dict[str, list[dict]] = {}
    for path in sorted((HERE / "results").glob("*.json")):
        by_task.setdefault(path.name.rpartition("-seed")[0], []).append(
            json.loads(path.read_text())
        )
    return "\n\n".join(table(task, files) for task, files in by_task.items())


def table(task: str, files: list[dict]) -> str:
    """One row a mix of heads, and one for the difference of the two, seed by seed."""
    by_heads: dict[str, list[dict]] = {}
    for file in files:
        for run in file["runs"]:
            by_heads.setdefault(run["config"]["model"]["heads"], []).append(run)
    first = files[0]["runs"][0]["result"]
    columns = [(s, m) for s, scores in first["evaluations"].items() for m in scores]
    header = ["heads", "seeds", *(f"{s} {m}" for s, m in columns), "tokens/s, seed 0", "parameters"]
    lines = [f"**{task}**", "", "| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    values: dict[str, list[list[float]]] = {}
    for heads, runs in by_heads.items():
        results = [run["result"] for run in runs]
        values[heads] = [[r["evaluations"][s][m] for r in results] for s, m in columns]
        seeds = ", ".join(str(run["config"]["seed"]) for run in runs)
        speed, size = results[0]["tokens_per_second"], results[0]["num_parameters"]
        cells = [*map(over_seeds, values[heads]), f"{speed:,.0f}", f"{size:,}"]
        lines.append("| " + " | ".join([f"`{heads}`", seeds, *cells]) + " |")
    mixed, linear = values.values()
    paired = [
        over_seeds([a - b for a, b in zip(*pair, strict=True)], sign="+")
        for pair in zip(mixed, linear, strict=True)
    ]
    speeds = [runs[0]["result"]["tokens_per_second"] for runs in by_heads.values()]
    ratio = f"× {speeds[0] / speeds[1]:.2f}"
    lines.append("| " + " | ".join(["difference, paired", "", *paired, ratio, "0"]) + " |")
    baselines = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in first["baselines"].items()
    )
    return "\n".join([*lines, "", f"Without a model (seed 0): {baselines}."])


def ledger_row() -> str:
    """What was found, in one line of the ledger: paired differences, mixed minus linear heads."""
    parts = []
    for path in sorted((HERE / "results").glob("*-seed0.json")):
        task = path.name.removesuffix("-seed0.json")
        pairs = [
            json.loads(p.read_text(encoding="utf-8"))["runs"]
            for p in HERE.glob(f"results/{task}-*")
        ]
        split, name = ("dev" if task == "sst2" else "test"), "accuracy"
        mixed, linear = (
            [pair[k]["result"]["evaluations"][split][name] for pair in pairs] for k in (0, 1)
        )
        values = [a - b for a, b in zip(mixed, linear, strict=True)]
        parts.append(f"{task} {over_seeds(values, sign='+')}")
    return "mixed minus linear heads, accuracy: " + ", ".join(parts)


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}, collect=collect))
