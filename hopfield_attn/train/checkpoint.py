"""Checkpoints of a run: saved in the background with checksums, and gone on from.

Only this module, ``whole_checkpoint`` and ``orbax_noise`` know orbax.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import jax
import orbax.checkpoint as ocp

from hopfield_attn.train.checksums import record_arrays, records_to_json
from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.orbax_noise import settle_failed_tasks, without_orbax_noise
from hopfield_attn.train.processes import ALL_PROCESSES, THIS_PROCESS, Exchange
from hopfield_attn.train.state import TrainState
from hopfield_attn.train.whole_checkpoint import (
    NO_DAMAGE,
    CheckpointError,
    first_line,
    newest_whole,
    reject,
    rejected_folders,
    saved_steps,
    say_on_stderr,
)


class Checkpoints:
    """The checkpoints of one run folder, newest last; use as a context manager.

    Writes go on in the background and are atomic: a folder that is not complete is never listed.
    A save that fails is said and the run goes on; only the last one has to succeed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int = 2,
        say: Callable[[str], None] = say_on_stderr,
        exchange: Exchange = ALL_PROCESSES,
    ):
        """Names ``directory`` (created on the first save).

        Args:
          directory: the folder of the checkpoints.
          keep: number of steps that are kept.
          say: prints a line about a damaged checkpoint, or a save that failed.
          exchange: with the processes that save and restore the same run.
        """
        self._directory = Path(directory).absolute()
        self._keep = keep
        self._say = say
        self._exchange = exchange
        self._manager: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        self._failure: str | None = None
        self._quiet = ExitStack()

    def save(self, state: TrainState) -> None:
        """Saves ``state`` under its step; nothing happens if that step is there already.

        Of several processes all have to call it, and where one fails it has failed for all.
        """
        self._collect()
        step, tree = int(state.step), _as_tree(state)
        if not self._succeeds(step, self._open, raised=NO_DAMAGE):
            return
        assert self._manager is not None
        self._failure = None
        if self._exchange.any(step in self._manager.all_steps()):
            return
        self._saving = step
        self._succeeds(step, lambda: self._begin_save(step, tree), raised=NO_DAMAGE)

    def check(self) -> None:
        """Says it now if the save that went on in the background has failed; never waits.

        Of several processes the next save says it: to ask them all would be to wait.
        """
        if jax.process_count() > 1 or self._manager is None:
            return
        if not self._manager.is_saving_in_progress():
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

        Of several processes all get the same one. Newer ones that are damaged are renamed to
        ``STEP.rejected``, and a line says so.

        Args:
          like: a state of the same structure, shapes and shardings; its values are not read.

        Raises:
          CheckpointError: there are checkpoints, and all of them are damaged; or of several
            processes some do not see them.
          ValueError: they are those of another model or optimizer.
        """
        is_there = bool(saved_steps(self._directory) or rejected_folders(self._directory))
        if not self._exchange.any(is_there):
            return None
        found = newest_whole(self._directory, _as_tree(like), exchange=self._exchange)
        for step, reason in found.damaged.items():
            name = reject(self._directory, step)
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
            ends_in_all = kind is None or issubclass(kind, Interrupted)
            if not ends_in_all:
                # Of several processes it may be this one alone, and nobody would answer.
                self._exchange = THIS_PROCESS
            self._collect()
            self._close()
            if ends_in_all:
                self.finish()

    def _open(self) -> None:
        # Only now: opening tidies up, and what is damaged has been put aside by then.
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep, cleanup_tmp_directories=True
            )
            self._manager = ocp.CheckpointManager(self._directory, options=options)

    def _begin_save(self, step: int, tree: dict) -> None:
        assert self._manager is not None
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(tree),
            checksums=ocp.args.JsonSave(records_to_json(record_arrays(tree))),
        )
        self._manager.save(step, args=args, force=True)

    def _collect(self) -> None:
        """Waits for the save in the background, and takes in its error."""
        if self._manager is not None:
            self._succeeds(self._saving, self._manager.wait_until_finished)

    def _succeeds(
        self,
        step: int | None,
        action: Callable[[], None],
        *,
        raised: tuple[type[Exception], ...] = (),
    ) -> bool:
        """Whether ``action()`` fails in no process; where it does, it is said."""
        failure: Exception | None = None
        try:
            action()
        except raised:
            raise
        except Exception as error:  # orbax and tensorstore have many kinds for a full disk
            failure = error
        if not self._exchange.any(failure is not None):
            return True
        assert step is not None
        self._fail(step, "in another process" if failure is None else first_line(failure))
        return False

    def _fail(self, step: int, reason: str) -> None:
        self._failure = f"checkpoint {step} could not be saved ({reason})"
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
                self._failure = self._failure or f"the last save failed ({first_line(error)})"


def _as_tree(state: TrainState) -> dict:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
