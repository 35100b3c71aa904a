"""Training steps, compiled for a TPU that is not there."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.core,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu is not installed: scripts/test --all brings it from Python 3.12 on",
    ),
]

# In a process of its own: where a TPU is sought, the compiler may hang.
PROGRAM = """
import sys
import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from configs import mlm, quickstart
from hopfield_attn.data.masking import num_masked
from hopfield_attn.models.registry import make_masked_language_model
from hopfield_attn.ops.platform import compiling_for
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.state import init_state, split_model
from hopfield_attn.train.step import make_train_step
from hopfield_attn.train.tasks.masked_lm import mlm_loss

config = quickstart.get_config() if sys.argv[1] == "quickstart" else mlm.get_config("size=base")
data, size = config.data, config.train.batch_size
model = make_masked_language_model(
    config.model, vocab_size=data.vocab_size, max_length=data.length, seed=0)
definition, params = split_model(model)
optimizer = make_optimizer(config.optimizer, num_steps=config.train.num_steps)
step = make_train_step(definition, mlm_loss, optimizer)
state = jax.eval_shape(lambda params: init_state(params, optimizer), params)
slots = num_masked(data.length, mask_rate=data.mask_rate)
batch = {
    "tokens": ((size, data.length), np.int32), "mask": ((size, data.length), np.bool_),
    "positions": ((size, slots), np.int32), "labels": ((size, slots), np.int32),
    "label_weights": ((size, slots), np.float32),
}
topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
for chips in (1, 4):
    mesh = Mesh(np.array(topology.devices[:chips]), ("data",))
    def on(spec, shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
    whole = jax.tree.map(lambda a: on(PartitionSpec(), a.shape, a.dtype), state)
    split = {name: on(PartitionSpec("data"), *form) for name, form in batch.items()}
    with compiling_for("tpu"):
        memory = step.lower(whole, split).compile().memory_analysis()
    used = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    print(chips, "chips", round(used / 2**20), "MiB")
    assert 0 < used < 16 * 2**30
"""


@pytest.mark.timeout(500)
@pytest.mark.parametrize(
    "config", ["quickstart", pytest.param("bert_base", marks=pytest.mark.slow)]
)
def test_the_training_step_compiles_for_one_and_four_v5e_chips_and_fits(config):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # another worker may be compiling
        "PYTHONPATH": os.getcwd(),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, config],
        env=environment,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "4"]
