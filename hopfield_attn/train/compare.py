"""A run beside its linear baseline: energies of the trained heads, and one picture."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from hopfield_attn.analysis.comparison import draw_comparison
from hopfield_attn.analysis.energies import as_rows, head_energies
from hopfield_attn.data.batches import stack_elements
from hopfield_attn.files import write_json
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.loop import TrainedModel
from hopfield_attn.train.tasks import Task

_NUM_ROWS = 32
"""Held-out examples over which the energies are averaged."""


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
    rows = stack_elements([source[i] for i in range(min(_NUM_ROWS, len(source)))])
    batch = {name: jnp.asarray(column) for name, column in rows.items()}
    encoder = trained.definition.bind(trained.params).encoder
    found = head_energies(encoder, batch["tokens"], batch["mask"], batch.get("token_types"))
    write_json(workdir / "head_energies.json", as_rows(found))
    first, second = (_label(title, trained.result) for title, trained in runs.items())
    path = workdir / "comparison.png"
    draw_comparison(
        path,
        nonlinear=read_metrics(workdir),
        linear=read_metrics(baseline_dir),
        labels=(first, second),
        baseline_loss=task.baselines.get("unigram_loss"),
        head_energies=found,
    )
    return path


def _label(title: str, result: dict[str, Any]) -> str:
    """The heads and what they reached on the last evaluation set."""
    name, scores = list(result["evaluations"].items())[-1]
    metric = result["main_metric"]
    return f"{title} ({name} {metric} {scores[metric]:.3f})"
