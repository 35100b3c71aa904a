"""Trains what a config describes.

  ./scripts/train --config=configs/NAME.py[:args] [--config.a.b=value ...] --workdir=DIR

The config is a Python file with get_config(arg), or the config.json of a run folder. Every key of
configs/defaults.py can be set on the command line; the text after the colon goes to get_config
(":smoke" is a run of seconds). Ctrl-C, SIGTERM and SIGUSR1 end it at any moment, and in training
save the current step; the same command goes on from there; a second signal ends it at once. A
folder that another process writes into is refused.

The run folder gets config.json, versions.json, tokenizer.json, metrics.jsonl and metrics.csv,
checkpoints/, result.json and, with --config.baseline_heads, a linear run beside it in
baseline/ and the picture comparison.png.

Devices: --config.mesh.fsdp=8 and its like split parameters, heads or sequences (docs/devices.md).
Hosts: the same command on each; SLURM and GKE are seen, --coordinator=auto asks JAX (TPU VMs), else
  --coordinator=HOST:PORT --num_processes=N --process_id=I (docs/launch.md)

--dry_run prints parameters, operations and memory of the compiled step, and reads no data.
--profile=START:STOP writes a trace of steps START to STOP-1, numbered as in metrics.jsonl, into
  DIR/profile, for TensorBoard and Perfetto (docs/training.md)

Exit codes: 0 finished, 1 failed, 2 wrong arguments, 75 stopped and can go on.
"""

import re
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Config files import configs.defaults, wherever the command is started.
sys.path.insert(0, str(ROOT))

from ml_collections import ConfigDict  # noqa: E402

from configs.command_line import (  # noqa: E402
    UsageError,
    change_config,
    load_config,
    take_options,
)
from scripts.exit_codes import (  # noqa: E402
    STOP_SIGNALS,
    failing_once_begun,
    run_command,
    say_stopped,
    stop_at_once,
)

RUN_LOCK = ROOT / "hopfield_attn" / "train" / "run_lock.py"


def main(argv: list[str]) -> int:
    return run_command(_run, argv, help_text=__doc__)


def _run(argv: list[str]) -> int:
    joining, argv = parse_joining(argv)
    options, switches, argv = take_options(argv, names=("profile",), switches=("dry_run",))
    if switches:
        argv = [*argv, "--workdir=not-made"]
    config, workdir = parse_arguments(argv)
    traced = parse_steps(options.get("profile"), num_steps=config.train.num_steps)
    if traced and switches:
        raise UsageError("--profile needs a run: a dry run makes no steps")
    # JAX takes a second to import: only once the command line is known to be right, and nobody
    # writes into the folder. By its path, as the package that the lock is in imports JAX.
    if not switches:
        runpy.run_path(str(RUN_LOCK))["refuse_if_locked"](workdir)
    from hopfield_attn.train.interrupt import Interrupted, watch_signals
    from hopfield_attn.train.main import run
    from hopfield_attn.train.processes import join_processes

    if signal.getsignal(signal.SIGTERM) is stop_at_once:
        watch_signals(stop_at_once)
    join_processes(**joining)
    if switches:
        from hopfield_attn.train.dry_run import dry_run

        dry_run(config)
        return 0
    try:
        with failing_once_begun():
            run(config, workdir, traced=traced)
    except Interrupted as stop:
        return say_stopped(f"Stopped at step {stop.step}, saved." if stop.step else "Stopped.")
    return 0


def parse_joining(argv: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Returns how to find the other processes, and the rest of the command line."""
    numbers = ("num_processes", "process_id")
    options, _, argv = take_options(argv, names=("coordinator", *numbers))
    joining: dict[str, Any] = {"coordinator": options.get("coordinator")}
    for name in numbers:
        text = options.get(name)
        if text is not None and not text.isdecimal():
            raise UsageError(f"--{name}={text}: must be a number")
        joining[name] = None if text is None else int(text)
    return joining, argv


def parse_steps(text: str | None, *, num_steps: int) -> range:
    """The steps that ``--profile=START:STOP`` names; none without it."""
    if text is None:
        return range(0)
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    steps = range(int(found[1]), int(found[2])) if found else range(0)
    if not steps or steps.start < 1 or steps[-1] > num_steps:
        raise UsageError(
            f"--profile={text}: must be START:STOP with 1 <= START < STOP <= {num_steps + 1}, as "
            f"the run has the steps 1 to {num_steps}"
        )
    return steps


def parse_arguments(argv: list[str]) -> tuple[ConfigDict, Path]:
    """Returns the resolved config and the run folder."""
    options, _, argv = take_options(argv, names=("config", "workdir"))
    if "config" not in options:
        raise UsageError("--config=FILE is missing: configs/NAME.py[:args] or RUN/config.json")
    config = load_config(options["config"])
    rest = change_config(config, argv)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}; options look like --config.seed=1")
    if "workdir" not in options:
        raise UsageError("--workdir=DIR is missing: the folder for results and checkpoints")
    return config, Path(options["workdir"]).expanduser()


if __name__ == "__main__":
    # Until there is a step to save.
    for number in STOP_SIGNALS:
        signal.signal(number, stop_at_once)
    sys.exit(main(sys.argv))
