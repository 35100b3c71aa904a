"""Programs to measure: non-linear attention, and plain attention of several libraries."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hopfield_attn.benchmark.cells import Cell, batch_and_heads
from hopfield_attn.energies.nonlinearities import make_nonlinearity
from hopfield_attn.ops.cost_model import choose_implementation
from hopfield_attn.ops.nonlinear_attention import IMPLEMENTATIONS, nonlinear_attention
from hopfield_attn.ops.problem import Call, DescentOptions
from hopfield_attn.solvers.gradient_modes import as_gradient_mode
from hopfield_attn.typing import Array, BatchedKey, BatchedOutput, BatchedQuery, BatchedValue

REFERENCE = "jax.nn"
"""The baseline of all ratios; as a candidate against itself it shows the noise of a ratio."""
AUTO = "auto"
"""The name under which ``implementation=None`` is measured."""
INTERPRETED = "kernels"
"""The implementation that a CPU runs in an interpreter, hundreds of times slower."""
ALPHAS = (0.1, 0.3)
"""The heads' strengths α lie between these."""
LAM = 1.0


class Program(NamedTuple):
    """A candidate ready to run.

    Attributes:
      run: computes once, and returns when it is done.
      temp_bytes: what XLA reserves for temporaries; ``None`` where it is not XLA's.
      chosen: of :data:`AUTO`, the implementation it takes.
    """

    run: Callable[[], Any]
    temp_bytes: int | None
    chosen: str | None = None


def heads_first(query: BatchedQuery, key: BatchedKey, value: BatchedValue) -> BatchedOutput:
    """Softmax attention as two einsums over arrays with batch and heads first."""
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))
    q = q * query.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.einsum("bhnd,bhmd->bhnm", q, k), axis=-1)
    return jnp.swapaxes(jnp.einsum("bhnm,bhmd->bhnd", weights, v), 1, 2)


def cudnn_attention(query: BatchedQuery, key: BatchedKey, value: BatchedValue) -> BatchedOutput:
    """Softmax attention of cuDNN, on NVIDIA GPUs."""
    return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")


def xla_attention(query: BatchedQuery, key: BatchedKey, value: BatchedValue) -> BatchedOutput:
    """Softmax attention of ``jax.nn``, compiled by XLA: the baseline."""
    return jax.nn.dot_product_attention(query, key, value, implementation="xla")


JAX_BASELINES: dict[str, Callable[..., Array]] = {
    REFERENCE: xla_attention,
    "einsum": heads_first,
    "flax.nnx": nnx.dot_product_attention,
    "jax.nn cudnn": cudnn_attention,
}
TORCH = "torch"
BASELINES = (*JAX_BASELINES, TORCH)
"""Names of the plain attentions."""


def default_implementations() -> list[str]:
    """Everything that is worth measuring here, and the choice; kernels are interpreted on a CPU."""
    is_cpu = jax.default_backend() == "cpu"
    names = [name for name in IMPLEMENTATIONS if not (is_cpu and name == INTERPRETED)]
    return [*names, AUTO]


def available_baselines() -> list[str]:
    """The baselines that this machine can run."""
    names = list(JAX_BASELINES)
    if jax.default_backend() != "gpu":
        names.remove("jax.nn cudnn")
    try:
        import torch
    except ImportError:
        return names
    if jax.default_backend() != "cpu" and not torch.cuda.is_available():
        return names
    return [*names, TORCH]


def make_program(
    cell: Cell, *, width: int, dtype: str, batch_heads: int | None, num_threads: int
) -> Program:
    """Compiles the candidate of a cell for inputs (b, n, h, d) drawn from a fixed key.

    Args:
      cell: the cell.
      width: d of queries, keys and values.
      dtype: "float32", "bfloat16" or "float16".
      batch_heads: b·h; ``None`` follows the length.
      num_threads: of torch on the CPU; XLA takes what the process may use.

    Raises:
      ValueError: if the implementation does not do what the cell asks for.
    """
    b, heads = batch_and_heads(cell.n, batch_heads)
    arrays = jax.random.normal(jax.random.key(0), (4, b, cell.n, heads, width), dtype=dtype)
    if cell.implementation == TORCH:
        return _torch_program(arrays, cell.direction, num_threads)
    query, key, value, cotangent = arrays
    inputs: list[Array] = [query, key, value]
    if cell.implementation in JAX_BASELINES:
        attend = JAX_BASELINES[cell.implementation]
    else:
        attend = _nonlinear(cell)
        inputs.append(jnp.linspace(*ALPHAS, heads, dtype=jnp.float32))
    program = _jax_program(attend, inputs, cotangent, cell.direction)
    return (
        program._replace(chosen=_choice(cell, inputs)) if cell.implementation == AUTO else program
    )


def _choice(cell: Cell, inputs: Sequence[Array]) -> str:
    query, key, value, alpha = inputs
    call = Call(query, key, value, make_nonlinearity(str(cell.F), alpha), None, None, None)
    options = DescentOptions(
        coupling=str(cell.coupling),
        lam=LAM,
        num_steps=int(cell.T or 0),
        step_size=None,
        gain=None,
        is_causal=False,
        dropout_rate=0.0,
        gradient_mode=as_gradient_mode("unrolled"),
    )
    return choose_implementation(call, options)


def _nonlinear(cell: Cell) -> Callable[..., Array]:
    name = None if cell.implementation == AUTO else cell.implementation

    def attend(query: Array, key: Array, value: Array, alpha: Array) -> Array:
        return nonlinear_attention(
            query,
            key,
            value,
            nonlinearity=make_nonlinearity(str(cell.F), alpha),
            coupling=str(cell.coupling),
            lam=LAM,
            num_steps=int(cell.T or 0),
            implementation=name,
        )

    return attend


def _jax_program(
    attend: Callable[..., Array], inputs: Sequence[Array], cotangent: Array, direction: str
) -> Program:
    def weighted_sum(*given: Array) -> Array:
        *arrays, weights = given
        product = attend(*arrays).astype(jnp.float32) * weights.astype(jnp.float32)
        return jnp.sum(product)

    fn, arguments = attend, list(inputs)
    if direction == "forward_backward":
        fn = jax.grad(weighted_sum, argnums=tuple(range(len(inputs))))
        arguments.append(cotangent)
    compiled = jax.jit(fn).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    temp_bytes = None if memory is None else int(memory.temp_size_in_bytes)
    return Program(lambda: jax.block_until_ready(compiled(*arguments)), temp_bytes)


def _torch_program(arrays: Array, direction: str, num_threads: int) -> Program:
    import torch

    backward = direction == "forward_backward"
    torch.set_num_threads(num_threads)
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    # Through float32: NumPy has no bfloat16 of its own. A copy: JAX's memory is read-only.
    host = torch.from_numpy(np.array(arrays, dtype=np.float32))
    stacked = host.to(device=device, dtype=getattr(torch, str(arrays.dtype)))
    *inputs, cotangent = (a.clone() for a in stacked)
    inputs = [a.requires_grad_(backward) for a in inputs]

    def run() -> None:
        q, k, v = (a.transpose(1, 2) for a in inputs)
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        if backward:
            torch.autograd.grad(out, inputs, cotangent)
        if device == "cuda":
            torch.cuda.synchronize()

    return Program(run, None)
