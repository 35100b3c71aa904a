"""Metrics of the steps: fetched after the next dispatch, so that logging never waits."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hopfield_attn.train.logging import MetricsLog, ProgressLog


class Meter:
    """Collects the metrics of steps and writes those that are due.

    The values of a step stay on the device until the step after it has been dispatched.
    """

    def __init__(
        self,
        log: MetricsLog,
        progress: ProgressLog,
        schedule: Callable[[int], Any],
        *,
        log_every: int,
        max_skipped_steps: int = 10,
    ):
        """Writes to ``log`` and ``progress`` every ``log_every`` steps.

        Args:
          log: gets the rows.
          progress: shows them.
          schedule: number of updates → learning rate.
          log_every: steps a row.
          max_skipped_steps: steps in a row without an update that end the run.
        """
        self._log = log
        self._progress = progress
        self._schedule = schedule
        self._log_every = log_every
        self._max_skipped_steps = max_skipped_steps
        self._num_skipped = 0
        self._newest: tuple[int, dict[str, Any]] | None = None
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._num_tokens = 0
        self._since: float | None = None
        self._speeds: list[float] = []

    def record(self, done: int, metrics: dict[str, Any], num_tokens: int) -> None:
        """Takes in the metrics of the update that made step ``done``."""
        self.flush()
        self._num_tokens += num_tokens
        self._progress.advance(done)
        if self._since is None:
            # The first step compiles: wait for it and start the clock after it.
            float(metrics["loss"])
            self._restart_clock()
        self._newest = (done, metrics)
        if done % self._log_every == 0:
            self._pending = self._newest

    def flush(self) -> None:
        """Writes the metrics that wait, if any.

        Raises:
          FloatingPointError: if too many steps in a row were skipped.
        """
        if self._pending is None:
            return
        done, metrics = self._pending
        self._pending = None
        values = self._checked_values(done, metrics)
        loss, in_a_row = values.pop("loss"), values.pop("skipped_in_a_row")
        speed = self._speed()
        num_updates = done - values["skipped_steps"] - (in_a_row == 0)
        values["learning_rate"] = float(self._schedule(num_updates))
        self._log.write(done, loss, **values, tokens_per_second=speed)
        self._progress.show(done, loss, speed)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves what happens inside (evaluations, saves) out of the speed; writes what waits.

        Raises:
          FloatingPointError: if too many steps in a row were skipped, logged or not.
        """
        self.flush()
        if self._newest is not None:
            self._checked_values(*self._newest)
        began = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - began

    @property
    def tokens_per_second(self) -> float | None:
        """Median over the logged stretches; ``None`` before the second one."""
        return round(float(np.median(self._speeds)), 1) if self._speeds else None

    def _speed(self) -> float:
        assert self._since is not None
        elapsed = time.perf_counter() - self._since
        speed = self._num_tokens / elapsed if self._num_tokens and elapsed > 0 else 0.0
        if self._num_tokens:
            self._speeds.append(speed)
        self._restart_clock()
        return round(speed, 1)

    def _checked_values(self, done: int, metrics: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {name: float(value) for name, value in metrics.items()}
        for name in ("skipped_steps", "skipped_in_a_row"):
            values[name] = int(values.get(name, 0))
        num_skipped, in_a_row = values["skipped_steps"], values["skipped_in_a_row"]
        if in_a_row >= self._max_skipped_steps:
            raise FloatingPointError(
                f"loss {values['loss']}, grad_norm {values['grad_norm']} at step {done}: not "
                f"finite since step {done - in_a_row + 1}, and so without an update; the "
                f"parameters of step {done - in_a_row} are saved. A smaller learning rate, fewer "
                "steps T or a larger λ are the usual remedies, in a new run folder"
            )
        if num_skipped > self._num_skipped:
            self._num_skipped = num_skipped
            self._progress.say(
                f"step {done}: {num_skipped} steps skipped so far, as their loss or gradient was "
                "not finite"
            )
        return values

    def _restart_clock(self) -> None:
        self._since, self._num_tokens = time.perf_counter(), 0
