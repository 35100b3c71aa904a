"""Where else a run reports: TensorBoard or Weights & Biases, from the extra ``tracking``."""

import contextlib
import importlib
import re
import reprlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.files import write_text
from hopfield_attn.train.interrupt import EXIT_CODE, Interrupted

_LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb"}

Track = Callable[[int, dict[str, float]], None]
"""(step, values by name) → None."""
WANDB_ID_FILE = "wandb_id.txt"
"""In the run folder: the id of its run at Weights & Biases, by which it goes on."""


def check_tracking(name: str) -> None:
    """Raises as :func:`open_tracker` for a tracker that cannot be opened."""
    check_choice("train.tracking", name, TRACKERS)
    if name in _LIBRARIES:
        _import(_LIBRARIES[name])


@contextlib.contextmanager
def open_tracker(name: str, workdir: Path, config: Any, *, start_step: int) -> Iterator[Track]:
    """Opens what ``config.train.tracking`` names, and closes it at the end.

    Args:
      name: "" (nothing), "tensorboard" (event files in ``workdir``/tensorboard) or "wandb".
      workdir: the run folder; its name is the name of the run.
      config: recorded with the run, where the tracker can.
      start_step: what was reported after this step, by a run that got further, is void.

    Yields:
      A function to call with (step, values).

    Raises:
      ValueError: for an unknown name, or an id in the folder that is none.
      ModuleNotFoundError: if the extra is not installed.
    """
    check_choice("train.tracking", name, TRACKERS)
    with TRACKERS[name](workdir, config, start_step) as track:
        yield track


@contextlib.contextmanager
def _nothing(workdir: Path, config: Any, start_step: int) -> Iterator[Track]:
    yield lambda step, values: None


@contextlib.contextmanager
def _tensorboard(workdir: Path, config: Any, start_step: int) -> Iterator[Track]:
    writer_type = _import(_LIBRARIES["tensorboard"]).SummaryWriter
    writer = writer_type(str(workdir / "tensorboard"), purge_step=start_step + 1)

    def track(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    with contextlib.closing(writer):
        yield track


@contextlib.contextmanager
def _wandb(workdir: Path, config: Any, start_step: int) -> Iterator[Track]:
    # Steps that a run makes again have the values that W&B has: it keeps the first.
    run = _import(_LIBRARIES["wandb"]).init(
        id=_wandb_id(workdir),
        resume="allow",
        dir=str(workdir),
        name=workdir.resolve().name,
        config=config.to_dict(),
    )
    code = 1
    try:
        yield lambda step, values: run.log(values, step=step)
        code = 0
    except Interrupted:
        code = EXIT_CODE
        raise
    finally:
        run.finish(exit_code=code)


def _wandb_id(workdir: Path) -> str:
    """What W&B calls the run of this folder: drawn once."""
    path = workdir / WANDB_ID_FILE
    if not path.is_file():
        write_text(path, secrets.token_hex(4))
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch("[0-9A-Za-z]{1,64}", text):
        raise ValueError(
            f"{path}: must hold an id of 1 to 64 letters and digits; got {reprlib.repr(text)}"
        )
    return text


TRACKERS: dict[str, Callable[..., contextlib.AbstractContextManager[Track]]] = {
    "": _nothing,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
"""Name → context manager (workdir, config, start_step) that gives the function to call."""


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"train.tracking needs the library {name}: "
            "install the extra with HOPFIELD_EXTRAS=tracking ./scripts/train …"
        ) from error
