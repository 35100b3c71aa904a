"""Checkpoints of a run: the only module that knows orbax."""

from pathlib import Path
from types import TracebackType

import jax
import orbax.checkpoint as ocp

from hopfield_attn.train.state import TrainState


class Checkpoints:
    """The checkpoints of one run folder, newest last; use as a context manager.

    Writes go on in the background and are atomic: a folder that is not complete is never listed.
    """

    def __init__(self, directory: Path, *, keep: int = 2):
        """Opens ``directory`` (created on the first save), keeping the ``keep`` newest steps."""
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(Path(directory).absolute(), options=options)

    def save(self, state: TrainState) -> None:
        """Saves ``state`` under its step; nothing happens if that step is there already."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            args = ocp.args.Composite(state=ocp.args.StandardSave(_as_tree(state)))
            self._manager.save(step, args=args, force=True)

    def restore_latest(self, like: TrainState) -> TrainState | None:
        """Returns the newest checkpoint, or ``None`` when there is none.

        Args:
          like: a state of the same structure, shapes and shardings; its values are not read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _as_tree(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return TrainState(**self._manager.restore(step, args=args)["state"])

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for the last save, also when the run ends by an error."""
        self._manager.wait_until_finished()
        self._manager.close()


def _as_tree(state: TrainState) -> dict:
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state}
