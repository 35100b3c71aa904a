"""Collects finished runs into results/, and writes tables and the picture of the README from it.

python experiments/03_attention_patterns/collect.py RUNS     # adds the runs below a folder, then:
python experiments/03_attention_patterns/collect.py          # the tables and the picture only
python experiments/03_attention_patterns/collect.py --check  # exit 1 if the tables are stale
"""

import json
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

from experiments.curves import at_equal_time, finished, judge, median_speed
from experiments.finished_run import failed_runs, merge_runs, named_failures
from experiments.page import run_collector
from experiments.seeds import over_seeds
from hopfield_attn.files import write_json
from hopfield_attn.train.sweep.summary import mean_and_error

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
TASKS = ("recall", "induction", "match2", "match3", "retrieval", "brackets")
COUPLINGS = ("pooled", "pairwise")
FAMILIES = ("quadratic", "square", "exponential", "log_cosh", "spline")
LINEAR = "linear"
LEVEL = 0.9
NUM_COMPARED = len(COUPLINGS) * len(FAMILIES) * 3
NUM_RUNS = len(TASKS) * (1 + NUM_COMPARED) * 5
"""Tasks × settings × seeds of run.sh."""
STYLES = {1: ("#0072b2", "o", -0.25), 2: ("#e69f00", "s", 0.0), 4: ("#009e73", "^", 0.25)}
"""T → colour, marker and offset within a row of the picture."""
COLUMNS = (
    "heads",
    "n",
    "test accuracy, equal steps",
    "difference to linear",
    "validation accuracy, equal time",
    "n that reach 90 %",
    "samples to 90 %",
    "seconds to 90 %",
    "steps/s",
    "mass, best head",
    "mass, mean",
    "mass of A, best head",
    "failed",
)


def collect(runs: Path) -> None:
    """Adds to results/TASK.json what the finished and the failed runs below a folder found."""
    sys.path.insert(0, str(HERE.parents[1]))
    from measure import read_failed, read_run

    earlier = read_results()
    for task in TASKS:
        found = [read_run(path.parent) for path in runs.glob(f"{task}-*/*/result.json")]
        found += [read_failed(*failed) for failed in failed_runs(runs, task).items()]
        rows = merge_runs(earlier.get(task, []), found, key_of)
        if rows:
            (HERE / "results").mkdir(exist_ok=True)
            write_json(HERE / "results" / f"{task}.json", rows)


def key_of(run: dict) -> tuple:
    """What tells a run of a task from the others."""
    return run["coupling"], run["num_steps"], run["heads"], run["seed"]


def read_results() -> dict[str, list[dict]]:
    """The runs by task."""
    paths = {task: HERE / "results" / f"{task}.json" for task in TASKS}
    return {
        task: json.loads(path.read_text(encoding="utf-8"))
        for task, path in paths.items()
        if path.is_file()
    }


def by_setting(runs: list[dict]) -> dict[str, dict[int, dict]]:
    """Runs by setting, then by seed; the linear ones first."""
    found: dict[str, dict[int, dict]] = {}
    for run in sorted(runs, key=key_of):
        found.setdefault(setting_of(run), {})[run["seed"]] = run
    return found


def setting_of(run: dict) -> str:
    """The name of what is the same in all seeds."""
    if not run["coupling"]:
        return LINEAR
    return f"{run['heads']}, {run['coupling']}, T = {run['num_steps']}"


def steps_to_level(run: dict) -> int | None:
    """Steps at the first evaluation from which on accuracy is at least 90 % of the best possible.

    A single evaluation above the level, followed by one below, does not count.
    """
    level = LEVEL * run["baselines"]["best_accuracy"]
    reached = None
    for step, accuracy in reversed(run["validation_accuracies"]):
        if accuracy < level:
            break
        reached = step
    return reached


def verdict(runs: list[dict]) -> tuple[int, int, int]:
    """How many settings of a task are better, how many worse by the rule, and of how many."""
    paired, counts = judge(by_setting(runs), linear=LINEAR, planned=NUM_COMPARED)
    means = [statistics.fmean(paired[name]) for name, is_counted in counts.items() if is_counted]
    above = sum(mean > 0 for mean in means)
    return above, len(means) - above, len(paired)


def table(task: str, runs: list[dict]) -> str:
    """One row a setting."""
    settings = by_setting(runs)
    linear = list(settings.get(LINEAR, {}).values())
    paired, counts = judge(settings, linear=LINEAR, planned=NUM_COMPARED)
    lines = [f"**{task}**", "", "| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for name, group in settings.items():
        cells = setting_cells(list(group.values()), linear)
        difference = (
            over_seeds(paired[name], sign="+", digits=3) + " *" * counts[name]
            if paired.get(name)
            else ""
        )
        failed = named_failures(group.values())
        lines.append("| " + " | ".join([name, *cells[:2], difference, *cells[2:], failed]) + " |")
    done = finished(runs)
    if not done:
        return "\n".join([*lines, "", "No run is finished."])
    first = done[0]
    baselines = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in first["baselines"].items()
    )
    note = f"`{first['difficulty']}`. Without a model: {baselines}. Uniform attention has the mass"
    return "\n".join([*lines, "", f"{note} {first['uniform_mass']:.3f}. *: counts by the rule."])


def setting_cells(runs: list[dict], linear: list[dict]) -> list[str]:
    """The cells of a row, without its name, its difference and its failures; of finished runs."""
    group, linear = finished(runs), finished(linear)
    if not group:
        return ["0", *["–"] * (len(COLUMNS) - 4)]
    reached = [(steps_to_level(run), run) for run in group]
    reached = [(steps, run) for steps, run in reached if steps is not None]
    speed = median_speed(group)
    masses, plain = (
        [[mass for layer in run[name] for mass in layer] for run in group]
        for name in ("masses", "plain_masses")
    )
    at_time = at_equal_time(group, linear)
    samples = [steps * run["batch_size"] for steps, run in reached]
    steps = statistics.median(steps for steps, _ in reached) if reached else None
    return [
        str(len(group)),
        over_seeds([run["test_accuracy"] for run in group], digits=3),
        over_seeds(at_time, digits=3) if at_time else "–",
        str(len(reached)),
        f"{statistics.median(samples):,.0f}" if samples else "–",
        f"{steps / speed:,.1f}" if steps and speed else "–",
        f"{speed:,.1f}" if speed else "–",
        over_seeds([max(values) for values in masses], digits=3),
        over_seeds([statistics.fmean(values) for values in masses], digits=3),
        over_seeds([max(values) for values in plain], digits=3),
    ]


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """Paired differences of the test accuracy to linear heads, a panel a task, a row a model."""
    rows = [f"{family}, {coupling}" for coupling in COUPLINGS for family in FAMILIES]
    num_columns = min(3, len(results))
    num_lines = -(-len(results) // num_columns)
    size = (2.4 + 3.6 * num_columns, 1.0 + 3.6 * num_lines)
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    panels = figure.subplots(num_lines, num_columns, sharey=True, squeeze=False).ravel()
    for axes, (task, runs) in zip(panels, results.items(), strict=False):
        settings = by_setting(runs)
        linear = settings.get(LINEAR, {})
        paired, _ = judge(settings, linear=LINEAR, planned=NUM_COMPARED)
        for name, values in paired.items():
            if not values:
                continue
            row, _, steps = name.rpartition(", T = ")
            color, marker, shift = STYLES[int(steps)]
            found = mean_and_error([100 * value for value in values])
            place = rows.index(row) + shift
            style = {"color": color, "marker": marker, "markersize": 4, "linestyle": "none"}
            axes.errorbar(
                found["mean"],
                place,
                xerr=found["standard_error"],
                label=f"T = {steps}",
                linewidth=1,
                **style,
            )
        axes.axvline(0, color="0.2", linewidth=0.8)
        scores = [run["test_accuracy"] for run in finished(linear.values())]
        accuracy = over_seeds(scores, digits=3) if scores else "none finished"
        axes.set(title=f"{task}, linear heads: {accuracy}", xlabel="accuracy × 100, minus linear")
        axes.title.set_fontsize(10)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    for axes in panels[len(results) :]:
        axes.set_visible(False)
    shown = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), frameon=False
    )
    above, below, num = (
        sum(counted) for counted in zip(*map(verdict, results.values()), strict=True)
    )
    figure.suptitle(
        f"Of {num} differences to linear heads {above} count for non-linear ones, {below} against"
        " them\nmean and standard error over the seeds; a run that failed counts as a guess"
    )
    figure.savefig(path)


def tables() -> str:
    """What stands between the marks of the README."""
    results = read_results()
    runs = [run for group in results.values() for run in group]
    if not runs:
        return "Not run yet."
    num_failed = sum(bool(run.get("failure")) for run in runs)
    parts = ["![Accuracy of non-linear heads minus that of linear ones](accuracy.png)"]
    parts += [table(task, runs) for task, runs in results.items()]
    if len(runs) < NUM_RUNS:
        progress = f"{len(runs) - num_failed} of {NUM_RUNS} runs are finished, {num_failed} failed."
        parts.insert(0, f"**{progress}**")
    return "\n\n".join(parts)


def ledger_row() -> str:
    """What was found, in one line of the ledger."""
    results = read_results()
    found = []
    for task, runs in results.items():
        above, below, num = verdict(runs)
        found.append(f"{task} {above} better, {below} worse of {num}")
    num_runs = sum(map(len, results.values()))
    failed = [run for runs in results.values() for run in runs if run.get("failure")]
    suffix = f", {len(failed)} of them failed" if failed else ""
    return f"settings that differ from linear heads: {'; '.join(found)} ({num_runs} runs{suffix})"


def draw_results() -> None:
    """Writes accuracy.png, of the tasks that have something to compare."""
    compared = {
        task: runs for task, runs in read_results().items() if any(run["coupling"] for run in runs)
    }
    draw(compared, HERE / "accuracy.png")


if __name__ == "__main__":
    sys.exit(run_collector(__doc__, README, {"tables": tables}, collect=collect, draw=draw_results))
