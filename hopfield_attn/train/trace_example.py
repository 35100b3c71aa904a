"""What chosen heads of a run on a generated task do with one example, whose sources are known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hopfield_attn.analysis.head_trace import HeadTrace, trace_heads
from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import SyntheticTask, synthetic_examples
from hopfield_attn.data.synthetic_tasks import make_synthetic_task
from hopfield_attn.train.trained import TrainedRun

_FIRST_SEED = 4_000_000
"""Far from the seeds of training, validation and test sets, three a run."""


class ExampleTraces(NamedTuple):
    """Heads on a generated example.

    Attributes:
      task: what was drawn.
      example: its arrays, as of :func:`hopfield_attn.data.synthetic.query_example`.
      traces: one a head.
    """

    task: SyntheticTask
    example: Element
    traces: list[HeadTrace]


def example_traces(
    run: TrainedRun, heads: Sequence[tuple[int, int]], *, number: int = 0
) -> ExampleTraces:
    """Traces heads on an example of the run's own task and difficulty that no set of it holds.

    Args:
      run: of the task "synthetic", from :func:`hopfield_attn.train.trained.load_run`.
      heads: (layer, head) pairs, counted from 0.
      number: which example, from 0.

    Raises:
      ValueError: the run has another task, or there is no such layer or head.
    """
    config = run.config
    if config.task != "synthetic":
        raise ValueError(f"expected a run of the task 'synthetic'; got {config.task!r}")
    task = make_synthetic_task(config.data.task, config.data.to_dict())
    example = synthetic_examples(task, num_examples=number + 1, seed=_FIRST_SEED + config.seed)[
        number
    ]
    ids = np.asarray(example["tokens"]).tolist()
    traces = trace_heads(
        run.definition.bind(run.params).encoder,
        ids,
        heads,
        tokens=[task.token_name(k) for k in ids],
        token_types=np.asarray(example["token_types"]).tolist(),
    )
    return ExampleTraces(task, example, traces)
