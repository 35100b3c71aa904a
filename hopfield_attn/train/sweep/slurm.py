"""A SLURM array job that runs a sweep, one run a task."""

import shlex
from collections.abc import Sequence


def slurm_script(
    commands: Sequence[Sequence[str]], *, name: str, folder: str, collect: Sequence[str]
) -> str:
    """The text of a batch script: ``sbatch`` it after setting the time and the hardware.

    Two minutes before its time is up, or when it is preempted, a run gets SIGTERM, saves its step
    and exits with 75; then the task is put back into the queue and goes on from there.

    Args:
      commands: the command line of each run.
      name: of the job.
      folder: where the commands are to be run.
      collect: the command line that summarises the finished runs.

    Raises:
      ValueError: there is no command.
    """
    if not commands:
        raise ValueError("expected at least one run, got none")
    cases = [f"  {k}) set -- {shlex.join(command)} ;;" for k, command in enumerate(commands)]
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --job-name={_word(name)}",
            f"#SBATCH --array=0-{len(commands) - 1}",
            "#SBATCH --output=%x-%A_%a.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4",
            "#SBATCH --time=04:00:00",
            "#SBATCH --signal=TERM@120",
            "#SBATCH --requeue",
            "# Edit the time, and add what a run needs here, such as: #SBATCH --gpus-per-task=1",
            "#",
            "# When all runs are finished:",
            f"#   cd {shlex.quote(folder)} && {shlex.join(collect)}",
            "set -u",
            f"cd {shlex.quote(folder)} || exit 1",
            'case "$SLURM_ARRAY_TASK_ID" in',
            *cases,
            '  *) echo "no run has the number $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;',
            "esac",
            'srun "$@"',
            "code=$?",
            "# 75: stopped before its end, and the same command goes on.",
            'if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi',
            'exit "$code"',
            "",
        ]
    )


def _word(name: str) -> str:
    """``name`` with nothing in it that would end an #SBATCH option."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)
