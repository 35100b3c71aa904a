"""The steps of a run; between two of them logs, energies, saves, evaluations, and the stop."""

import dataclasses
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax

from hopfield_attn.data.batches import iterate_batches
from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.energies import energies_are_due, non_finite_lines
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.interrupt import Interrupted, InterruptFlag
from hopfield_attn.train.logging import MetricsLog, ProgressLog, Reporter
from hopfield_attn.train.meter import Meter
from hopfield_attn.train.optimizer import learning_rates
from hopfield_attn.train.processes import any_process, is_writer
from hopfield_attn.train.profiler import NO_STEPS, traced_steps
from hopfield_attn.train.program import Program
from hopfield_attn.train.state import TrainState
from hopfield_attn.train.tasks import Task
from hopfield_attn.train.throughput import peak_of_all_devices, work_counter
from hopfield_attn.train.tracking import Track, open_tracker


@dataclasses.dataclass
class StepLoop:
    """One process's part of a run, from the step it begins with.

    Attributes:
      config: a training config.
      workdir: the run folder.
      task: data, loss and evaluation.
      program: compiled steps and evaluations.
      checkpoints: saves the state.
      reporter: says what happens.
      interrupt: is asked whether to stop.
      state: parameters, optimizer state and step, as of now.
    """

    config: Any
    workdir: Path
    task: Task
    program: Program
    checkpoints: Checkpoints
    reporter: Reporter
    interrupt: InterruptFlag
    state: TrainState

    def run(self, traced: range = NO_STEPS) -> dict[str, Any]:
        """Makes the steps that are missing; returns wall time, speeds and evaluations.

        Args:
          traced: steps to write a trace of.

        Raises:
          Interrupted: if the run was asked to stop; the step is saved.
          FloatingPointError: if too many steps in a row were skipped, now or before.
          CheckpointError: if a save failed.
        """
        began = time.perf_counter()
        start, settings = int(self.state.step), self.config.train
        self._check_start(start)
        with ExitStack() as stack:
            tracking = settings.tracking if is_writer() else ""
            track = stack.enter_context(
                open_tracker(tracking, self.workdir, self.config, start_step=start)
            )
            log = MetricsLog(self.workdir, start_step=start, track=track, writes=is_writer())
            progress = ProgressLog(self.reporter, num_steps=settings.num_steps, start_step=start)
            meter = self._meter(stack.enter_context(log), stack.enter_context(progress))
            measure = partial(self._measure, meter=meter, log=log)
            advance = stack.enter_context(
                traced_steps(
                    self.program.advance,
                    self.workdir,
                    traced,
                    first_step=start + 1,
                    say=self.reporter.say,
                )
            )
            work_of = work_counter(self.config)
            batches = stack.enter_context(closing(self._batches(start)))
            stack.enter_context(self._saved_where_it_diverges())
            history = EvaluationHistory(self.workdir, start_step=start, writes=is_writer())
            stack.callback(history.close)
            evaluate = partial(self._evaluate, meter=meter, history=history, track=track)

            # Stopped or killed after the save of this step: what was to follow it is made now.
            if self._is_measured(start) and any_process(is_writer() and log.lacks_figures(start)):
                measure(start)
            is_missing = is_writer() and not history.has(start)
            if is_evaluated(start, self.config) and any_process(is_missing):
                evaluate(start)
            for done, batch in batches:
                self.state, metrics = advance(self.state, batch)
                self.interrupt.nothing_to_lose = False
                meter.record(done, metrics, work_of(batch))
                is_measured = self._is_measured(done)
                if is_measured:
                    meter.write_newest()
                self._keep_or_stop(done, meter)
                if is_measured:
                    measure(done)
                if is_evaluated(done, self.config):
                    evaluate(done)
            meter.flush()
        seconds = round(time.perf_counter() - began, 1)
        return {"wall_seconds": seconds} | meter.speeds | {"history": history.rows}

    def _check_start(self, start: int) -> None:
        """Raises where there is nothing to begin with; says where a run goes on."""
        skipped = int(self.state.skipped_in_a_row)
        if skipped >= self.config.train.max_skipped_steps:
            raise FloatingPointError(
                f"the run ended at step {start}: the loss or the gradient was not finite for "
                f"{skipped} steps in a row; begin another one in a new run folder"
            )
        if start:
            self.reporter.say(f"going on from step {start}")
        if any_process(self.interrupt.is_set):
            raise Interrupted(start)

    def _meter(self, log: MetricsLog, progress: ProgressLog) -> Meter:
        settings = self.config.train
        rates = learning_rates(self.config.optimizer.to_dict(), num_steps=settings.num_steps)
        return Meter(
            log,
            progress,
            rates.__getitem__,
            log_every=settings.log_every,
            last_step=settings.num_steps,
            max_skipped_steps=settings.max_skipped_steps,
            peak_flops=peak_of_all_devices(setting=settings.peak_flops),
        )

    def _evaluate(
        self, step: int, *, meter: Meter, history: EvaluationHistory, track: Track
    ) -> None:
        """Scores the watched set; whatever ends it in the middle, the step is saved first."""
        name = self.task.watched_set
        with meter.paused():
            try:
                scores = self.program.score(self.state, name)
            except Exception as error:
                # All processes save together: they do stop together, and fail alone.
                if isinstance(error, Interrupted) or jax.process_count() == 1:
                    self.checkpoints.save(self.state)
                raise
        named = {f"{name}/{metric}": value for metric, value in scores.items()}
        track(step, named)
        history.add(step, named)
        self.reporter.say(f"step {step}  {name} {format_scores(scores)}")

    def _is_measured(self, step: int) -> bool:
        """Whether energies are due after ``step`` updates."""
        return self.program.energies is not None and energies_are_due(self.config.train, step)

    def _measure(self, step: int, *, meter: Meter, log: MetricsLog) -> None:
        """Adds the energies to the row of ``step``; without the memory for them, says so."""
        assert self.program.energies is not None
        with meter.paused():
            try:
                figures = self.program.energies(self.state)
            except jax.errors.JaxRuntimeError as error:
                if jax.process_count() > 1:
                    raise
                reason = str(error).partition("\n")[0]
                self.reporter.say(f"step {step}: energies could not be measured ({reason})")
                return
        log.extend(step, figures)
        for line in non_finite_lines(figures):
            self.reporter.say(f"step {step}: {line}")

    def _keep_or_stop(self, done: int, meter: Meter) -> None:
        """Saves where a checkpoint is due after step ``done``; stops if asked to."""
        settings = self.config.train
        self.checkpoints.check()
        # Of several processes all have to stop at one step, and asking takes a moment.
        asks = jax.process_count() == 1 or done % settings.log_every == 0
        stops = asks and any_process(self.interrupt.is_set)
        is_due = done == settings.num_steps or done % settings.checkpoint_every == 0
        if stops or is_due:
            with meter.paused():
                self.checkpoints.save(self.state)
        if stops:
            raise Interrupted(done)

    def _batches(self, start: int) -> Generator[tuple[int, Any]]:
        """(number of updates once the batch is used, batch) from step ``start`` to the end."""
        steps = range(start, self.config.train.num_steps)
        if not steps:
            return
        num_threads = self.config.data.num_threads
        batches = iterate_batches(self.task.batches, start_step=start, num_threads=num_threads)
        for step, batch in zip(steps, batches, strict=False):
            yield step + 1, batch

    @contextmanager
    def _saved_where_it_diverges(self) -> Iterator[None]:
        """Saves the state of a run that ends as too many steps were skipped: it is finite."""
        try:
            yield
        except FloatingPointError:
            self.checkpoints.save(self.state)
            raise


def is_evaluated(step: int, config: Any) -> bool:
    """Whether an evaluation is due after ``step`` updates; those at the end are made apart."""
    every = config.train.eval_every
    return bool(every) and step % every == 0 and 0 < step < config.train.num_steps


def format_scores(scores: dict[str, float]) -> str:
    """One line of metric names and values."""
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
