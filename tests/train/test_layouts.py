"""Every layout of devices computes what one device does, in less memory a device.

The devices are threads of a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from jax.tree_util import DictKey

from hopfield_attn.ops.partition import BATCH, constrain
from hopfield_attn.train.config_checks import check_layout
from hopfield_attn.train.sharding import layout_sizes, leaf_spec, make_mesh

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("device_layouts.py")
ONE = {"mesh.data": 1}


def run_layouts(*runs, num_devices, num_steps=3, **config):
    """What device_layouts.py prints for ``runs`` on ``num_devices`` simulated devices."""
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    done = subprocess.run(
        [
            sys.executable,
            str(PROGRAM),
            json.dumps({"runs": runs, "config": config, "num_steps": num_steps}),
        ],
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_same_losses(found, expected):
    for name in ("losses", "grad_norms"):
        values, others = ([float.fromhex(v) for v in row[name]] for row in (found, expected))
        np.testing.assert_allclose(values, others, rtol=1e-6, err_msg=str(found["mesh"]))
    for name, value in expected["energies"].items():
        # A drop is a difference of energies, and rounds as they do.
        close = pytest.approx(value, rel=1e-4, abs=1e-5)
        assert found["energies"][name] == close, (found["mesh"], name)
    assert found["state_stays_where_it_is"]
    assert found["optimizer_begins_split"]
    assert found["num_step_programs"] == 1


@pytest.mark.slow
def test_split_heads_sequences_and_parameters_give_the_losses_of_one_device():
    (one,) = run_layouts(ONE, num_devices=1)
    layouts = (
        {"mesh.fsdp": 2, "mesh.tensor": 2, "mesh.context": 2},
        {"mesh.fsdp": 4, "mesh.context": 2, "train.accumulate": 2},
    )
    for found in run_layouts(*layouts, num_devices=8):
        assert_same_losses(found, one)
        assert found["temp_bytes"] < one["temp_bytes"] / 2
    assert found["argument_bytes"] < 0.3 * one["argument_bytes"]


LAYOUTS = (
    {"mesh.data": 8},
    {"mesh.fsdp": 8},
    {"mesh.data": 2, "mesh.fsdp": 4},
    {"mesh.data": 4, "mesh.tensor": 2},
    {"mesh.fsdp": 4, "mesh.tensor": 2},
    {"mesh.context": 8},
    {"mesh.data": 2, "mesh.context": 4},
    {"mesh.fsdp": 2, "mesh.tensor": 2, "mesh.context": 2},
    {"mesh.data": 2, "mesh.fsdp": 2, "train.accumulate": 2, "mesh.context": 2},
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
@pytest.mark.parametrize("implementation", [None, "autodiff", "primal", "blockwise", "dual"])
def test_every_layout_of_eight_devices_gives_the_losses_of_one(coupling, implementation):
    if implementation == "dual" and coupling != "pooled":
        pytest.skip("dual is for the pooled coupling")
    config = {"model.coupling": coupling, "model.num_steps": 3}
    if implementation:
        config["model.implementation"] = implementation
    (one,) = run_layouts(ONE, num_devices=1, **config)
    for found in run_layouts(*LAYOUTS, num_devices=8, **config):
        assert_same_losses(found, one)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dropout_draws_the_same_on_every_layout():
    config = {"model.dropout_rate": 0.1, "model.attention_dropout_rate": 0.1}
    (one,) = run_layouts(ONE, num_devices=1, **config)
    for found in run_layouts(*LAYOUTS[:-1], num_devices=8, **config):
        assert_same_losses(found, one)


@pytest.mark.slow
def test_parameters_and_optimizer_state_take_an_eighth_of_the_memory_when_fully_sharded():
    config = {"model.width": 64, "model.mlp_width": 256, "data.vocab_size": 512}
    (one,) = run_layouts(ONE, num_devices=1, num_steps=1, **config)
    (copied, sharded) = run_layouts(
        {"mesh.data": 8}, {"mesh.fsdp": 8}, num_devices=8, num_steps=1, **config
    )
    assert copied["argument_bytes"] > 0.95 * one["argument_bytes"]
    assert sharded["argument_bytes"] < 1.1 * one["argument_bytes"] / 8


@pytest.mark.core
def test_axis_data_takes_the_devices_that_the_others_leave():
    layout = {"data": -1, "fsdp": 2, "tensor": 1, "context": 2}
    assert layout_sizes(layout, num_devices=8)["data"] == 2
    with pytest.raises(ValueError, match=r"= 4 and mesh.data=-1 do not fit .* devices, 6"):
        layout_sizes(layout, num_devices=6)
    with pytest.raises(ValueError, match=r"mesh.data=4 do not fit .* devices, 8"):
        layout_sizes(layout | {"data": 4}, num_devices=8)
    with pytest.raises(ValueError, match=r"mesh.fsdp must be >= 1; got 0"):
        layout_sizes(layout | {"fsdp": 0}, num_devices=8)


@pytest.mark.core
def test_rows_of_a_generated_task_have_their_own_length(make_config):
    # data.length is not used by them.
    changes = {"data.task": "match2", "data.num_tokens": 15, "data.length": 20}
    check_layout(make_config(changes | {"mesh.context": 8}), num_devices=8)


@pytest.mark.core
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 12}, r"train.batch_size must be a multiple of 8, .*; got 12"),
        ({"train.accumulate": 3}, r"train.batch_size must be a multiple of 24, .*; got 16"),
        (
            {"mesh.context": 8, "task": "mlm", "data.length": 20},
            r"data.length must be a multiple of mesh.context=8; got 20",
        ),
        (
            {"mesh.context": 8, "data.task": "match2", "data.num_tokens": 8},
            r"the rows of data.task='match2' must have a multiple of mesh.context=8 .*; got 9",
        ),
        (
            {"mesh.context": 8, "task": "glue", "data.task": "rte", "data.length_multiple": 4},
            r"data.length_multiple must be a multiple of mesh.context=8; got 4",
        ),
        ({"mesh.tensor": 8}, r"mesh.tensor=8 must divide .* 'identity:1,quadratic:1' has 1 of"),
        ({"mesh.tensor": 8, "model.mlp_width": 20}, r"model.mlp_width must be .* got 20"),
    ],
)
def test_sizes_that_do_not_divide_are_one_clear_error(changes, message, make_config):
    config = make_config({"train.batch_size": 16, "data.length": 64} | changes)
    with pytest.raises(ValueError, match=message):
        check_layout(config, num_devices=8)


@pytest.mark.core
def test_parameters_lie_where_their_names_say():
    sizes = {"data": 1, "fsdp": 2, "tensor": 2, "context": 1}

    def spec(name, *shape):
        return leaf_spec([DictKey(part) for part in name.split(".")], shape, sizes)

    for name in ("layers.0.attention.query", "layers.0.mlp_in"):
        assert spec(f"{name}.kernel", 8, 16) == PartitionSpec("fsdp", "tensor")
        assert spec(f"{name}.bias", 16) == PartitionSpec("tensor")
    for name in ("layers.0.attention.out", "layers.0.mlp_out"):
        assert spec(f"{name}.kernel", 16, 8) == PartitionSpec("tensor", "fsdp")
        assert spec(f"{name}.bias", 8) == PartitionSpec("fsdp")
    # The classifier's own layer is not attention's; an odd size is whole everywhere.
    assert spec("out.kernel", 16, 3) == PartitionSpec("fsdp")
    assert spec("encoder.tokens.embedding", 30, 64) == PartitionSpec("fsdp")
    assert spec("encoder.types.embedding", 3, 64) == PartitionSpec()
    assert spec("layers.0.attention.alpha", 4) == PartitionSpec()
    assert spec("step") == PartitionSpec()


@pytest.mark.core
def test_without_a_mesh_or_on_one_device_nothing_is_constrained():
    x = jax.numpy.ones((3, 5))
    assert constrain(x, BATCH, "context") is x
    with jax.set_mesh(make_mesh(dict.fromkeys(("data", "fsdp", "tensor", "context"), 1))):
        assert constrain(x, BATCH, "context") is x
