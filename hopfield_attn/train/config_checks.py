"""What can be said of a config before any data is read or a folder is made."""

from typing import Any

import jax
from flax import nnx

from hopfield_attn.checks import check_count
from hopfield_attn.models.layers import parse_layers
from hopfield_attn.nn.heads import parse_heads
from hopfield_attn.train.energies import check_energy_every
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.sharding import check_layout
from hopfield_attn.train.tasks import make_model
from hopfield_attn.train.throughput import check_peak_flops
from hopfield_attn.train.tracking import check_tracking


def check_config(config: Any) -> None:
    """Refuses a config that no run can have, by its numbers and names alone.

    Counts, heads, layout over the devices, optimizer and tracker; and the model is made, as shapes.

    Args:
      config: a training config; sizes of a pretrained folder are adopted already.

    Raises:
      ValueError, TypeError: for a value that cannot be, or values that do not fit each other.
      ModuleNotFoundError: for a tracker whose library is not installed.
    """
    check_heads(config)
    check_train_config(config)
    check_layout(config, num_devices=jax.device_count())
    make_optimizer(config.optimizer.to_dict(), num_steps=config.train.num_steps)
    check_tracking(config.train.tracking)
    nnx.eval_shape(lambda: make_model(config))


def check_heads(config: Any) -> None:
    """Raises ``ValueError`` for heads that do not fit."""
    model = config.model
    parse_layers(model.head_layers, num_layers=model.num_layers)
    specs = [model.heads] + [config.baseline_heads] * bool(config.baseline_heads)
    parsed = [parse_heads(spec, num_heads=model.num_heads) for spec in specs]
    if len(parsed) != len(set(parsed)):
        raise ValueError(
            f"baseline_heads={config.baseline_heads!r} names the heads of model.heads again: "
            "nothing to compare with; an empty baseline_heads turns the second run off"
        )


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
