"""A trace of some training steps, for TensorBoard and Perfetto."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from hopfield_attn.train.processes import is_writer
from hopfield_attn.train.state import TrainState

PROFILE_FOLDER = "profile"
NO_STEPS = range(0)

Advance = Callable[[TrainState, Any], tuple[TrainState, Any]]
"""(state, batch) → (next state, metrics)."""


@contextlib.contextmanager
def traced_steps(
    advance: Advance,
    workdir: Path,
    traced: range,
    *,
    first_step: int,
    say: Callable[[str], None],
) -> Iterator[Advance]:
    """``advance``, whose calls for the steps of ``traced`` are recorded in ``workdir``/profile.

    The trace begins once the steps before it are done and ends once its last one is; what is done
    between them (a save, an evaluation) is in it. Of several processes the first one records.

    Args:
      advance: makes a step.
      workdir: the run folder.
      traced: numbers of steps as they are logged, from 1; empty: nothing is recorded.
      first_step: number of the first call. Steps of ``traced`` that were made before are left out.
      say: prints a line.

    Yields:
      The function to call in place of ``advance``.
    """
    wanted = range(max(traced.start, first_step), traced.stop)
    if not wanted or not is_writer():
        if traced and is_writer():
            say(f"steps {traced.start} to {traced[-1]} were made before: nothing is traced")
        yield advance
        return
    numbers = itertools.count(first_step)
    folder = workdir / PROFILE_FOLDER
    with contextlib.ExitStack() as trace:

        def step(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
            number = next(numbers)
            if number == wanted.start:
                jax.block_until_ready(state)
                trace.enter_context(jax.profiler.trace(folder))
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                result = advance(state, batch)
            if number == wanted[-1]:
                jax.block_until_ready(result)
                trace.close()
                say(f"trace of steps {wanted.start} to {number} in {folder}")
            return result

        yield step
