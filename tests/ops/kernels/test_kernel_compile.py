"""The kernels compiled for a TPU that is not there, and lowered through Triton for a GPU."""

import functools
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, use_abstract_mesh

from hopfield_attn import nonlinearities
from hopfield_attn.ops.kernels import pairwise, pooled

try:
    from jax.sharding import AbstractDevice
except ImportError:
    AbstractDevice = None

NUM_STEPS = 5


def programs(g, n, m, d, platform, family="log_cosh"):
    """Name → (function, its arguments' shapes): every kernel, forward and backward."""

    def real(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    q, k, y, x, lse = real(g, n, d), real(g, m, d), real(g, m, d), real(g, n, d), real(g, n)
    key_mask = jax.ShapeDtypeStruct((g, m), jnp.bool_)
    query_mask = jax.ShapeDtypeStruct((g, n), jnp.bool_)
    head = (q, k, y, lse, key_mask)
    on = functools.partial(functools.partial, platform=platform)

    def pairwise_fn(fn, *, is_causal):
        return lambda q, k, y, lse, mask, x, alpha, *p_bar: fn(
            *(q, k, y, lse, mask, x, nonlinearities.FAMILIES[family](alpha), 1 / d, *p_bar),
            is_causal=is_causal,
            platform=platform,
        )

    return {
        "row_lse": (on(pooled.row_lse, is_causal=True), (q, k, key_mask, query_mask)),
        "attend": (on(pooled.attend), (q, k, lse, key_mask, y)),
        "pool": (on(pooled.pool), (*head, x)),
        "gram": (on(pooled.gram), (*head, real(g, m))),
        "pull_back": (
            on(pooled.pull_back),
            (*head, real(g, NUM_STEPS, n, d), real(g, NUM_STEPS, m)),
        ),
        "step": (pairwise_fn(pairwise.step, is_causal=False), (*head, x, real(g))),
        "causal step": (pairwise_fn(pairwise.step, is_causal=True), (*head, x, real(g))),
        "step_pull_back": (
            pairwise_fn(pairwise.step_pull_back, is_causal=False),
            (*head, x, real(g), x),
        ),
        "causal step_pull_back": (
            pairwise_fn(pairwise.step_pull_back, is_causal=True),
            (*head, x, real(g), x),
        ),
    }


# In a process of its own: where a TPU is sought, the compiler may hang.
PROGRAM = """
import importlib.util, sys, time
import jax, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, use_abstract_mesh

spec = importlib.util.spec_from_file_location("kernel_compile", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
platform = sys.argv[2]
topology = topologies.get_topology_desc(**module.TOPOLOGIES[platform])
mesh = Mesh(np.array(topology.devices[:1]), ("chip",))
for size, family in module.CASES[platform]:
    for name, (fn, shapes) in module.programs(*size, platform, family).items():
        shapes = [
            jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=NamedSharding(mesh, PartitionSpec()))
            for s in shapes
        ]
        start = time.time()
        # Triton asks the mesh which GPU it is to lower for.
        with use_abstract_mesh(mesh.abstract_mesh):
            lowered = jax.jit(fn).lower(*shapes)
        used = lowered.compile().memory_analysis().temp_size_in_bytes
        seconds = time.time() - start
        print(f"{name}|{size}|{family}|{used}|{4 * size[0] * size[1] * size[2]}|{seconds:.1f}")
"""

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84942979072 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 cuda_compute_capability { major: 9 feature_extension: 2 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

TOPOLOGIES = {
    "tpu": {"platform": "tpu", "topology_name": "v5e:2x2"},
    "gpu": {
        "platform": "cuda",
        "topology_name": "h100",
        "target_config": H100,
        "topology": "1x1x1",
    },
}
SIZES = [(8, 2048, 2048, 64), (8, 2048, 2048, 128), (8, 1000, 700, 80)]
CASES = {
    # The slopes of the other families, at one size.
    "tpu": [(size, "log_cosh") for size in [*SIZES, (8, 8192, 8192, 128)]]
    + [((2, 256, 384, 64), family) for family in ("quadratic", "cubic", "exponential")],
    "gpu": [(size, "log_cosh") for size in SIZES],
}


def missing(module, reason):
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    return pytest.mark.skipif(found is None, reason=f"{module} is not installed{reason}")


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "platform",
    [
        pytest.param("tpu", marks=missing("libtpu", ": scripts/test --all, Python 3.12 on")),
        pytest.param("gpu", marks=missing("jax_plugins.xla_cuda13", ", the extra 'cuda'")),
    ],
)
def test_every_kernel_compiles_for_a_v5e_or_an_h100_and_keeps_no_matrix_of_weights(platform):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        # Another test may hold the compiler's lock, which guards a chip that is not there.
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, __file__, platform],
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == len(CASES[platform]) * 9
    for name, size, family, temporary, matrix, _ in lines:
        # Padding to whole blocks copies operands of n·d numbers, and small heads are all d.
        if "2048" in size or "8192" in size:
            assert int(temporary) < int(matrix) / 8, (name, size, family)


@pytest.mark.skipif(AbstractDevice is None, reason="this JAX cannot describe an absent GPU")
# JAX 0.12 announces the end of Pallas' Triton back end; Mosaic GPU needs other kernels.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
@pytest.mark.parametrize("size", [(8, 2048, 2048, 64), (2, 100, 70, 80)])
def test_every_kernel_lowers_through_triton(size):
    gpu = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((1,), ("chip",), abstract_device=gpu)):
        for name, (fn, shapes) in programs(*size, "gpu").items():
            lowered = jax.jit(fn).trace(*shapes).lower(lowering_platforms=("cuda",))
            assert "triton" in lowered.as_text(), name
