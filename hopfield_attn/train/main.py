"""A whole run: train, train the linear baseline when there is one, compare, and say how it went."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from hopfield_attn.train.compare import compare_runs
from hopfield_attn.train.config_checks import check_config
from hopfield_attn.train.interrupt import InterruptFlag
from hopfield_attn.train.logging import say
from hopfield_attn.train.loop import TrainedModel, train
from hopfield_attn.train.pretrained import adopt_pretrained
from hopfield_attn.train.processes import ending_together, in_writer, is_writer, writer_first
from hopfield_attn.train.profiler import NO_STEPS
from hopfield_attn.train.report_run import write_report
from hopfield_attn.train.run_folder import open_run_folder
from hopfield_attn.train.run_lock import locked
from hopfield_attn.train.tasks import Task, make_task


def run(
    config: Any, workdir: Path, *, console: Console | None = None, traced: range = NO_STEPS
) -> dict[str, Any]:
    """Runs what ``config`` describes in ``workdir``; goes on where an earlier call was stopped.

    Args:
      config: a training config (``configs/defaults.py`` has every key).
      workdir: the run folder.
      console: where to print; ``None`` is the terminal.
      traced: steps of the run, not of its baseline, to write a trace of, see
        :func:`hopfield_attn.train.profiler.traced_steps`.

    Returns:
      The result of the run, as in ``result.json``.

    Raises:
      RunFolderInUse: another process writes into the folder.
    """
    console = console or Console(quiet=not is_writer())
    with ExitStack() as stack:
        # Not process_count, which waits for all processes to have made their devices known.
        if jax.distributed.is_initialized():
            # None may end alone: what comes before the first step waits for the others there.
            stack.enter_context(InterruptFlag())
        adopt_pretrained(config, workdir)
        check_config(config)
        _open_folder(workdir, config, stack)
        stack.enter_context(ending_together(workdir))
        return _run(config, workdir, console, stack, traced)


def _run(
    config: Any, workdir: Path, console: Console, stack: ExitStack, traced: range
) -> dict[str, Any]:
    say(console, "Preparing the data …")
    # The first process trains the tokenizer, and the others find it.
    task = writer_first("task", lambda: make_task(config, workdir))
    heads = config.model.heads
    runs = {heads: train(config, workdir, task, title=heads, console=console, traced=traced)}
    if config.baseline_heads:
        baseline = baseline_config(config)
        folder = workdir / "baseline"
        _open_folder(folder, baseline, stack)
        title = baseline.model.heads
        runs[title] = train(baseline, folder, task, title=title, console=console)
    print_summary(console, task, runs)
    if config.baseline_heads and is_writer():
        for title, trained in runs.items():
            check_is_last(trained, title)
        picture = compare_runs(workdir, folder, task, runs)
        say(console, f"Picture: {picture}")
        say(console, f"Report: {write_report(config, workdir)}")
    say(console, f"Run folder: {workdir}")
    return runs[heads].result


def check_is_last(trained: TrainedModel, title: str) -> None:
    """Raises ``ValueError`` unless the parameters are those of the result."""
    expected = trained.result["num_steps"]
    if trained.step != expected:
        raise ValueError(
            f"{title}: result.json is of step {expected}, and the newest whole checkpoint is "
            f"{trained.step or 'missing'}: there is nothing to compare the runs with"
        )


def _open_folder(workdir: Path, config: Any, stack: ExitStack) -> None:
    """Opens the folder, and locks it until ``stack`` ends."""

    def lock_and_open() -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(workdir))
        open_run_folder(workdir, config)

    in_writer(lock_and_open)


def baseline_config(config: Any) -> Any:
    """The same run with the heads of ``config.baseline_heads``: same seed, data and parameters."""
    baseline = type(config)(json.loads(config.to_json()))
    baseline.model.heads = config.baseline_heads
    baseline.baseline_heads = ""
    return baseline


def print_summary(console: Console, task: Task, runs: dict[str, TrainedModel]) -> None:
    """Prints a table: a row a held-out metric, a column a run, and the baselines below."""
    results = {title: trained.result for title, trained in runs.items()}
    first = next(iter(results.values()))
    table = Table(title="Held-out results")
    table.add_column("")
    for title in results:
        table.add_column(title, justify="right", overflow="fold")
    for name, scores in first["evaluations"].items():
        for metric in scores:
            values = (r["evaluations"][name][metric] for r in results.values())
            table.add_row(f"{name} {metric}", *map(_four_digits, values))
    table.add_row("parameters", *(f"{r['num_parameters']:,}" for r in results.values()))
    speeds = (r["tokens_per_second"] for r in results.values())
    table.add_row("tokens/s", *(f"{speed:,.0f}" if speed else "–" for speed in speeds))
    console.print(table)
    for name, value in task.baselines.items():
        say(console, f"Without a model, {name.replace('_', ' ')}: {value:.4f}")


def _four_digits(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
