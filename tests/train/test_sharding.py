"""Data parallelism: four devices compute what one does. The devices are threads of a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.sharding import make_mesh, shard_batch, shard_state

REPOSITORY = Path(__file__).resolve().parents[2]

PROGRAM = """
import io, json, sys
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

from hopfield_attn.train.main import run
from hopfield_attn.train.sharding import make_mesh, shard_batch, shard_state

text, workdir = sys.argv[1:]
config = ConfigDict(json.loads(text))
run(config, Path(workdir), console=Console(file=io.StringIO()))

facts = {"num_devices": jax.device_count()}
mesh = make_mesh()
batch = shard_batch({"x": jax.numpy.arange(16.0).reshape(8, 2)}, mesh)["x"]
facts["shards"] = [shard.data.tolist() for shard in batch.addressable_shards]
copied = shard_state({"w": jax.numpy.arange(3.0)}, mesh)["w"]
facts["copies"] = [shard.data.tolist() for shard in copied.addressable_shards]
config.train.batch_size = 6
try:
    run(config, Path(workdir) / "other", console=Console(file=io.StringIO()))
except ValueError as error:
    facts["error"] = str(error)
print(json.dumps(facts))
"""


def test_four_devices_give_the_losses_of_one_and_want_batches_they_can_split(
    make_config, train, tmp_path
):
    # The run of other tests, whose program is compiled already; 20 examples are evaluated in
    # batches of 16, which is no concern of the mesh.
    config = make_config()
    train(config, tmp_path / "one")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # Compiled without optimisations, which take most of the time of this test.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0",
        "PYTHONPATH": str(REPOSITORY),
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, config.to_json(), str(tmp_path / "four")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout.splitlines()[-1])
    assert facts["num_devices"] == 4
    rows = np.arange(16.0).reshape(4, 2, 2)
    assert facts["shards"] == rows.tolist()
    assert facts["copies"] == [[0.0, 1.0, 2.0]] * 4
    assert facts["error"] == (
        "train.batch_size must be a multiple of 4, mesh.data × mesh.fsdp × train.accumulate; got 6"
    )

    one, four = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "four")
    assert [row["step"] for row in four] == [row["step"] for row in one]
    np.testing.assert_allclose(
        [row["loss"] for row in four], [row["loss"] for row in one], rtol=1e-6
    )
    names = [name for name in one[-1] if name.startswith("layer_1/")]
    assert len(names) == 5
    np.testing.assert_allclose(
        [four[-1][name] for name in names], [one[-1][name] for name in names], rtol=1e-4
    )
    first, second = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "four")
    )
    assert first["evaluations"] == second["evaluations"]


@pytest.mark.core
def test_batch_is_split_and_a_copied_state_is_whole_everywhere():
    count = jax.device_count()
    mesh = make_mesh()
    assert mesh.shape == {"data": count, "fsdp": 1, "tensor": 1, "context": 1}
    batch = shard_batch({"x": np.zeros((4 * count, 3), np.float32)}, mesh)
    assert batch["x"].sharding.spec == PartitionSpec(("data", "fsdp"))
    tree = shard_state({"w": np.arange(3)}, mesh)
    assert tree["w"].sharding.is_fully_replicated
    np.testing.assert_array_equal(tree["w"], [0, 1, 2])
