"""Checkpoints of a run: the only module that knows orbax."""

from contextlib import closing
from pathlib import Path
from types import TracebackType

import jax
import orbax.checkpoint as ocp

from hopfield_attn.train.state import TrainState
from hopfield_attn.typing import PyTree


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


def restore_params(directory: Path, like: PyTree) -> tuple[int, PyTree]:
    """The step and the parameters of the newest checkpoint; the folder may belong to a live run.

    Args:
      directory: the folder of the checkpoints.
      like: parameters of the same structure and shapes; the result is placed as they are.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: the checkpoint has other parameters.
    """
    # A manager would tidy up: what whoever writes there has not finished is left alone.
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    steps = [int(name) for name in names if name.isdecimal()]
    if not steps:
        raise FileNotFoundError(f"{directory} has no checkpoint: the run has not saved a step yet")
    path = directory.absolute() / str(max(steps)) / "state"
    abstract = {"params": jax.tree.map(ocp.utils.to_shape_dtype_struct, like)}
    with closing(ocp.PyTreeCheckpointHandler()) as handler:
        saved = handler.metadata(path)["params"]
        _check_shapes(_shapes(saved), _shapes(like), directory)
        args = ocp.args.PyTreeRestore(
            abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=True,
        )
        return max(steps), handler.restore(path, args=args)["params"]


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _check_shapes(
    saved: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], directory: Path
) -> None:
    for name in sorted(saved.keys() | expected.keys()):
        there, wanted = saved.get(name, "absent"), expected.get(name, "absent")
        if there != wanted:
            raise ValueError(
                f"{directory} holds another model: the shape of {name} is {there} there, "
                f"and {wanted} in the model of the config"
            )


def _as_tree(state: TrainState) -> dict:
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state}
