"""Metrics of the steps: fetched after the next dispatch, so that logging never waits."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hopfield_attn.train.logging import MetricsLog, ProgressLog
from hopfield_attn.train.throughput import StepWork, Throughput


class StepMetrics:
    """The metrics of one step: on the device until they are asked for, and fetched once."""

    def __init__(self, done: int, on_device: Mapping[str, Any]):
        """Holds what the update that made step ``done`` returned."""
        self.done = done
        self._on_device = on_device

    def wait(self) -> None:
        """Waits until the step is done."""
        float(self._on_device["loss"])

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """The values by name; asking waits for the step."""
        values: dict[str, Any] = {name: float(value) for name, value in self._on_device.items()}
        for name in ("skipped_steps", "skipped_in_a_row"):
            values[name] = int(values.get(name, 0))
        return values


class Meter:
    """Collects the metrics of steps and writes those that are due.

    The values of a step stay on the device until the step after it has been dispatched, and writing
    them asks the device for nothing else.
    """

    def __init__(
        self,
        log: MetricsLog,
        progress: ProgressLog,
        schedule: Callable[[int], Any],
        *,
        log_every: int,
        last_step: int | None = None,
        max_skipped_steps: int = 10,
        peak_flops: float | None = None,
    ):
        """Writes to ``log`` and ``progress`` every ``log_every`` steps, and at the last one.

        Args:
          log: gets the rows.
          progress: shows them.
          schedule: number of updates → learning rate, on the host: a device would be asked behind
            the step that was just dispatched, and the answer waited for.
          log_every: steps a row.
          last_step: has a row whatever its number is.
          max_skipped_steps: steps in a row without an update that end the run.
          peak_flops: of all devices, see :class:`hopfield_attn.train.throughput.Throughput`.
        """
        self._log = log
        self._progress = progress
        self._schedule = schedule
        self._log_every = log_every
        self._last_step = last_step
        self._max_skipped_steps = max_skipped_steps
        self._num_skipped = 0
        self._newest: StepMetrics | None = None
        self._pending: StepMetrics | None = None
        self._throughput = Throughput(peak=peak_flops)

    def record(self, done: int, metrics: Mapping[str, Any], work: StepWork) -> None:
        """Takes in the metrics of the update that made step ``done``."""
        self.flush()
        self._throughput.add(work)
        self._progress.advance(done)
        self._newest = StepMetrics(done, metrics)
        if not self._throughput.is_started:
            # The first step compiles: wait for it and start the clock after it.
            self._newest.wait()
            self._throughput.start()
        if done % self._log_every == 0 or done == self._last_step:
            self._pending = self._newest

    def flush(self) -> None:
        """Writes the metrics that wait, if any.

        Raises:
          FloatingPointError: if too many steps in a row were skipped.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            # First the row: of a run that ends here it says how.
            self._write(pending)
            self._check(pending)

    def write_newest(self) -> None:
        """Writes the newest step, due or not.

        Raises:
          FloatingPointError: if too many steps in a row were skipped.
        """
        self._pending = self._newest
        self.flush()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves what happens inside (evaluations, saves) out of the speed; writes what waits.

        Raises:
          FloatingPointError: if too many steps in a row were skipped, logged or not.
        """
        self.flush()
        if self._newest is not None:
            if self._ends_the_run(self._newest):
                self.write_newest()
            self._check(self._newest)
        with self._throughput.paused():
            yield

    @property
    def speeds(self) -> dict[str, float | None]:
        """Medians over the logged stretches, of :attr:`Throughput.typical`."""
        return self._throughput.typical

    def _write(self, step: StepMetrics) -> None:
        values = dict(step.values)
        loss, in_a_row = values.pop("loss"), values.pop("skipped_in_a_row")
        num_updates = step.done - values["skipped_steps"] - (in_a_row == 0)
        values["learning_rate"] = float(self._schedule(num_updates))
        rates = self._throughput.take()
        self._log.write(step.done, loss, **values, **rates)
        self._progress.show(step.done, loss, rates["tokens_per_second"])

    def _ends_the_run(self, step: StepMetrics) -> bool:
        """Whether too many steps in a row were skipped."""
        return bool(step.values["skipped_in_a_row"] >= self._max_skipped_steps)

    def _check(self, step: StepMetrics) -> None:
        """Says that steps were skipped; raises if they were too many in a row."""
        done, values = step.done, step.values
        num_skipped, in_a_row = values["skipped_steps"], values["skipped_in_a_row"]
        if self._ends_the_run(step):
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
