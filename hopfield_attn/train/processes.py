"""A job of several processes, one a host: how they find each other, and what only one may do."""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from hopfield_attn.checks import check_at_least
from hopfield_attn.files import write_text
from hopfield_attn.train.interrupt import Interrupted

AUTO = "auto"
HEARTBEAT_SECONDS = 10
"""A process that says nothing for so long is dead, and the others end."""
POLL_SECONDS = 1.0
FAILED_FILE = ".failed"
"""In the run folder while a job of several processes runs: which one of them raised."""


def detects_cluster(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of several that SLURM or GKE has started.

    On a TPU VM nothing in the environment says so: there ``--coordinator=auto`` asks JAX.

    Args:
      environment: ``os.environ``.

    Example:
      >>> detects_cluster({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2"})
      True
      >>> detects_cluster({"SLURM_JOB_ID": "7"})  # in a job, and not started by srun
      False
    """
    is_slurm = int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return is_slurm or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def join_processes(
    *, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> bool:
    """Joins the other processes of the job, if there are any; before anything else of JAX is used.

    Args:
      coordinator: HOST:PORT of process 0; "auto": as JAX finds it; ``None``: as JAX finds it if
        this is seen to be a job of several processes, and else nothing is done.
      num_processes: how many there are; with HOST:PORT.
      process_id: which one this is, from 0; with HOST:PORT.

    Returns:
      Whether there are several.

    Raises:
      ValueError: if only some of the three are given.
    """
    given = [coordinator not in (None, AUTO), num_processes is not None, process_id is not None]
    if any(given) and not all(given):
        raise ValueError(
            "--coordinator=HOST:PORT, --num_processes and --process_id belong together; got "
            f"{coordinator}, {num_processes} and {process_id}"
        )
    if coordinator is None and not detects_cluster(os.environ):
        return False
    handler = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(
        None if coordinator == AUTO else coordinator,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    # JAX has taken SIGTERM for its own notice of preemption, below Python.
    signal.signal(signal.SIGTERM, handler)
    return jax.process_count() > 1


def is_writer() -> bool:
    """Whether this process writes the logs and results: the first one does."""
    return jax.process_index() == 0


def writer_first(name: str, fn: Callable[[], Any]) -> Any:
    """``fn()`` in the writing process, then in the others, which find what it has written.

    Args:
      name: of what is done, for the others to wait for.
      fn: anything that may write into the run folder.
    """
    if jax.process_count() == 1:
        return fn()
    if is_writer():
        found = fn()
        multihost_utils.sync_global_devices(name)
        return found
    multihost_utils.sync_global_devices(name)
    return fn()


def in_writer(fn: Callable[[], None]) -> None:
    """``fn()`` in the writing process alone; where it fails, no process goes on.

    Raises:
      OSError, ValueError: of ``fn``, in the writing process.
      ChildProcessError: in the others then.
    """
    failure: OSError | ValueError | None = None
    if is_writer():
        try:
            fn()
        except (OSError, ValueError) as error:
            failure = error
    if any_process(failure is not None):
        raise failure or ChildProcessError("the first process could not begin, and says why")


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is set in any process; all of them have to ask."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def least_of_processes(number: int) -> int:
    """The smallest ``number`` of all processes; all of them have to ask."""
    if jax.process_count() == 1:
        return number
    return int(np.min(multihost_utils.process_allgather(np.asarray(number))))


class Exchange(NamedTuple):
    """How those that do the same thing come to one answer.

    Attributes:
      any: flag → whether it is set for any of them.
      least: number → the smallest of theirs.
    """

    any: Callable[[bool], bool]
    least: Callable[[int], int]


THIS_PROCESS = Exchange(bool, int)
ALL_PROCESSES = Exchange(any_process, least_of_processes)


@contextlib.contextmanager
def ending_together(workdir: Path) -> Iterator[None]:
    """If one process raises, all end within seconds; does nothing in a job of one process.

    A process that raises would wait at its exit for the others, which wait for it in the step. So
    it leaves a file in the run folder, for which the others look every second, and ends at once.

    Args:
      workdir: the run folder, which all processes share.
    """
    if jax.process_count() == 1:
        yield
        return
    path, done = workdir / FAILED_FILE, threading.Event()
    if is_writer():
        path.unlink(missing_ok=True)
    multihost_utils.sync_global_devices("ending_together")
    threading.Thread(target=_watch, args=(path, done), daemon=True).start()
    try:
        yield
    except Interrupted:
        raise  # all of them, at the same step
    except Exception as error:
        done.set()
        traceback.print_exc()
        text = f"process {jax.process_index()}: {type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            write_text(path, text)
        print(f"error: {text}", file=sys.stderr, flush=True)
        os._exit(1)
    finally:
        done.set()


def _watch(path: Path, done: threading.Event) -> None:
    while not done.wait(POLL_SECONDS):
        if path.is_file():
            print(f"error: {path.read_text(encoding='utf-8')}", file=sys.stderr, flush=True)
            os._exit(1)


class Watchdog:
    """Ends a process that has not beaten for some seconds, with the stacks of all its threads.

    The timer is a thread of C, so it also runs out while Python waits in a step.
    """

    def __init__(self, seconds: float):
        """Waits for ``seconds``; 0 turns it off. Starts at the first beat."""
        limits: dict[str, Any] = {"train.watchdog_seconds": seconds}
        check_at_least(0, **limits)
        self._seconds = seconds

    def beat(self) -> None:
        """Says that the process goes on."""
        if self._seconds:
            assert sys.__stderr__ is not None
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__)

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *error: object) -> None:
        """Stops the timer."""
        faulthandler.cancel_dump_traceback_later()
