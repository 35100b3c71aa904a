"""One head of an encoder on one sequence: its q, k, y, its energy, and what became of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.analysis.diagnostics import HeadDiagnostics, diagnose_head
from hopfield_attn.analysis.energies import attention_inputs
from hopfield_attn.checks import check_count, check_shape
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.typing import Array, Float


class HeadTrace(NamedTuple):
    """What a head does with one sequence.

    Attributes:
      layer, head: indices from 0.
      tokens: the n tokens as text.
      query, key: q and k, (n, d).
      weights: A, (n, n).
      values: y, (n, d).
      nonlinearity: F with the α (and the spline) of this head.
      options: ``coupling``, ``lam``, ``num_steps``, ``step_size`` and ``gain`` of the layer.
      found: energies, residuals, attention matrix of every step, regime with its certificate.
    """

    layer: int
    head: int
    tokens: tuple[str, ...]
    query: Float[Array, "n dk"]
    key: Float[Array, "n dk"]
    weights: Float[Array, "n n"]
    values: Float[Array, "n dv"]
    nonlinearity: Nonlinearity
    options: dict[str, Any]
    found: HeadDiagnostics

    @property
    def name(self) -> str:
        """Such as ``layer 2, head 4: quadratic``; counted from 1, as papers do."""
        return f"layer {self.layer + 1}, head {self.head + 1}: {self.nonlinearity.name}"

    @property
    def alpha(self) -> float:
        """The strength α; 0 for a family without one."""
        return 0.0 if self.nonlinearity.alpha is None else float(self.nonlinearity.alpha)


def trace_heads(
    encoder: Encoder,
    token_ids: Sequence[int],
    heads: Sequence[tuple[int, int]],
    *,
    tokens: Sequence[str] | None = None,
    token_types: Sequence[int] | None = None,
    num_eigenvalues: int = 16,
) -> list[HeadTrace]:
    """Runs an encoder on one sequence without padding, and follows some of its heads.

    Args:
      encoder: the encoder.
      token_ids: n ids, the special ones included.
      heads: (layer, head) pairs, counted from 0.
      tokens: the n tokens as text; ``None``: the ids.
      token_types: n segment ids; ``None``: all 0.
      num_eigenvalues: of the Hessian at the end, as of
        :func:`hopfield_attn.analysis.diagnostics.diagnose_head`.

    Returns:
      One :class:`HeadTrace` a pair, in the order of ``heads``.

    Raises:
      ValueError: there is no such layer or head, or there are no tokens.
    """
    check_count(1, num_tokens=len(token_ids))
    names = tuple(str(token) for token in (token_ids if tokens is None else tokens))
    for name, values in (("tokens", names), ("token_types", token_types)):
        if values is not None:
            check_shape(name, jnp.zeros(len(values)), (len(token_ids),), "number of token_ids")
    for chosen, head in heads:
        _check_index("layer", chosen, len(encoder.layers))
        _check_index("head", head, encoder.layers[chosen].attention.num_heads)
    found: dict[tuple[int, int], HeadTrace] = {}
    types = None if token_types is None else jnp.asarray(token_types)[None]
    layers = attention_inputs(encoder, jnp.asarray(token_ids)[None], token_types=types)
    num_layers = max((layer + 1 for layer, _ in heads), default=0)
    for index, (block, inputs) in zip(range(num_layers), layers, strict=False):
        found |= {
            (index, head): _trace(block.attention, inputs, index, head, names, num_eigenvalues)
            for k, head in heads
            if k == index
        }
    return [found[pair] for pair in heads]


# The options of a layer are numbers and names; heads that share them are compiled once.
_diagnose = jax.jit(
    diagnose_head,
    static_argnames=("coupling", "lam", "num_steps", "step_size", "gain", "num_eigenvalues"),
)


def _trace(
    attention: Any, inputs: Array, layer: int, head: int, names: tuple[str, ...], eigenvalues: int
) -> HeadTrace:
    (problem,) = (
        problem
        for problem in attention.problems(inputs)
        if problem.group.start <= head < problem.group.stop
    )
    k = head - problem.group.start
    F = jax.tree.map(lambda leaf: leaf[k], problem.options["nonlinearity"])
    options = {key: value for key, value in problem.options.items() if key != "nonlinearity"}
    weights, values = problem.weights[0, k], problem.values[0, k]
    limits = {"num_eigenvalues": min(eigenvalues, values.size)}
    found = _diagnose(weights, values, nonlinearity=F, **options, **limits)
    width = values.shape[-1]
    rows = slice(head * width, (head + 1) * width)
    query, key = attention.query(inputs)[0, :, rows], attention.key(inputs)[0, :, rows]
    return HeadTrace(layer, head, names, query, key, weights, values, F, options, found)


def _check_index(name: str, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ValueError(f"{name} must be in [0, {size}); got {index}")
