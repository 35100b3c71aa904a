"""The newest checkpoint that is whole: nothing is loaded that differs from its checksums."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from rich.console import Console

from hopfield_attn.train.checksums import (
    ArrayRecord,
    describe_arrays,
    kind_differences,
    record_arrays,
    records_from_json,
)
from hopfield_attn.train.logging import say
from hopfield_attn.train.orbax_noise import settle_failed_tasks, without_orbax_noise
from hopfield_attn.train.processes import THIS_PROCESS, Exchange
from hopfield_attn.typing import PyTree

# No fault of the checkpoint: memory, access rights and the device are to be mended, not the folder.
NO_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)

_NO_STEP = -1
_T = TypeVar("_T")


class CheckpointError(OSError):
    """No checkpoint could be written, or none of those there can be trusted."""


class DamagedCheckpoint(Exception):
    """The reason why a checkpoint is not used."""


class FoundCheckpoint(NamedTuple):
    """What was read, and what was not.

    Attributes:
      step: of the checkpoint.
      tree: the part of it that was asked for.
      damaged: newer steps that are not used, with the reason.
    """

    step: int
    tree: PyTree
    damaged: dict[int, str]


def say_on_stderr(text: str) -> None:
    """Prints a line for whoever runs a command."""
    say(Console(stderr=True), text)


def restore_params(
    directory: Path, like: PyTree, *, say: Callable[[str], None] = say_on_stderr
) -> tuple[int, PyTree]:
    """The step and the parameters of the newest whole checkpoint; a live run may own the folder.

    Nothing in the folder is changed.

    Args:
      directory: the folder of the checkpoints.
      like: parameters of the same structure and shapes; the result is placed as they are.
      say: prints a line about a damaged checkpoint.

    Raises:
      FileNotFoundError: there is no checkpoint.
      CheckpointError: all checkpoints are damaged.
      ValueError: the checkpoint has other parameters.
    """
    if not saved_steps(directory) and not rejected_folders(directory):
        raise FileNotFoundError(f"{directory} has no checkpoint: the run has not saved a step yet")
    with without_orbax_noise():
        found = newest_whole(directory.absolute(), {"params": like, "step": jnp.int32(0)})
    for step, reason in found.damaged.items():
        say(f"{directory}: checkpoint {step} is damaged ({reason}); step {found.step} is used")
    return found.step, found.tree["params"]


def newest_whole(
    directory: Path, like: PyTree, *, exchange: Exchange = THIS_PROCESS
) -> FoundCheckpoint:
    """The part that ``like`` asks for of the newest checkpoint that is whole for all who exchange.

    Args:
      directory: the folder of the checkpoints.
      like: some of the fields of a state, "step" among them; their values are not read.
      exchange: with those that read the same step, each for itself.

    Raises:
      CheckpointError: all checkpoints are damaged, or no step is whole for everybody.
      ValueError: what was saved is another model.
    """
    damaged: dict[int, str] = {}
    while True:
        # Listed anew each time: the run that owns the folder may have saved and removed some.
        left = [step for step in saved_steps(directory) if step not in damaged]
        step = exchange.least(max(left, default=_NO_STEP))
        if step == _NO_STEP:
            raise CheckpointError(_nothing_whole(directory, damaged, left, exchange))
        try:
            tree = _read_whole(directory / str(step), like, exchange)
            return FoundCheckpoint(step, tree, damaged)
        except DamagedCheckpoint as damage:
            damaged[step] = str(damage)
        settle_failed_tasks()


def _nothing_whole(
    directory: Path, damaged: dict[int, str], left: list[int], exchange: Exchange
) -> str:
    reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    if exchange.any(bool(left)):
        return (
            f"the processes do not agree on a whole checkpoint in {directory}: this one has "
            f"{sorted(left) or 'none'} left ({reasons or 'none damaged'}), another one differs; "
            "nothing was changed. All hosts have to see the same folder"
        )
    return (
        f"every checkpoint in {directory} is damaged ({reasons or 'all are rejected'}); nothing "
        "was changed. To start over, delete the run folder"
    )


def _read_whole(path: Path, like: PyTree, exchange: Exchange) -> PyTree:
    """The part of a checkpoint that ``like`` asks for.

    Raises:
      DamagedCheckpoint: it is not what was saved, here or for another process.
      ValueError: what was saved is another model.
    """
    # Answers are exchanged before arrays are: who has none would leave the others waiting.
    records, tree = _unless_damaged(lambda: _read(path, like), exchange)
    _unless_damaged(lambda: _compare(path, records, tree), exchange)
    return tree


def _unless_damaged(read: Callable[[], _T], exchange: Exchange) -> _T:
    damage: DamagedCheckpoint | None = None
    try:
        found = read()
    except DamagedCheckpoint as error:
        damage = error
    if exchange.any(damage is not None):
        raise damage or DamagedCheckpoint("for another process")
    return found


def _read(path: Path, like: PyTree) -> tuple[dict[str, ArrayRecord], PyTree]:
    records = {
        name: record
        for name, record in read_records(path).items()
        if name.partition(".")[0] in like
    }
    differences = kind_differences(
        {name: record.kind for name, record in records.items()}, describe_arrays(like)
    )
    if differences:
        raise ValueError(f"{path} holds another model: {differences}")
    with _errors_as_damage():
        return records, _restore(path / "state", like)


def _compare(path: Path, records: dict[str, ArrayRecord], tree: PyTree) -> None:
    with _errors_as_damage():
        found = record_arrays(tree)
    changed = [name for name, record in records.items() if found[name] != record]
    if changed:
        raise DamagedCheckpoint(
            f"{len(changed)} of {len(records)} arrays differ from their checksum"
        )
    if int(tree["step"]) != int(path.name):
        raise DamagedCheckpoint(f"it is a copy of step {int(tree['step'])}")


@contextmanager
def _errors_as_damage() -> Iterator[None]:
    try:
        yield
    except NO_DAMAGE:
        raise
    except Exception as error:  # a damaged file may be anything to orbax and tensorstore
        raise DamagedCheckpoint(first_line(error)) from error


def read_records(path: Path) -> dict[str, ArrayRecord]:
    """The checksums in the folder of a checkpoint.

    Raises:
      DamagedCheckpoint: they are missing or not what was written.
    """
    file = path / "checksums" / "metadata"
    try:
        return records_from_json(json.loads(file.read_bytes()))
    except NO_DAMAGE:
        raise
    except FileNotFoundError as error:
        raise DamagedCheckpoint("it has no checksums") from error
    except (ValueError, OSError, RecursionError) as error:
        raise DamagedCheckpoint(f"its checksums: {first_line(error)}") from error


def _restore(path: Path, like: PyTree) -> PyTree:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.PyTreeRestore(
        abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=True,
    )
    with closing(ocp.PyTreeCheckpointHandler()) as handler:
        return handler.restore(path, args=args)


def saved_steps(directory: Path) -> list[int]:
    """The steps whose folders are complete, in any order."""
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    return [int(name) for name in names if name.isdecimal()]


def rejected_folders(directory: Path) -> list[Path]:
    """The folders that :func:`reject` has renamed."""
    return list(directory.glob("*.rejected*")) if directory.is_dir() else []


def reject(directory: Path, step: int) -> str:
    """Renames the folder of a step; returns its new name, one that is free."""
    names = (f"{step}.rejected{f'.{k}' if k > 1 else ''}" for k in range(1, 10**6))
    name = next(name for name in names if not (directory / name).exists())
    # Of several processes the first one renames for all, if it sees the folder.
    if jax.process_index() == 0:
        with suppress(FileNotFoundError):
            (directory / str(step)).rename(directory / name)
    return name


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
