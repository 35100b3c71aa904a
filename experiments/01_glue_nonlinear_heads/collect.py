"""Collects the runs of run.sh into results/, and writes the tables and the figure from results/.

python experiments/01_glue_nonlinear_heads/collect.py RUNS      # adds finished runs, then writes
python experiments/01_glue_nonlinear_heads/collect.py           # writes only
python experiments/01_glue_nonlinear_heads/collect.py --check   # exit 1 if the tables are stale
"""

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from scipy import stats

from experiments.finished_run import add_runs, read_finished, read_runs
from experiments.page import run_collector
from experiments.seeds import holm, over_seeds, p_value

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
RESULTS = HERE / "results"
FIGURE = HERE / "differences.png"
SEEDS_ASKED = 3


class Subject(NamedTuple):
    """A task: its name, the metric that counts, and frozen MiniLM's figure in the question."""

    title: str
    metric: str
    reference: float


TASKS = {
    "cola": Subject("CoLA", "matthews_correlation", 0.073),
    "sst2": Subject("SST-2", "accuracy", 0.798),
    "rte": Subject("RTE", "accuracy", 0.581),
    "stsb": Subject("STS-B", "spearman", 0.867),
}
LINEAR = "identity"
ARMS = [LINEAR] + [
    f"{family}, {coupling}"
    for coupling in ("pooled", "pairwise")
    for family in ("quadratic", "log_cosh", "spline")
]


def collect(folder: Path) -> None:
    """Adds to results/TASK.json what every finished run in ``folder`` found."""
    for task, subject in TASKS.items():
        found = (row(path.parent, subject) for path in folder.glob(f"{task}-*/*/result.json"))
        add_runs(RESULTS / f"{task}.json", found, lambda run: (ARMS.index(run["arm"]), run["seed"]))


def row(run: Path, subject: Subject) -> dict[str, Any]:
    """The figures of one run folder."""
    finished = read_finished(run)
    model = finished.config["model"]
    linear = model["heads"] == LINEAR
    return {
        "arm": LINEAR if linear else f"{model['heads']}, {model['coupling']}",
        "seed": finished.config["seed"],
        "num_steps": finished.result.get("num_steps"),
        "value": finished.metric("dev", subject.metric),
        "evaluations": finished.result["evaluations"],
        "alpha": finished.result.get("alpha", []),
        "versions": finished.versions,
    }


def read_results() -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """task → arm → seed → row, of the tasks that have runs."""
    results: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    for task in TASKS:
        for run in read_runs(RESULTS / f"{task}.json"):
            results.setdefault(task, {}).setdefault(run["arm"], {})[run["seed"]] = run
    return results


def frozen_figures() -> dict[str, float]:
    """What fine-tuning has to beat: the reference, or what frozen.py found where that is more."""
    found = json.loads((RESULTS / "frozen.json").read_text(encoding="utf-8"))
    return {task: max(subject.reference, found[task]) for task, subject in TASKS.items()}


class Difference(NamedTuple):
    """Paired differences to the linear model: mean, standard error, n, two-sided p of a t test."""

    mean: float
    error: float
    num: int
    p: float

    @property
    def places(self) -> int:
        """Decimals that show the error."""
        return 4 if not 0 < self.error < 5e-5 else 5


def difference(arm: dict[int, dict], linear: dict[int, dict]) -> Difference:
    """Over the seeds that both have."""
    values = [arm[s]["value"] - linear[s]["value"] for s in sorted(arm.keys() & linear.keys())]
    num = len(values)
    mean = statistics.fmean(values) if values else math.nan
    error = statistics.stdev(values) / math.sqrt(num) if num > 1 else math.nan
    return Difference(mean, error, num, p_value(values))


def counting(differences: dict[str, Difference]) -> set[str]:
    """The arms whose difference counts by Holm's rule over all six comparisons of the task."""
    arms = ARMS[1:]
    counts = holm([differences[arm].p if arm in differences else 1.0 for arm in arms])
    return {arm for arm, is_counted in zip(arms, counts, strict=True) if is_counted}


def task_table(task: str, arms: dict[str, dict[int, dict]]) -> str:
    """One row a model: value, paired difference, p, verdict, α."""
    subject, linear = TASKS[task], arms.get(LINEAR, {})
    differences = {a: difference(arms[a], linear) for a in ARMS[1:] if a in arms}
    counted = counting(differences)
    lines = [
        f"**{subject.title}**, dev {subject.metric} (frozen: {frozen_figures()[task]:.3f}), "
        f"run on {devices_of(arms)}",
        "",
        "| heads of layers 3–6 | seeds | value | difference, paired | p | counts "
        "| α, mean (least … greatest) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in (a for a in ARMS if a in arms):
        runs = arms[arm]
        seeds = ", ".join(map(str, sorted(runs)))
        cells = [arm, seeds, over_seeds([run["value"] for run in runs.values()])]
        if arm == LINEAR:
            cells += ["", "", "", ""]
        else:
            d = differences[arm]
            cells += [
                f"{d.mean:+.{d.places}f} ± {d.error:.{d.places}f}"
                if d.num > 1
                else f"{d.mean:+.4f}",
                (f"{d.p:.2f}" if d.p >= 0.01 else f"{d.p:.1g}") if d.num > 1 else "–",
                "yes" if arm in counted else "no",
                alphas([head["alpha"] for run in runs.values() for head in run["alpha"]]),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def devices_of(arms: dict[str, dict[int, dict]]) -> str:
    """What the runs of a task were made on, with the versions of jax."""
    versions = [run["versions"] for runs in arms.values() for run in runs.values()]
    return " and ".join(sorted({f"{', '.join(v['devices'])}, jax {v['jax']}" for v in versions}))


def alphas(values: list[float]) -> str:
    return f"{statistics.fmean(values):+.3f} ({min(values):+.3f} … {max(values):+.3f})"


def cost_table() -> str:
    """Time of a training step of each model, from results/cost.json (made by cost.py)."""
    cost = json.loads((RESULTS / "cost.json").read_text(encoding="utf-8"))
    lines = [
        f"**Cost** of a training step: {cost['batch_size']} rows of {cost['length']} tokens, "
        f"median of {cost['num_rounds']} rounds, {cost['machine']}",
        "",
        "| heads of layers 3–6 | seconds | ratio to identity |",
        "| --- | --- | --- |",
    ]
    for arm, seconds in cost["seconds"].items():
        lines.append(f"| {arm} | {seconds:.3f} | {cost['ratios'][arm]:.2f} |")
    return "\n".join(lines)


def tables() -> str:
    """What stands between the marks of the README."""
    results = read_results()
    if not results:
        return "Not run yet."
    done = sum(len(runs) for arms in results.values() for runs in arms.values())
    total = len(TASKS) * len(ARMS) * SEEDS_ASKED
    parts = [] if done == total else [f"**{done} of {total} runs are finished.**"]
    parts += [task_table(task, arms) for task, arms in results.items()]
    if (RESULTS / "cost.json").is_file():
        parts.append(cost_table())
    parts.append(f"![Differences to the linear model]({FIGURE.name})")
    return "\n\n".join(parts)


def ledger_row() -> str:
    """What was found, in one line of the ledger."""
    results = read_results()
    differences = {
        task: {a: difference(arms[a], arms.get(LINEAR, {})) for a in ARMS[1:] if a in arms}
        for task, arms in results.items()
    }
    known = sum(d.num > 1 for of_task in differences.values() for d in of_task.values())
    counted = sum(len(counting(of_task)) for of_task in differences.values())
    frozen = frozen_figures()
    gains = {
        task: [run["value"] - frozen[task] for run in arms[LINEAR].values()]
        for task, arms in results.items()
    }
    above = [task for task, values in gains.items() if statistics.fmean(values) > 0]
    counting_gains = [TASKS[task].title for task in above if p_value(gains[task]) < 0.05]
    found = f"{counted} of {known} differences to linear heads count" if known else "one seed yet"
    return (
        f"{found}; linear heads, fine-tuned, are above frozen MiniLM on {len(above)} of "
        f"{len(results)} tasks, which counts on {', '.join(counting_gains)}"
    )


def draw() -> None:
    """Writes the figure: paired differences by task and model, 95 % intervals of one comparison."""
    results = read_results()
    figure, axes = plt.subplots(1, len(results), figsize=(3 * len(results) + 1.5, 3.2), sharey=True)
    for ax, (task, arms) in zip(figure.axes, results.items(), strict=True):
        for position, arm in enumerate(ARMS[1:]):
            if arm not in arms or LINEAR not in arms:
                continue
            pairs = sorted(arms[arm].keys() & arms[LINEAR].keys())
            values = [100 * (arms[arm][s]["value"] - arms[LINEAR][s]["value"]) for s in pairs]
            d = difference(arms[arm], arms[LINEAR])
            ax.plot(values, [position] * len(values), "o", ms=4, mfc="none", color="0.4")
            if d.num > 1:
                half = 100 * float(stats.t.ppf(0.975, d.num - 1)) * d.error
                style = {"fmt": "s", "ms": 5, "color": "#0072b2", "capsize": 3}
                ax.errorbar(100 * d.mean, position, xerr=half, **style)
        ax.axvline(0, color="0.2", lw=0.8)
        ax.set_title(TASKS[task].title, fontsize=10)
        metric = TASKS[task].metric.replace("_", " ")
        ax.set_xlabel(f"{metric} × 100,\nminus that of linear heads", fontsize=9)
    figure.axes[0].set_yticks(range(len(ARMS) - 1), ARMS[1:])
    figure.axes[0].set_ylim(len(ARMS) - 1.5, -0.5)
    figure.suptitle(
        "Non-linear heads in fine-tuned MiniLM\ndots: seeds; bars: 95 % intervals", fontsize=11
    )
    figure.tight_layout()
    figure.savefig(FIGURE, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}, collect=collect, draw=draw))
