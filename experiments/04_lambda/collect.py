"""Collects the runs of run.sh into results/, and writes the tables and the figure from results/.

python experiments/04_lambda/collect.py RUNS     # adds finished and failed runs, then writes
python experiments/04_lambda/collect.py          # writes only
python experiments/04_lambda/collect.py --check  # exit 1 if the tables are stale
"""

import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.curves import Run, at_equal_time, judge, median_speed, read_curve
from experiments.finished_run import add_runs, failed_runs, named_failures, read_runs
from experiments.page import run_collector
from experiments.seeds import over_seeds

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
RESULTS = HERE / "results"
FIGURE = HERE / "lambda.png"
LINEAR, AUTO = "linear", "auto"
TITLES = {"match3": "Match-3", "retrieval": "pattern retrieval"}
SEEDS_ASKED, NUM_SETTINGS = 5, 9
LARGE = 3.0
"""λ from which on the exponents are fitted."""
SPREAD_FIGURES = ("energy_drop", "attention_distance")
MEAN_FIGURES = ("unconverged", "abs_alpha")


def collect(folder: Path) -> None:
    """Adds to results/TASK.json what the runs below ``folder`` found, the failed ones by name."""
    for task in TITLES:
        found = failed_runs(folder, task)
        found |= {path.parent: "" for path in folder.glob(f"{task}-*/*/result.json")}
        rows = (read_run(*run) for run in found.items())
        add_runs(RESULTS / f"{task}.json", rows, place_of)


def place_of(run: Run) -> tuple[float, int]:
    """Where a run stands on the page, which no other run shares."""
    return order_of(run["lam"]), run["seed"]


def order_of(lam: float | str) -> float:
    """Linear heads first, then λ, then the automatic one."""
    return {LINEAR: -1.0, AUTO: math.inf}[lam] if isinstance(lam, str) else lam


def read_run(folder: Path, failure: str) -> Run:
    """The figures of a run folder; of a failed run, why."""
    model_and_seed = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = model_and_seed["model"]
    lam = LINEAR if model["heads"] == "identity" else AUTO if model["auto_lam"] else model["lam"]
    row = {"lam": lam, "seed": model_and_seed["seed"], "failure": failure}
    if failure:
        return row
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    tokens_per_step = model_and_seed["train"]["batch_size"] * result["data"]["length"]
    return row | {
        "test_accuracy": result["evaluations"]["test"]["accuracy"],
        "validation_accuracies": read_curve(result),
        "steps_per_second": (result["tokens_per_second"] or 0) / tokens_per_step,
        "baselines": result["baselines"],
        "layers": last_energies(folder),
    }


def last_energies(folder: Path) -> dict[str, float]:
    """The last figures of every layer, from metrics.jsonl: "layer_1/energy_drop" and so on."""
    found: dict[str, float] = {}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.update({name: value for name, value in row.items() if name.startswith("layer_")})
    return found


def runs_of(task: str) -> list[Run]:
    return read_runs(RESULTS / f"{task}.json")


def read_heads() -> list[Run]:
    path = RESULTS / "heads.json"
    rows: list[Run] = []
    if path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def by_lam(rows: list[Run]) -> dict[float | str, dict[int, Run]]:
    """λ → seed → row, in the order of λ."""
    found: dict[float | str, dict[int, Run]] = {}
    for row in sorted(rows, key=lambda row: order_of(row["lam"])):
        found.setdefault(row["lam"], {})[row["seed"]] = row
    return found


def exponent(rows: list[Run], name: str) -> float:
    """Slope of log(figure) in log(1 + λ) from λ = 3 on, all seeds together."""
    kept = [
        row for row in rows if not isinstance(row["lam"], str) and row["lam"] >= LARGE and row[name]
    ]
    x = np.log([1 + row["lam"] for row in kept])
    return float(np.polyfit(x, np.log([row[name] for row in kept]), 1)[0])


def heads_table(rows: list[Run], coupling: str) -> str:
    """Random heads of a coupling: a row a λ, T = 4 / T = 200."""
    mine = [row for row in rows if row["coupling"] == coupling]
    steps = sorted({row["num_steps"] for row in mine})
    shown = " / ".join(f"T = {T}" for T in steps)
    lines = [
        f"**Random heads, {coupling}**, medians, {shown}:",
        "",
        "| λ | energy drop | distance to plain attention | heads that have not settled |"
        " energy rose or not finite |",
        "| --- | --- | --- | --- | --- |",
    ]
    for lam in by_lam(mine):
        parts = [[r for r in mine if r["lam"] == lam and r["num_steps"] == T] for T in steps]
        name = f"auto (mean {statistics.fmean(r['mean_lam'] for r in parts[0]):.2f})"
        cells = [name if lam == AUTO else f"{lam:g}"]
        for figure in ("energy_drop", "distance"):
            cells.append(" / ".join(_median_of(part, figure) for part in parts))
        totals = [sum(r["num_heads"] for r in part) for part in parts]
        cells.append(
            " / ".join(
                f"{sum(r['unconverged'] for r in part)} of {total}"
                for part, total in zip(parts, totals, strict=True)
            )
        )
        bad = [sum(r["status"]["rose"] + r["status"]["non-finite"] for r in part) for part in parts]
        cells.append(" / ".join(map(str, bad)))
        lines.append("| " + " | ".join(cells) + " |")
    last = [row for row in mine if row["num_steps"] == steps[-1]]
    return "\n".join(
        [
            *lines,
            "",
            f"From λ = {LARGE:g} on, T = {steps[-1]}: the distance goes as "
            f"(1+λ)^{exponent(last, 'distance'):.2f}, the energy drop as "
            f"(1+λ)^{exponent(last, 'energy_drop'):.2f}.",
        ]
    )


def _median_of(rows: list[Run], figure: str) -> str:
    values = [row[figure] for row in rows if row[figure] is not None]
    return f"{statistics.median(values):.3g}" if values else "–"


def task_table(task: str, runs: list[Run]) -> str:
    """Trained heads: a row a λ."""
    groups = by_lam(runs)
    finished = {lam: _finished(group) for lam, group in groups.items()}
    linear = finished.get(LINEAR, {})
    paired, counts = judge(groups, linear=LINEAR, planned=NUM_SETTINGS - 1)
    lines = [
        f"**{TITLES[task]}**",
        "",
        "| λ | seeds | test accuracy | difference to linear | validation accuracy, equal time "
        "| steps/s | energy drop, median (range) | distance to plain attention, median (range) "
        "| not settled | mean \\|α\\| | failed |",
        "|" + " --- |" * 11,
    ]
    for lam, group in groups.items():
        done = finished[lam]
        at_time = at_equal_time(done.values(), linear.values())
        speed = median_speed(done.values())
        difference = over_seeds(paired[lam], sign="+") if paired.get(lam) else ""
        lines.append(
            "| "
            + " | ".join(
                [
                    lam if isinstance(lam, str) else f"{lam:g}",
                    str(len(done)),
                    over_seeds([run["test_accuracy"] for run in done.values()]) if done else "–",
                    difference + " *" * counts.get(lam, False),
                    over_seeds(at_time) if at_time else "–",
                    f"{speed:.1f}" if speed else "–",
                    *(_layer_range(done, figure) for figure in SPREAD_FIGURES),
                    *(_layer_mean(done, figure) for figure in MEAN_FIGURES),
                    named_failures(group.values()) or "none",
                ]
            )
            + " |"
        )
    baselines = next((run["baselines"] for run in linear.values()), {})
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in baselines.items())
    return "\n".join([*lines, "", f"Without a model: {shown}. *: counts by the rule."])


def _finished(group: dict[int, Run]) -> dict[int, Run]:
    return {seed: run for seed, run in group.items() if not run["failure"]}


def _layer_values(runs: dict[int, Run], figure: str) -> list[float]:
    """A figure of all layers and seeds."""
    return [
        value
        for run in runs.values()
        for name, value in run["layers"].items()
        if name.endswith(f"/{figure}") and value is not None
    ]


def _layer_mean(runs: dict[int, Run], figure: str) -> str:
    values = _layer_values(runs, figure)
    return f"{statistics.fmean(values):.3g}" if values else ""


def _layer_range(runs: dict[int, Run], figure: str) -> str:
    """Median and extremes, of what spans orders of magnitude."""
    values = _layer_values(runs, figure)
    if not values:
        return ""
    return f"{statistics.median(values):.2g} ({min(values):.2g} to {max(values):.2g})"


def draw() -> None:
    """Writes the figure: distance and accuracy over λ."""
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2)
    draw_distances(left, read_heads())
    for task in TITLES:
        draw_accuracy(right, task, runs_of(task))
    right.set_title("Test accuracy of trained quadratic heads over λ", fontsize=10)
    right.set(xlabel="1 + λ", ylabel="test accuracy", xscale="log")
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False, fontsize=8)
    figure.savefig(FIGURE)


def draw_distances(axes: Axes, rows: list[Run]) -> None:
    """Distance to plain attention of random heads at the most steps, and the line 1/(1+λ)."""
    axes.set_title("The distance to plain attention over λ, random heads", fontsize=10)
    axes.set(xlabel="1 + λ", ylabel="‖x − A y‖ / ‖A y‖", xscale="log", yscale="log")
    if not rows:
        return
    steps = max(row["num_steps"] for row in rows)
    for coupling, style in (("pooled", "o-"), ("pairwise", "s--")):
        mine = [
            row
            for row in rows
            if row["coupling"] == coupling
            and row["num_steps"] == steps
            and not isinstance(row["lam"], str)
            and row["distance"] is not None
        ]
        groups = by_lam(mine)
        x = [1 + float(lam) for lam in groups]
        y = [statistics.median(r["distance"] for r in group.values()) for group in groups.values()]
        axes.plot(x, y, style, label=coupling, markersize=4)
    first = max(y[-1] * x[-1], 1e-12)
    axes.plot(x[1:], [first / value for value in x[1:]], ":", color="0.4", label="∝ 1/(1+λ)")
    axes.legend(frameon=False, fontsize=8)


def draw_accuracy(axes: Axes, task: str, runs: list[Run]) -> None:
    """Mean and standard error over the seeds; linear heads as a band."""
    groups = {lam: list(_finished(group).values()) for lam, group in by_lam(runs).items()}
    fixed = {lam: g for lam, g in groups.items() if not isinstance(lam, str) and g}
    if not fixed:
        return
    x = [1 + float(lam) for lam in fixed]
    means, errors = zip(*(_mean_and_error(group) for group in fixed.values()), strict=True)
    line = axes.errorbar(x, means, errors, marker="o", markersize=4, capsize=2, label=TITLES[task])
    color = line.lines[0].get_color()
    if groups.get(LINEAR):
        mean, error = _mean_and_error(groups[LINEAR])
        axes.axhspan(mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
        axes.axhline(mean, color=color, linestyle="--", linewidth=0.8)
        axes.text(x[0], mean, f"{TITLES[task]}, linear", color=color, fontsize=7, va="bottom")
    if groups.get(AUTO):
        mean, error = _mean_and_error(groups[AUTO])
        axes.errorbar([x[0] * 0.75], [mean], [error], marker="*", markersize=9, color=color)
        left = {"xytext": (-7, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axes.annotate("auto", (x[0] * 0.75, mean), **left, color=color, fontsize=7)
        axes.set_xlim(x[0] * 0.45, x[-1] * 1.4)


def _mean_and_error(runs: list[Run]) -> tuple[float, float]:
    values = [run["test_accuracy"] for run in runs]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return statistics.fmean(values), error


def tables() -> str:
    """What stands between the marks of the README."""
    heads = read_heads()
    parts = [heads_table(heads, coupling) for coupling in ("pooled", "pairwise") if heads]
    parts += [task_table(task, runs) for task in TITLES if (runs := runs_of(task))]
    if not parts:
        return "Not run yet."
    done = sum(len(runs_of(task)) for task in TITLES)
    total = len(TITLES) * SEEDS_ASKED * NUM_SETTINGS
    if done < total:
        parts.insert(0, f"**{done} of {total} training runs are there.**")
    return "\n\n".join([*parts, f"![Distance and accuracy over λ]({FIGURE.name})"])


def ledger_row() -> str:
    """What was found, in one line of the ledger."""
    parts = []
    heads = read_heads()
    if heads:
        steps = max(row["num_steps"] for row in heads)
        last = [row for row in heads if row["num_steps"] == steps]
        slopes = [
            f"{coupling} {exponent([r for r in last if r['coupling'] == coupling], 'distance'):.2f}"
            for coupling in ("pooled", "pairwise")
        ]
        parts.append(f"exponent of the distance in 1 + λ: {', '.join(slopes)}")
    for task in TITLES:
        found, counts = judge(by_lam(runs_of(task)), linear=LINEAR, planned=NUM_SETTINGS - 1)
        if found:
            counted = sum(counts.values())
            parts.append(f"{TITLES[task]}: {counted} of {len(found)} λ differ from linear heads")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}, collect=collect, draw=draw))
