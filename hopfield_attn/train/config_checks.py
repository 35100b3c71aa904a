"""What can be said of a config before any data is read or a folder is made."""

from typing import Any

import jax
from flax import nnx

from hopfield_attn.checks import check_count
from hopfield_attn.models.layers import parse_layers
from hopfield_attn.nn.heads import parse_heads
from hopfield_attn.ops.partition import BATCH, CONTEXT, TENSOR, num_parts
from hopfield_attn.train.energies import check_energy_every
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.sharding import layout_sizes
from hopfield_attn.train.tasks import make_blueprint, make_model
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
    for name in ("max_train_examples", "max_bad_rows"):
        check_count(0, **{f"data.{name}": config.data[name]})
    check_energy_every(settings)
    check_peak_flops(settings.peak_flops)
    for name in ("keep_checkpoints", "max_skipped_steps"):
        check_count(1, **{f"train.{name}": settings[name]})


def check_layout(config: Any, *, num_devices: int) -> None:
    """Raises ``ValueError`` for a config whose sizes do not split over its mesh.

    Args:
      config: a training config.
      num_devices: devices there are.
    """
    sizes = layout_sizes(config.mesh.to_dict(), num_devices=num_devices)
    check_count(1, **{"train.accumulate": config.train.accumulate})
    rows = num_parts(BATCH, sizes) * config.train.accumulate
    if config.train.batch_size % rows:
        raise ValueError(
            f"train.batch_size must be a multiple of {rows}, mesh.data × mesh.fsdp × "
            f"train.accumulate; got {config.train.batch_size}"
        )
    _check_rows(config, context=sizes[CONTEXT])
    model = config.model
    if model.mlp_width % sizes[TENSOR]:
        raise ValueError(
            f"model.mlp_width must be a multiple of mesh.tensor={sizes[TENSOR]}; "
            f"got {model.mlp_width}"
        )
    for heads in filter(None, (model.heads, config.baseline_heads)):
        for group in parse_heads(heads, num_heads=model.num_heads):
            count = group.stop - group.start
            if count % sizes[TENSOR]:
                raise ValueError(
                    f"mesh.tensor={sizes[TENSOR]} must divide the number of heads of every "
                    f"family; {heads!r} has {count} of {group.family!r}"
                )


def _check_rows(config: Any, *, context: int) -> None:
    if context == 1:
        return
    length = make_blueprint(config).rows["tokens"].shape[-1]
    if length % context:
        raise ValueError(
            f"data.length must be a multiple of mesh.context={context}; got {length}"
            if length == config.data.length
            else f"the rows of data.task={config.data.task!r} must have a multiple of "
            f"mesh.context={context} tokens; got {length}"
        )
    if config.data.length_multiple % context:
        raise ValueError(
            f"data.length_multiple must be a multiple of mesh.context={context}; "
            f"got {config.data.length_multiple}"
        )
