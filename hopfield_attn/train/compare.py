"""A run beside its linear baseline: energies of the trained heads, and one picture."""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from hopfield_attn.analysis.comparison import draw_comparison
from hopfield_attn.analysis.energies import as_rows, head_energies
from hopfield_attn.data.batches import stack_elements
from hopfield_attn.files import write_json
from hopfield_attn.train.energies import encoder_rows, holds_text, max_sequences
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.loop import TrainedModel
from hopfield_attn.train.run_files import COMPARISON_FILE
from hopfield_attn.train.tasks import Task

_NUM_ROWS = 32
"""Held-out sequences over which the energies are averaged, at most."""


def compare_runs(
    workdir: Path, baseline_dir: Path, task: Task, runs: dict[str, TrainedModel]
) -> Path:
    """Writes ``comparison.png`` and ``head_energies.json`` into ``workdir``.

    Args:
      workdir: folder of the run.
      baseline_dir: folder of its baseline.
      task: the task of both.
      runs: label → trained model: the run first, then the baseline.

    Returns:
      The path of the picture.
    """
    trained = next(iter(runs.values()))
    source = task.evaluation_sets[task.watched_set]
    elements = stack_elements([source[i] for i in range(min(_NUM_ROWS, len(source)))])
    encoder = trained.definition.bind(trained.params).encoder
    num_heads = encoder.layers[0].attention.alpha.shape[0]
    limit = min(_NUM_ROWS, max_sequences(elements["mask"].shape[-1], num_heads=num_heads))
    is_real = holds_text(elements, limit)
    rows = {name: row[is_real] for name, row in encoder_rows(elements, limit).items()}
    found = head_energies(encoder, **{name: jnp.asarray(row) for name, row in rows.items()})
    write_json(workdir / "head_energies.json", as_rows(found))
    first, second = (_label(title, trained.result) for title, trained in runs.items())
    path, partial = workdir / COMPARISON_FILE, workdir / f".{COMPARISON_FILE}"
    draw_comparison(
        partial,
        nonlinear=read_metrics(workdir),
        linear=read_metrics(baseline_dir),
        labels=(first, second),
        baseline_loss=task.baselines.get("unigram_loss"),
        head_energies=found,
    )
    # Whole or not at all: without it, a sweep makes the comparison again.
    partial.replace(path)
    return path


def _label(title: str, result: dict[str, Any]) -> str:
    """The heads and what they reached on the last evaluation set."""
    name, scores = list(result["evaluations"].items())[-1]
    metric = result["main_metric"]
    value = math.nan if scores[metric] is None else scores[metric]
    return f"{title} ({name} {metric} {value:.3f})"
