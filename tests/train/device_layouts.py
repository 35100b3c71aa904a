"""A program of the tests: training steps on simulated devices, one layout after another.

  python tests/train/device_layouts.py '{"runs": [...], "config": {...}, "num_steps": 3}'

prints a JSON line a layout: losses as hex, memory of the compiled step a device, and the size of
the largest part of the state.
"""

import json
import sys

import jax
import numpy as np

from configs.defaults import get_defaults
from hopfield_attn.data.masking import num_masked
from hopfield_attn.models.registry import make_masked_language_model
from hopfield_attn.train.config_checks import check_layout
from hopfield_attn.train.energies import energy_metrics, make_energy_step
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.sharding import first_state, make_mesh, shard_batch
from hopfield_attn.train.state import split_model
from hopfield_attn.train.step import make_train_step
from hopfield_attn.train.tasks.masked_lm import mlm_loss, mlm_weight

CONFIG = {
    "data.length": 16,
    "data.vocab_size": 96,
    "model.width": 32,
    "model.num_layers": 1,
    "model.num_heads": 4,
    "model.mlp_width": 64,
    "model.heads": "identity:2,quadratic:2",
    "model.alpha_init": 0.3,
    "model.dropout_rate": 0.0,
    "model.attention_dropout_rate": 0.0,
    "train.batch_size": 16,
    "optimizer.warmup_fraction": 0.0,
}


def mlm_batch(config, step):
    rng = np.random.default_rng(step)
    size, n = config.train.batch_size, config.data.length
    slots = num_masked(n, mask_rate=config.data.mask_rate)
    lengths = rng.integers(n // 2, n + 1, size)
    return {
        "tokens": rng.integers(0, config.data.vocab_size, (size, n), np.int32),
        "mask": np.arange(n)[None] < lengths[:, None],
        "positions": rng.integers(0, n // 2, (size, slots), np.int32),
        "labels": rng.integers(0, config.data.vocab_size, (size, slots), np.int32),
        "label_weights": rng.integers(0, 2, (size, slots)).astype(np.float32),
    }


def run(config, num_steps):
    check_layout(config, num_devices=jax.device_count())
    mesh = make_mesh(config.mesh.to_dict())
    model = make_masked_language_model(
        config.model.to_dict(),
        vocab_size=config.data.vocab_size,
        max_length=config.data.length,
        seed=config.seed,
    )
    definition, params = split_model(model)
    optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=100)
    step = make_train_step(
        definition,
        mlm_loss,
        optimizer,
        accumulate=config.train.accumulate,
        weight_fn=mlm_weight,
    )
    losses, norms, seed = [], [], np.uint32(config.seed)
    with jax.set_mesh(mesh):
        made = []

        def init(params):
            made.append((params, optimizer.init(params)))
            return made[-1][1]

        state = first_state(params, optimizer._replace(init=init), mesh)
        placed = [leaf.sharding for leaf in jax.tree.leaves(state)]
        compiled = step.lower(state, shard_batch(mlm_batch(config, 0), mesh), seed).compile()
        for number in range(num_steps):
            state, metrics = step(state, shard_batch(mlm_batch(config, number), mesh), seed)
            losses.append(float(metrics["loss"]).hex())
            norms.append(float(metrics["grad_norm"]).hex())
        rows = {name: mlm_batch(config, 0)[name] for name in ("tokens", "mask")}
        energies = make_energy_step(definition)(state.params, shard_batch(rows, mesh))
    figures = energy_metrics(jax.device_get(energies), rows["mask"].any(axis=1))
    same = [
        before.is_equivalent_to(leaf.sharding, leaf.ndim)
        for before, leaf in zip(placed, jax.tree.leaves(state), strict=True)
    ]
    begins_split = [
        before.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)
        for before, leaf in zip(
            jax.tree.leaves(made[-1]),
            jax.tree.leaves((state.params, state.opt_state)),
            strict=True,
        )
        if leaf.ndim
    ]
    memory = compiled.memory_analysis()
    types = {str(leaf.dtype) for leaf in jax.tree.leaves((state.params, state.opt_state))}
    return {
        "mesh": dict(mesh.shape),
        "losses": losses,
        "energies": figures,
        "grad_norms": norms,
        "argument_bytes": memory.argument_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "state_stays_where_it_is": all(same),
        "optimizer_begins_split": all(begins_split),
        "types": sorted(types),
        "num_step_programs": step._cache_size(),
    }


def main(text):
    given = json.loads(text)
    for changes in given["runs"]:
        config = get_defaults()
        config.update_from_flattened_dict(CONFIG | given.get("config", {}) | changes)
        print(json.dumps(run(config, given.get("num_steps", 3))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
