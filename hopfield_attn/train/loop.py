"""Training: builds model and program, makes the steps that are missing, writes the result."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console

from hopfield_attn.energies.nonlinearities import WITHOUT_ALPHA
from hopfield_attn.files import without_nonfinite, write_json
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.registry import num_parameters
from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.config_checks import check_train_config
from hopfield_attn.train.interrupt import InterruptFlag
from hopfield_attn.train.logging import Reporter
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.pretrained import start_from_pretrained
from hopfield_attn.train.processes import Watchdog, is_writer
from hopfield_attn.train.profiler import NO_STEPS
from hopfield_attn.train.program import make_program
from hopfield_attn.train.run_files import read_result
from hopfield_attn.train.run_folder import peak_memory_mib
from hopfield_attn.train.sharding import constrain_whole, first_state, make_mesh
from hopfield_attn.train.state import ModelDefinition, TrainState, split_model
from hopfield_attn.train.step_loop import StepLoop
from hopfield_attn.train.tasks import Task


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
      config: a training config; :func:`hopfield_attn.train.config_checks.check_config` sees more
        mistakes, before data is read.
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
      ValueError: if a count cannot be, or the checkpoints are those of another model.
    """
    check_train_config(config)
    model = task.blueprint.make_model(config.model.to_dict(), config.seed)
    definition, params = split_model(model)
    optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=config.train.num_steps)
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
            say=reporter.say,
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
            steps = StepLoop(
                config, workdir, task, program, checkpoints, reporter, interrupt, state
            )
            facts = steps.run(traced)
            state = steps.state
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
