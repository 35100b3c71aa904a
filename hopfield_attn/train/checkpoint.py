"""Checkpoints of a run: the only module that knows orbax.

Beside the arrays a checkpoint holds their checksums, and nothing is loaded that differs from them.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from rich.console import Console

from hopfield_attn.train.checksums import (
    ArrayRecord,
    describe_arrays,
    kind_differences,
    record_arrays,
    records_from_json,
    records_to_json,
)
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import say
from hopfield_attn.train.orbax_noise import settle_failed_tasks, without_orbax_noise
from hopfield_attn.train.state import TrainState
from hopfield_attn.typing import PyTree

# No fault of the checkpoint: memory, access rights and the device are to be mended, not the folder.
_NO_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)


class CheckpointError(OSError):
    """No checkpoint could be written, or none of those there can be trusted."""


class _Damaged(Exception):
    """The reason why a checkpoint is not used."""


class _Found(NamedTuple):
    step: int
    tree: PyTree
    damaged: dict[int, str]


def say_on_stderr(text: str) -> None:
    """Prints a line for whoever runs a command."""
    say(Console(stderr=True), text)


class Checkpoints:
    """The checkpoints of one run folder, newest last; use as a context manager.

    Writes go on in the background and are atomic: a folder that is not complete is never listed.
    A save that fails is said and the run goes on; only the last one has to succeed.
    """

    def __init__(
        self, directory: Path, *, keep: int = 2, say: Callable[[str], None] = say_on_stderr
    ):
        """Names ``directory`` (created on the first save).

        Args:
          directory: the folder of the checkpoints.
          keep: number of steps that are kept.
          say: prints a line about a damaged checkpoint, or a save that failed.
        """
        self._directory = Path(directory).absolute()
        self._keep = keep
        self._say = say
        self._manager: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        self._failure: str | None = None
        self._quiet = ExitStack()

    def save(self, state: TrainState) -> None:
        """Saves ``state`` under its step; nothing happens if that step is there already."""
        self._collect()
        step, tree = int(state.step), _as_tree(state)
        try:
            manager = self._open()
            self._failure = None
            if step in manager.all_steps():
                return
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(tree),
                checksums=ocp.args.JsonSave(records_to_json(record_arrays(tree))),
            )
            self._saving = step
            manager.save(step, args=args, force=True)
        except _NO_DAMAGE:
            raise
        except Exception as error:  # orbax and tensorstore have many kinds for a full disk
            self._fail(step, error)

    def check(self) -> None:
        """Says it now if the save that went on in the background has failed; never waits."""
        if self._manager is not None and not self._manager.is_saving_in_progress():
            self._collect()

    def finish(self) -> None:
        """Waits for the last save.

        Raises:
          CheckpointError: it failed.
        """
        self._collect()
        if self._failure is not None:
            raise CheckpointError(
                f"{self._failure}, and no later save succeeded: the run goes on from the "
                "checkpoint before it once there is room"
            )

    def restore_latest(self, like: TrainState) -> TrainState | None:
        """Returns the newest checkpoint that is whole, or ``None`` when there is none at all.

        Newer ones that are damaged are renamed to ``STEP.rejected``, and a line says so.

        Args:
          like: a state of the same structure, shapes and shardings; its values are not read.

        Raises:
          CheckpointError: there are checkpoints, and all of them are damaged.
          ValueError: they are those of another model or optimizer.
        """
        if not _steps(self._directory) and not _rejected(self._directory):
            return None
        found = _newest_whole(self._directory, _as_tree(like))
        for step, reason in found.damaged.items():
            name = _reject(self._directory, step)
            self._say(
                f"checkpoint {step} is damaged ({reason}): kept as {name}, not used; "
                f"step {found.step} is whole"
            )
        return TrainState(**found.tree)

    def __enter__(self) -> "Checkpoints":
        self._quiet.enter_context(without_orbax_noise())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for the last save, also when the run ends by an error; that error comes first.

        Raises:
          CheckpointError: the run ended well, or was asked to stop, and its last save failed.
        """
        with self._quiet:
            self._collect()
            self._close()
            if kind is None or issubclass(kind, Interrupted):
                self.finish()

    def _open(self) -> ocp.CheckpointManager:
        # Only now: opening tidies up, and what is damaged has been put aside by then.
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep, cleanup_tmp_directories=True
            )
            self._manager = ocp.CheckpointManager(self._directory, options=options)
        return self._manager

    def _collect(self) -> None:
        """Waits for the save in the background, and takes in its error."""
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            assert self._saving is not None
            self._fail(self._saving, error)

    def _fail(self, step: int, error: Exception) -> None:
        self._failure = f"checkpoint {step} could not be saved ({_first_line(error)})"
        # The manager believes that the step is there; a new one looks.
        self._close()
        settle_failed_tasks()
        # What is printed may go to the same full disk.
        with contextlib.suppress(OSError):
            self._say(f"{self._failure}; training goes on, and earlier checkpoints are kept")

    def _close(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None:
            try:
                manager.close()
            except Exception as error:
                self._failure = self._failure or f"the last save failed ({_first_line(error)})"


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
    if not _steps(directory) and not _rejected(directory):
        raise FileNotFoundError(f"{directory} has no checkpoint: the run has not saved a step yet")
    with without_orbax_noise():
        found = _newest_whole(directory.absolute(), {"params": like})
    for step, reason in found.damaged.items():
        say(f"{directory}: checkpoint {step} is damaged ({reason}); step {found.step} is used")
    return found.step, found.tree["params"]


def _newest_whole(directory: Path, like: PyTree) -> _Found:
    damaged: dict[int, str] = {}
    # Listed anew each time: the run that owns the folder may have saved and removed some.
    while left := [step for step in _steps(directory) if step not in damaged]:
        step = max(left)
        try:
            return _Found(step, _read_whole(directory / str(step), like), damaged)
        except _Damaged as damage:
            damaged[step] = str(damage)
        settle_failed_tasks()
    reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    raise CheckpointError(
        f"every checkpoint in {directory} is damaged ({reasons or 'all are rejected'}); nothing "
        "was changed. To start over, delete the run folder"
    )


def _read_whole(path: Path, like: PyTree) -> PyTree:
    """The part of a checkpoint that ``like`` asks for.

    Raises:
      _Damaged: it is not what was saved.
      ValueError: what was saved is another model.
    """
    records = {
        name: record
        for name, record in _read_records(path).items()
        if name.partition(".")[0] in like
    }
    differences = kind_differences(
        {name: record.kind for name, record in records.items()}, describe_arrays(like)
    )
    if differences:
        raise ValueError(f"{path} holds another model: {differences}")
    try:
        tree = _restore(path / "state", like)
        found = record_arrays(tree)
    except _NO_DAMAGE:
        raise
    except Exception as error:  # a damaged file may be anything to orbax and tensorstore
        raise _Damaged(_first_line(error)) from error
    changed = [name for name, record in records.items() if found[name] != record]
    if changed:
        raise _Damaged(f"{len(changed)} of {len(records)} arrays differ from their checksum")
    if "step" in like and int(tree["step"]) != int(path.name):
        raise _Damaged(f"it is a copy of step {int(tree['step'])}")
    return tree


def _read_records(path: Path) -> dict[str, ArrayRecord]:
    file = path / "checksums" / "metadata"
    try:
        return records_from_json(json.loads(file.read_bytes()))
    except _NO_DAMAGE:
        raise
    except FileNotFoundError as error:
        raise _Damaged("it has no checksums") from error
    except (ValueError, OSError, RecursionError) as error:
        raise _Damaged(f"its checksums: {_first_line(error)}") from error


def _restore(path: Path, like: PyTree) -> PyTree:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.PyTreeRestore(
        abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=True,
    )
    with closing(ocp.PyTreeCheckpointHandler()) as handler:
        return handler.restore(path, args=args)


def _steps(directory: Path) -> list[int]:
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    return [int(name) for name in names if name.isdecimal()]


def _rejected(directory: Path) -> list[Path]:
    return list(directory.glob("*.rejected*")) if directory.is_dir() else []


def _reject(directory: Path, step: int) -> str:
    """Renames the folder of a step; returns its new name, one that is free."""
    names = (f"{step}.rejected{f'.{k}' if k > 1 else ''}" for k in range(1, 10**6))
    name = next(name for name in names if not (directory / name).exists())
    # Of several processes the first one renames for all.
    if jax.process_index() == 0:
        (directory / str(step)).rename(directory / name)
    return name


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _as_tree(state: TrainState) -> dict:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
