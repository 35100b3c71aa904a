"""AdamW with warm-up and decay; non-linearities with a learning rate of their own."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hopfield_attn.checks import check_at_least, check_choice
from hopfield_attn.typing import PyTree

DECAYS = ("linear", "cosine", "constant")
NONLINEARITY_NAMES = ("alpha", "spline_values")
"""Names of the parameters of ``EnergyAttention`` that belong to F."""


def make_schedule(config: Mapping[str, Any], *, num_steps: int) -> Callable[[Any], Any]:
    """Learning rate by step: linear warm-up from 0, then decay to 0 at ``num_steps``.

    Args:
      config: learning_rate, warmup_fraction of ``num_steps``, decay ("linear", "cosine",
        "constant").
      num_steps: length of the run.

    Raises:
      ValueError: for an unknown decay or numbers out of range.

    Example:
      >>> config = {"learning_rate": 1e-3, "warmup_fraction": 0.1, "decay": "linear"}
      >>> schedule = make_schedule(config, num_steps=100)
      >>> [round(float(schedule(step)), 6) for step in (0, 10, 55, 100)]
      [0.0, 0.001, 0.0005, 0.0]
    """
    check_choice("optimizer.decay", config["decay"], DECAYS)
    check_at_least(0, learning_rate=config["learning_rate"])
    fraction = config["warmup_fraction"]
    if not 0 <= fraction < 1:
        raise ValueError(f"optimizer.warmup_fraction must be in [0, 1); got {fraction}")
    peak, warmup = config["learning_rate"], round(fraction * num_steps)
    rest = max(num_steps - warmup, 1)
    decay = {
        "linear": lambda: optax.linear_schedule(peak, 0.0, rest),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest),
        "constant": lambda: optax.constant_schedule(peak),
    }[config["decay"]]()
    return optax.join_schedules([optax.linear_schedule(0.0, peak, max(warmup, 1)), decay], [warmup])


def learning_rates(config: Mapping[str, Any], *, num_steps: int) -> np.ndarray:
    """The learning rate of every update, (num_steps,), on the host; arguments as above.

    Example:
      >>> config = {"learning_rate": 1e-3, "warmup_fraction": 0.5, "decay": "constant"}
      >>> learning_rates(config, num_steps=4)
      array([0.    , 0.0005, 0.001 , 0.001 ], dtype=float32)
    """
    return np.asarray(jax.vmap(make_schedule(config, num_steps=num_steps))(np.arange(num_steps)))


def make_optimizer(config: Mapping[str, Any], *, num_steps: int) -> optax.GradientTransformation:
    """AdamW with global-norm clipping.

    Weight decay touches matrices and embeddings only: not biases, layer norms or non-linearities.
    Strengths α and splines step with ``alpha_rate`` times the learning rate of the others.

    Args:
      config: the keys of :func:`make_schedule`, and weight_decay, clip_norm, b1, b2, alpha_rate.
      num_steps: length of the run.
    """
    check_at_least(0, weight_decay=config["weight_decay"], alpha_rate=config["alpha_rate"])
    check_at_least(0, exclusive=True, clip_norm=config["clip_norm"])
    adamw = optax.adamw(
        make_schedule(config, num_steps=num_steps),
        b1=config["b1"],
        b2=config["b2"],
        weight_decay=config["weight_decay"],
        mask=_is_decayed,
    )
    rates = optax.masked(optax.scale(config["alpha_rate"]), is_nonlinearity)
    return optax.chain(optax.clip_by_global_norm(config["clip_norm"]), adamw, rates)


def is_nonlinearity(params: PyTree) -> PyTree:
    """True at the leaves that say what F is: strengths α and spline values of attention heads.

    Example:
      >>> is_nonlinearity({"attention": {"alpha": 0.0, "out": 1.0}})
      {'attention': {'alpha': True, 'out': False}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: _name(path[-1]) in NONLINEARITY_NAMES, params
    )


def _is_decayed(params: PyTree) -> PyTree:
    return jax.tree.map(
        lambda p, is_shape: jnp.ndim(p) >= 2 and not is_shape, params, is_nonlinearity(params)
    )


def _name(key: Any) -> str:
    return str(getattr(key, "key", key))
