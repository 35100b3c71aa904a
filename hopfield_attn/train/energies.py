"""What the non-linear heads do while a model is trained: figures of every layer, by layer.

They are measured beside the training step, on one evaluation batch. Figures of layer l, counted
from 1, over its non-linear heads and the sequences of the batch:

``layer_l/unconverged``
    share of (sequence, head) with ‖∇E(x_T)‖ > 10⁻³ · max(1, ‖x_T‖), those not finite included
``layer_l/energy_drop``
    mean of E(x₀) − E(x_T), in nats/β
``layer_l/attention_distance``
    mean of ‖x_T − A y‖ / ‖A y‖: 0 is plain attention
``layer_l/non_finite``
    number of (sequence, head) with an energy or a gradient that is not finite: in the mean of
    ``unconverged``, and in no other
``layer_l/abs_alpha``
    mean of |α| over the heads that have one
``layer_l/abs_spline``
    mean of |s| at the knots over the spline heads
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hopfield_attn.analysis.layer_energies import LayerEnergies, layer_energies
from hopfield_attn.checks import check_count
from hopfield_attn.data.batches import EXAMPLE_WEIGHTS, eval_batches
from hopfield_attn.data.source import RandomAccess
from hopfield_attn.models.layers import heads_by_layer
from hopfield_attn.nn.heads import parse_heads
from hopfield_attn.train.sharding import constrain_whole, round_up
from hopfield_attn.train.state import ModelDefinition
from hopfield_attn.typing import PyTree

ENCODER_INPUTS = ("tokens", "mask", "token_types")
NEVER = -1
"""``train.energy_every`` that turns the measurement off."""
MAX_CELLS = 2**26
"""Attention weights of a layer at a time: 256 MiB of float32, and the descent has several such."""


def has_energies(model: Mapping[str, Any]) -> bool:
    """Whether a layer of ``config.model`` has a non-linear head."""
    num_layers, num_heads = model["num_layers"], model["num_heads"]
    return any(
        group.family != "identity"
        for heads in heads_by_layer(model["heads"], model["head_layers"], num_layers=num_layers)
        for group in parse_heads(heads, num_heads=num_heads)
    )


def energies_are_due(settings: Any, done: int) -> bool:
    """Whether the figures are measured after step ``done``.

    Args:
      settings: ``config.train``: every ``energy_every`` steps; 0: with the evaluations, of which
        the last is at the end; −1: never.
      done: updates made.
    """
    every = settings.energy_every or settings.eval_every
    is_multiple = every > 0 and done % every == 0
    return is_multiple or (settings.energy_every == 0 and done == settings.num_steps)


def check_energy_every(settings: Any) -> None:
    """Raises ``ValueError`` or ``TypeError`` for an interval that cannot be."""
    check_count(NEVER, **{"train.energy_every": settings.energy_every})


def energy_batch(
    examples: RandomAccess[Any], *, batch_size: int, num_heads: int, mesh: Mesh
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the encoder reads of the first sequences, and which of them are real.

    As many as an evaluation batch has, or fewer where the attention weights of a layer would be
    more than :data:`MAX_CELLS`.

    Args:
      examples: an evaluation set.
      batch_size: of an evaluation batch.
      num_heads: of a layer.
      mesh: over which the sequences are split.

    Returns:
      The rows (sequences, n) by name, and for every sequence whether it is one: an example may
      have one a choice and one a window, and windows may be filling, as examples may.
    """
    *more, length = np.shape(examples[0]["mask"])
    an_example = math.prod(more)
    limit = max_sequences(length, num_heads=num_heads)
    num_sequences = round_up(min(batch_size * an_example, limit), mesh)
    batch = next(eval_batches(examples, batch_size=-(-num_sequences // an_example)))
    is_example = np.repeat(batch[EXAMPLE_WEIGHTS] > 0, an_example)[:num_sequences]
    return encoder_rows(batch, num_sequences), holds_text(batch, num_sequences) & is_example


def encoder_rows(batch: Mapping[str, np.ndarray], num_sequences: int) -> dict[str, np.ndarray]:
    """What the encoder reads of the first sequences of a batch, one row each.

    Args:
      batch: columns (examples, …, n): an example may have a sequence a choice and a window.
      num_sequences: how many, at most.

    Returns:
      The rows (sequences, n) by name.
    """
    return {
        name: batch[name].reshape(-1, batch[name].shape[-1])[:num_sequences]
        for name in ENCODER_INPUTS
        if name in batch
    }


def holds_text(batch: Mapping[str, np.ndarray], num_sequences: int) -> np.ndarray:
    """Which of the sequences of :func:`encoder_rows` are more than filling.

    A window that a document is too short for has special tokens, and a mask, as any other.

    Args:
      batch: columns; ``windows`` (examples, …, windows), where it is one, says which are real.
      num_sequences: how many, at most.
    """
    is_real = batch.get("windows", np.ones(batch["mask"].shape[:-1], bool))
    return np.asarray(is_real, bool).reshape(-1)[:num_sequences]


def max_sequences(length: int, *, num_heads: int) -> int:
    """How many sequences have at most :data:`MAX_CELLS` attention weights in a layer; one at least.

    Args:
      length: tokens of a sequence.
      num_heads: of a layer.
    """
    return max(1, MAX_CELLS // (num_heads * length**2))


def make_energy_step(
    definition: ModelDefinition,
) -> Callable[[PyTree, Mapping[str, Any]], dict[int, LayerEnergies]]:
    """Returns the compiled (params, rows of the encoder) → what every layer's heads do."""

    @jax.jit
    def energy_step(params: PyTree, rows: Mapping[str, Any]) -> dict[int, LayerEnergies]:
        encoder = definition.bind(params).encoder
        return constrain_whole(layer_energies(encoder, **rows))

    return energy_step


def energy_metrics(found: Mapping[int, LayerEnergies], is_real: np.ndarray) -> dict[str, float]:
    """The figures of every layer by name; a mean over nothing is left out.

    Args:
      found: of an energy step.
      is_real: the sequences that count.
    """
    return {
        f"layer_{index + 1}/{name}": value
        for index, layer in found.items()
        for name, value in _figures(layer, is_real).items()
    }


def non_finite_lines(metrics: Mapping[str, float]) -> Iterator[str]:
    """A sentence for every layer with energies that are not finite."""
    for name, value in metrics.items():
        layer, _, figure = name.partition("/")
        if figure == "non_finite" and value:
            yield (
                f"{layer.replace('_', ' ')} has {value} (sequence, head) pairs with an energy or "
                "gradient that is not finite; they count as unconverged and are in no other mean"
            )


def _figures(layer: LayerEnergies, is_real: np.ndarray) -> dict[str, float]:
    drop, distance, is_converged, is_finite = (
        np.asarray(column)[is_real]
        for column in (layer.drop, layer.distance, layer.is_converged, layer.is_finite)
    )
    averaged = {
        "unconverged": ~(is_converged & is_finite),
        "energy_drop": drop[is_finite],
        "attention_distance": distance[is_finite],
        "abs_alpha": np.abs(layer.alpha),
        "abs_spline": np.abs(layer.spline),
    }
    means = {
        name: float(np.mean(values, dtype=np.float64))
        for name, values in averaged.items()
        if values.size
    }
    return {"non_finite": int(np.sum(~is_finite)), **means}
