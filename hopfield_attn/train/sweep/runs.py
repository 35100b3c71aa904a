"""The runs of a sweep on disk: which can be made, which are finished, and what they found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hopfield_attn.data.json_fields import read_field
from hopfield_attn.files import parse_object
from hopfield_attn.train.config_checks import check_config
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.run_files import COMPARISON_FILE, REPORT_FILE, read_result
from hopfield_attn.train.run_folder import holds_run
from hopfield_attn.train.sweep.grid import SEED, run_name
from hopfield_attn.train.sweep.summary import SweepRun

SUMMARY_FILE = "sweep.json"
_FAILED = "exit code"


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid.

    Attributes:
      values: of the keys that vary, as the config has them.
      config: the resolved config.
      arguments: of ``scripts/train`` that make it, without the run folder.
    """

    values: Mapping[str, Any]
    config: Any
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return run_name(self.values)


def check_runs(runs: Sequence[PlannedRun], workdir: Path) -> None:
    """Refuses what cannot be run, before anything is.

    Raises:
      ValueError: two runs are the same, heads or counts do not fit, or a folder holds another run.
    """
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            raise ValueError(f"two runs of the grid would share the folder {run.name}")
        try:
            check_config(run.config)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{run.name}: {error}") from None
        holds_run(workdir / run.name, run.config)


def is_finished(run: PlannedRun, workdir: Path) -> bool:
    """Whether nothing is left to do, for the run and for its linear baseline if it has one."""
    folder = workdir / run.name
    if not run.config.baseline_heads:
        return read_result(folder) is not None
    # A report alone may have been asked for in the middle of the run.
    is_compared = all((folder / name).is_file() for name in (COMPARISON_FILE, REPORT_FILE))
    return is_compared and None not in (read_result(folder), read_result(folder / "baseline"))


def read_runs(
    runs: Sequence[PlannedRun], workdir: Path, *, failures: Mapping[str, str]
) -> list[SweepRun]:
    """What the runs have found so far.

    Args:
      runs: of the whole grid.
      workdir: the folder of the sweep.
      failures: what is known of failed runs, by name.
    """
    return [
        SweepRun(
            name=run.name,
            setting={key: value for key, value in run.values.items() if key != SEED},
            seed=run.config.seed,
            result=read_result(workdir / run.name) if is_finished(run, workdir) else None,
            missing=failures.get(run.name, "") or _progress(run, workdir / run.name),
        )
        for run in runs
    ]


def failure_reason(code: int, said: str) -> str:
    """Why a run has no result, of one that ended with an exit code and a last line."""
    return f"{_FAILED} {code}, {said.removeprefix('error: ') or 'no message'}"


def read_failures(workdir: Path) -> dict[str, str]:
    """Run → why it failed, from the summary of a sweep; none where there is no summary.

    Raises:
      ValueError: ``sweep.json`` is none.
    """
    path = workdir / SUMMARY_FILE
    if not path.is_file():
        return {}
    try:
        missing = read_field(parse_object(path.read_bytes()), "missing", list)
        reasons = {run["name"]: str(run["reason"]) for run in missing}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no summary of a sweep: {error}") from None
    return {name: reason for name, reason in reasons.items() if reason.startswith(_FAILED)}


def _progress(run: PlannedRun, folder: Path) -> str:
    logged = read_metrics(folder)
    if not logged:
        return "not started"
    return f"not finished, {logged[-1]['step']} of {run.config.train.num_steps} steps logged"
