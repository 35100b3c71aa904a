"""Trains every combination of some settings, one run after another, and compares them.

  ./scripts/sweep --config=configs/NAME.py[:args] [--config.a.b=value ...] --workdir=DIR \\
      seed=0,1,2 'model.heads=identity|identity:2,quadratic:2' ...

KEY=VALUE,VALUE varies a key of configs/defaults.py. Values that have commas are separated by |;
a | at the end makes one value of what stands before it. Each run has its own folder in DIR, named
after its values. Finished runs are not made again and an interrupted one goes on: the same command
goes on after Ctrl-C or a crash, with further values too. A run that fails does not end the others.

DIR gets sweep.json and sweep.md after every run: mean and standard error over the seeds of each
setting, its time, the difference to the first setting with seeds matched, and what is missing.

  --collect   makes these two files from the runs that are there, and runs nothing
  --print     prints the command of each run instead
  --slurm     prints a SLURM array job with a task for each run instead

Exit codes: 0 all runs finished, 1 some failed (or, with --collect, are missing), 2 wrong
arguments, 75 stopped and can go on.
"""

import functools
import operator
import os
import shlex
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Config files import configs.defaults, wherever the command is started.
sys.path.insert(0, str(ROOT))

from configs.command_line import (  # noqa: E402
    UsageError,
    change_config,
    check_key,
    load_config,
    take_options,
)
from scripts.exit_codes import (  # noqa: E402
    FAILED,
    fail,
    failing_once_begun,
    run_command,
    say_stopped,
    stop_by_signals,
)

MODES = ("collect", "print", "slurm")


def main(argv: list[str]) -> int:
    return run_command(_sweep, argv, help_text=__doc__)


def _sweep(argv: list[str]) -> int:
    given = argv[1:]
    options, switches, argv = take_options(argv, names=("config", "workdir"), switches=MODES)
    if len(switches) > 1:
        raise UsageError(f"of --{' and --'.join(sorted(switches))} only one can be done")
    if "config" not in options:
        raise UsageError("--config=FILE is missing: configs/NAME.py[:args] or RUN/config.json")
    if "workdir" not in options:
        raise UsageError("--workdir=DIR is missing: the folder for the runs and the summary")
    runs = plan(options["config"], argv)
    workdir = Path(options["workdir"]).expanduser()

    from hopfield_attn.train.sweep.runs import check_runs, read_failures

    check_runs(runs, workdir)
    commands = [["./scripts/train", *arguments_of(run, workdir)] for run in runs]
    sweep = shlex.join(["./scripts/sweep", *(a for a in given if a.lstrip("-") not in MODES)])
    if "print" in switches:
        print("\n".join(map(shlex.join, commands)))
        return 0
    if "slurm" in switches:
        print_slurm_script(commands, workdir, sweep)
        return 0
    if "collect" in switches:
        missing = summarise_into(workdir, runs, sweep, failures=read_failures(workdir))
        print(f"Written to {workdir}/sweep.md")
        return FAILED if missing else 0
    with failing_once_begun():
        return run_missing(runs, workdir, sweep)


def plan(spec: str, argv: list[str]):
    """The runs of the grid, in the order in which they are made."""
    config = load_config(spec)
    varied = change_config(config, argv)
    if not varied:
        raise UsageError("nothing varies; name a key and its values, as in seed=0,1,2")
    for text in varied:
        key, is_axis, _ = text.partition("=")
        if is_axis:
            check_key(config, key, shown=text)

    # JAX takes a second to import: only once the keys are known to be right.
    from hopfield_attn.train.pretrained import adopt_pretrained
    from hopfield_attn.train.sweep.grid import make_grid, parse_axis
    from hopfield_attn.train.sweep.runs import PlannedRun

    fixed = fixed_arguments(argv[1:], varied)
    runs = []
    for point in make_grid([parse_axis(text) for text in varied]):
        arguments = [f"--config={spec}", *fixed, *(f"--config.{k}={v}" for k, v in point.items())]
        config = load_config(spec)
        change_config(config, ["sweep", *arguments[1:]])
        adopt_pretrained(config)
        values = {key: functools.reduce(operator.getitem, key.split("."), config) for key in point}
        runs.append(PlannedRun(values, config, tuple(arguments)))
    return runs


def fixed_arguments(arguments: list[str], varied: list[str]) -> list[str]:
    """``arguments`` without those that vary: what is the same for all runs."""
    left = list(arguments)
    for text in reversed(varied):
        del left[len(left) - 1 - left[::-1].index(text)]
    return left


def arguments_of(run, workdir: Path) -> list[str]:
    return [*run.arguments, f"--workdir={workdir / run.name}"]


def run_missing(runs, workdir: Path, command: str) -> int:
    """Makes the runs that are not finished, and says how it went."""
    from hopfield_attn.train.sweep.processes import Processes
    from hopfield_attn.train.sweep.runs import failure_reason, is_finished, read_failures
    from hopfield_attn.train.work import WORK_BEGUN

    todo = [run for run in runs if not is_finished(run, workdir)]
    if len(todo) < len(runs):
        print(f"{len(runs) - len(todo)} of {len(runs)} runs are finished already")
    workdir.mkdir(parents=True, exist_ok=True)
    failures = read_failures(workdir)
    with (
        Processes() as processes,
        tempfile.TemporaryDirectory(dir=workdir, prefix="compiled-") as compiled,
    ):
        # Runs that differ in their seed, and one that goes on, are the same programs.
        environment = {
            "JAX_COMPILATION_CACHE_DIR": compiled,
            # Many small programs take as long as a few large ones.
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        } | os.environ
        for number, run in enumerate(todo, start=len(runs) - len(todo) + 1):
            if processes.is_stopped:
                break
            print(f"[{number}/{len(runs)}] {run.name}", flush=True)
            failures.pop(run.name, None)
            program = [sys.executable, str(ROOT / "scripts" / "train.py")]
            outcome = processes.run(
                [*program, *arguments_of(run, workdir)], environment=environment
            )
            WORK_BEGUN.set()
            if outcome.code and not processes.is_stopped:
                failures[run.name] = failure_reason(outcome.code, outcome.last_line)
            summarise_into(workdir, runs, command, failures=failures)
    if not todo:
        summarise_into(workdir, runs, command, failures={})
    left = [run.name for run in runs if not is_finished(run, workdir)]
    if processes.is_stopped and left:
        return say_stopped(f"Stopped, {len(runs) - len(left)} of {len(runs)} runs are finished.")
    print(f"Written to {workdir}/sweep.md")
    for name in left:
        fail(f"{name}: {failures.get(name, 'not finished')}", code=FAILED)
    return FAILED if left else 0


def summarise_into(workdir: Path, runs, command: str, *, failures: dict[str, str]) -> list[dict]:
    """Writes sweep.json and sweep.md; returns the runs that are missing."""
    from hopfield_attn.files import write_json, write_text
    from hopfield_attn.train.sweep.report import markdown
    from hopfield_attn.train.sweep.runs import SUMMARY_FILE, read_runs
    from hopfield_attn.train.sweep.summary import summarise

    summary = summarise(read_runs(runs, workdir, failures=failures))
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / SUMMARY_FILE, {"command": command, **summary})
    write_text(workdir / "sweep.md", markdown(summary, command=command))
    return summary["missing"]


def print_slurm_script(commands: list[list[str]], workdir: Path, command: str) -> None:
    from hopfield_attn.train.sweep.slurm import slurm_script

    # The job is run where this is, with this checkout.
    train = str(ROOT / "scripts" / "train")
    collect = [str(ROOT / "scripts" / "sweep"), *shlex.split(command)[1:], "--collect"]
    commands = [[train, *arguments[1:]] for arguments in commands]
    name = f"sweep-{workdir.name}"
    print(slurm_script(commands, name=name, folder=os.getcwd(), collect=collect), end="")


if __name__ == "__main__":
    # Runs are told of signals; before the first one starts, SIGTERM and SIGUSR1 are as Ctrl-C.
    stop_by_signals()
    sys.exit(main(sys.argv))
