"""The training loop: steps, logging, evaluation, checkpoints; goes on where it was stopped."""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console

from hopfield_attn.checks import check_count
from hopfield_attn.data.batches import iterate_batches
from hopfield_attn.energies.nonlinearities import WITHOUT_ALPHA
from hopfield_attn.files import without_nonfinite, write_json
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.registry import num_parameters
from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.energies import check_energy_every, energies_are_due, non_finite_lines
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.interrupt import Interrupted, InterruptFlag
from hopfield_attn.train.logging import MetricsLog, ProgressLog, Reporter
from hopfield_attn.train.meter import Meter
from hopfield_attn.train.optimizer import learning_rates, make_optimizer
from hopfield_attn.train.pretrained import start_from_pretrained
from hopfield_attn.train.processes import Watchdog, any_process, is_writer
from hopfield_attn.train.profiler import NO_STEPS, traced_steps
from hopfield_attn.train.program import Program, make_program
from hopfield_attn.train.run_files import read_result
from hopfield_attn.train.run_folder import peak_memory_mib
from hopfield_attn.train.sharding import check_layout, constrain_whole, first_state, make_mesh
from hopfield_attn.train.state import ModelDefinition, TrainState, split_model
from hopfield_attn.train.tasks import Task
from hopfield_attn.train.throughput import check_peak_flops, peak_of_all_devices, work_counter
from hopfield_attn.train.tracking import open_tracker


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What a finished run leaves behind.

    Attributes:
      definition: ``definition.bind(params)`` is the model.
      params: the trained parameters.
      result: what ``result.json`` holds.
      step: updates that made the parameters; fewer than those of the result where checkpoints of a
        finished run were deleted.
    """

    definition: ModelDefinition
    params: Any
    result: dict[str, Any]
    step: int


def train(
    config: Any,
    workdir: Path,
    task: Task,
    *,
    title: str,
    console: Console,
    traced: range = NO_STEPS,
) -> TrainedModel:
    """Trains the model of ``config`` on ``task``, from the start or from where the run was stopped.

    Args:
      config: a training config.
      workdir: run folder, opened by :func:`hopfield_attn.train.run_folder.open_run_folder`.
      task: data, loss and evaluation.
      title: name shown beside the progress bar.
      console: where to print.
      traced: steps to write a trace of, see :func:`hopfield_attn.train.profiler.traced_steps`.

    Raises:
      Interrupted: after Ctrl-C, SIGTERM or SIGUSR1, with the current step saved.
      FloatingPointError: if the loss or the gradient was not finite for
        ``train.max_skipped_steps`` steps in a row; the state before them is saved.
      CheckpointError: if the last save failed, or every checkpoint is damaged.
      ValueError: if the config is not usable, or the checkpoints are those of another model.
    """
    check_train_config(config)
    model = task.blueprint.make_model(config.model.to_dict(), config.seed)
    definition, params = split_model(model)
    optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=config.train.num_steps)
    check_layout(config, num_devices=jax.device_count())
    mesh = make_mesh(config.mesh.to_dict())
    folder, reporter = workdir / "checkpoints", Reporter(title, console)
    keep = config.train.keep_checkpoints
    with (
        InterruptFlag() as interrupt,
        Watchdog(config.train.watchdog_seconds) as watchdog,
        Checkpoints(folder, keep=keep, say=reporter.say) as checkpoints,
    ):
        # Of several processes all have to stop at one step, so that none may end alone.
        interrupt.nothing_to_lose = jax.process_count() == 1
        program = make_program(
            config,
            task,
            definition,
            optimizer,
            mesh=mesh,
            watchdog=watchdog,
            interrupt=interrupt,
        )
        state = first_state(params, optimizer, mesh)
        restored = checkpoints.restore_latest(state)
        if restored is None and config.model.pretrained:
            params = start_from_pretrained(model, config.model.pretrained, workdir, console)
            state = first_state(params, optimizer, mesh)
        state = restored or state
        result = read_result(workdir)
        if result is not None and traced:
            reporter.say("the run is finished: nothing is traced")
        if result is None:
            state, facts = _run_steps(
                config, workdir, task, state, program, checkpoints, reporter, interrupt, traced
            )
            # A result says that the parameters are on disk.
            checkpoints.finish()
            interrupt.nothing_to_lose = jax.process_count() == 1
            result = facts | {
                "evaluations": {name: program.score(state, name) for name in task.evaluation_sets},
                "baselines": task.baselines,
                "main_metric": task.main_metric,
                "num_parameters": num_parameters(model),
                "num_steps": config.train.num_steps,
                "alpha": learned_alpha(definition.bind(params_of(state, mesh)).encoder),
                "peak_memory_mib": round(peak_memory_mib(), 1),
                "data": task.facts,
            }
            result = without_nonfinite(result)
            if is_writer():
                write_json(workdir / "result.json", result)
    interrupt.pass_on()
    return TrainedModel(definition, params_of(state, mesh), result, int(state.step))


def params_of(state: TrainState, mesh: Mesh) -> Any:
    """The parameters where every process can read them: split ones are copied to the host."""
    if mesh.size == 1:
        return state.params
    with jax.set_mesh(mesh):
        return jax.device_get(jax.jit(constrain_whole)(state.params))


def learned_alpha(encoder: Encoder) -> list[dict[str, Any]]:
    """α of every non-linear head: rows of layer and head, counted from 1, family and alpha."""
    return [
        {"layer": i, "head": h + 1, "family": group.family, "alpha": float(attention.alpha[h])}
        for i, attention in enumerate((layer.attention for layer in encoder.layers), 1)
        for group in attention.groups
        if group.family not in WITHOUT_ALPHA
        for h in range(group.start, group.stop)
    ]


def check_train_config(config: Any) -> None:
    """Raises ``ValueError`` or ``TypeError`` for counts that no run can have."""
    settings = config.train
    for name in ("num_steps", "batch_size", "eval_batch_size", "log_every", "checkpoint_every"):
        check_count(1, **{f"train.{name}": settings[name]})
    check_count(0, **{"train.eval_every": settings.eval_every, "seed": config.seed})
    check_energy_every(settings)
    check_peak_flops(settings.peak_flops)
    for name in ("keep_checkpoints", "max_skipped_steps"):
        check_count(1, **{f"train.{name}": settings[name]})


def _run_steps(
    config: Any,
    workdir: Path,
    task: Task,
    state: TrainState,
    program: Program,
    checkpoints: Checkpoints,
    reporter: Reporter,
    interrupt: InterruptFlag,
    traced: range,
) -> tuple[TrainState, dict[str, Any]]:
    """Steps from ``state.step`` to the end; returns the last state and facts of this process."""
    settings, start, began = config.train, int(state.step), time.perf_counter()
    history = EvaluationHistory(workdir, start_step=start, writes=is_writer())
    if int(state.skipped_in_a_row) >= settings.max_skipped_steps:
        raise FloatingPointError(
            f"the run ended at step {start}: the loss or the gradient was not finite for "
            f"{int(state.skipped_in_a_row)} steps in a row; begin another one in a new run folder"
        )
    if start:
        reporter.say(f"going on from step {start}")
    if any_process(interrupt.is_set):
        raise Interrupted(start)
    with ExitStack() as stack:
        tracking = settings.tracking if is_writer() else ""
        track = stack.enter_context(open_tracker(tracking, workdir, config, start_step=start))
        log = stack.enter_context(
            MetricsLog(workdir, start_step=start, track=track, writes=is_writer())
        )
        progress = stack.enter_context(
            ProgressLog(reporter, num_steps=settings.num_steps, start_step=start)
        )
        rates = learning_rates(config.optimizer.to_dict(), num_steps=settings.num_steps)
        meter = Meter(
            log,
            progress,
            rates.__getitem__,
            log_every=settings.log_every,
            last_step=settings.num_steps,
            max_skipped_steps=settings.max_skipped_steps,
            peak_flops=peak_of_all_devices(setting=settings.peak_flops),
        )
        where: dict[str, Any] = {"first_step": start + 1, "say": reporter.say}
        advance = stack.enter_context(traced_steps(program.advance, workdir, traced, **where))
        work_of = work_counter(config)
        batches = stack.enter_context(closing(_batches(config, task, start)))
        stack.enter_context(_saved_where_it_diverges(checkpoints, lambda: state))

        stack.callback(history.close)

        def evaluate_at(step: int) -> None:
            with meter.paused():
                try:
                    scores = program.score(state, task.watched_set)
                except Interrupted:
                    checkpoints.save(state)
                    raise
            named = {f"{task.watched_set}/{name}": scores[name] for name in scores}
            track(step, named)
            history.add(step, named)
            reporter.say(f"step {step}  {task.watched_set} {format_scores(scores)}")

        # Stopped or killed in the evaluation of this step: it is made again.
        is_missing = is_writer() and not history.has(start)
        if is_evaluated(start, config) and any_process(is_missing):
            evaluate_at(start)
        for done, batch in batches:
            state, metrics = advance(state, batch)
            interrupt.nothing_to_lose = False
            meter.record(done, metrics, work_of(batch))
            checkpoints.check()
            # Of several processes all have to stop at one step, and asking takes a moment.
            asks = jax.process_count() == 1 or done % settings.log_every == 0
            stops = asks and any_process(interrupt.is_set)
            is_due = done == settings.num_steps or done % settings.checkpoint_every == 0
            if stops:
                # First of all: whoever asked may not wait for the energies, which come after.
                with meter.paused(writes=False):
                    checkpoints.save(state)
            if program.energies and energies_are_due(settings, done):
                # Before the save, so that a run that goes on from it has the row of its step.
                figures = meter.extend(partial(program.energies, state))
                for line in non_finite_lines(figures):
                    reporter.say(f"step {done}: {line}")
            if is_due and not stops:
                with meter.paused():
                    checkpoints.save(state)
            if stops:
                meter.flush()
                raise Interrupted(done)
            if is_evaluated(done, config):
                evaluate_at(done)
        meter.flush()
    facts: dict[str, Any] = {"wall_seconds": round(time.perf_counter() - began, 1)}
    facts |= meter.speeds | {"history": history.rows}
    return state, facts


def is_evaluated(step: int, config: Any) -> bool:
    """Whether an evaluation is due after ``step`` updates; those at the end are made apart."""
    every = config.train.eval_every
    return bool(every) and step % every == 0 and 0 < step < config.train.num_steps


@contextmanager
def _saved_where_it_diverges(
    checkpoints: Checkpoints, current: Callable[[], TrainState]
) -> Iterator[None]:
    """Saves the state of a run that ends as too many steps were skipped: it is finite."""
    try:
        yield
    except FloatingPointError:
        checkpoints.save(current())
        raise


def format_scores(scores: dict[str, float]) -> str:
    """One line of metric names and values."""
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


def _batches(config: Any, task: Task, start: int) -> Generator[tuple[int, Any]]:
    """(number of updates once the batch is used, batch) from step ``start`` to the end."""
    steps = range(start, config.train.num_steps)
    if not steps:
        return
    batches = iterate_batches(task.batches, start_step=start, num_threads=config.data.num_threads)
    for step, batch in zip(steps, batches, strict=False):
        yield step + 1, batch
