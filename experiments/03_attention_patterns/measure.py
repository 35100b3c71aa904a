"""What experiment 03 reads from the folder of one finished run."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp

from configs.command_line import load_run_config
from experiments.curves import read_curve
from experiments.finished_run import read_finished
from hopfield_attn.analysis.diagnostics import diagnose_head
from hopfield_attn.analysis.energies import attention_inputs
from hopfield_attn.analysis.source_mass import source_mass
from hopfield_attn.data.batches import stack_elements
from hopfield_attn.data.synthetic import synthetic_examples
from hopfield_attn.data.synthetic_tasks import make_synthetic_task
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.nn.energy_attention import HeadProblem
from hopfield_attn.ops.heads import over_heads
from hopfield_attn.train.trained import load_run
from hopfield_attn.typing import Array

NUM_EXAMPLES = 128


def read_run(folder: Path) -> dict:
    """The figures of a run: its setting, accuracies over the steps, speed, and mass on sources."""
    config, _ = load_run_config(str(folder))
    finished = read_finished(folder)
    result = finished.result
    tokens_per_step = config.train.batch_size * result["data"]["length"]
    return setting(config) | {
        "test_accuracy": finished.metric("test", "accuracy"),
        "validation_accuracies": read_curve(result),
        "steps_per_second": (result["tokens_per_second"] or 0) / tokens_per_step,
        "wall_seconds": result["wall_seconds"],
        "num_parameters": result["num_parameters"],
        "baselines": result["baselines"],
        "difficulty": result["data"]["synthetic_task"],
        **masses(config, folder),
    }


def read_failed(folder: Path, failure: str) -> dict:
    """The setting of a run that failed, and why."""
    config, _ = load_run_config(str(folder))
    return setting(config) | {"failure": failure}


def setting(config) -> dict:
    """What a run was told to do."""
    is_linear = config.model.heads == "identity"
    return {
        "task": config.data.task,
        "heads": config.model.heads,
        "coupling": "" if is_linear else config.model.coupling,
        "num_steps": 0 if is_linear else config.model.num_steps,
        "seed": config.seed,
        "batch_size": config.train.batch_size,
    }


def masses(config, folder: Path) -> dict:
    """Mass on the sources, layers × heads: of effective attention W_T, of A, and of uniform."""
    run = load_run(config, folder)
    encoder = run.definition.bind(run.params).encoder
    task = make_synthetic_task(config.data.task, config.data.to_dict())
    # Drawn for nothing else: training, validation and test of a seed have 3 · seed + 0, 1, 2.
    examples = synthetic_examples(task, num_examples=NUM_EXAMPLES, seed=3_000_000 + config.seed)
    columns = stack_elements([examples[i] for i in range(NUM_EXAMPLES)])
    batch = {name: jnp.asarray(column) for name, column in columns.items()}
    columns_read = batch["tokens"], batch["mask"], batch["token_types"]
    found: dict[str, list] = {"masses": [], "plain_masses": []}
    for layer, inputs in attention_inputs(encoder, *columns_read):
        problems = layer.attention.problems(inputs, mask=batch["mask"])
        attention = {
            "masses": [effective_weights(problem) for problem in problems],
            "plain_masses": [problem.weights for problem in problems],
        }
        for name, groups in attention.items():
            weights = jnp.concatenate(groups, axis=1)
            mass = source_mass(weights, batch["positions"], batch["sources"])
            found[name].append([round(float(share), 4) for share in mass.heads])
    return {**found, "uniform_mass": round(float(mass.uniform), 4)}


def effective_weights(problem: HeadProblem) -> Array:
    """W_T with x_T = W_T y for every example and head of a group, (b, h, n, m)."""
    options = {k: v for k, v in problem.options.items() if k != "nonlinearity"}

    def last(weights: Array, values: Array, F: Nonlinearity) -> Array:
        return diagnose_head(weights, values, nonlinearity=F, **options).attention[-1]

    # Compiled, what else a diagnosis computes is left out.
    solve = jax.jit(functools.partial(over_heads, last))
    return solve(problem.weights, problem.values, problem.options["nonlinearity"])
